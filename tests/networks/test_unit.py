"""UNIT's networks: published counts, really shared blocks, one latent space, both directions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.networks import UNIT, SelfAttention


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def residual(width):
    return 2 * (9 * width * width + width)


def test_parameter_count_of_the_authors_later_networks():
    with torch.device("meta"):
        assert parameters(UNIT(2, 1, 1, form="later")) == 2 * 11_127_937
        assert parameters(UNIT(2, 3, 3, form="later")) == 2 * 11_140_483


def test_parameter_count_of_the_medical_networks_counts_shared_blocks_once():
    with torch.device("meta"):
        network = UNIT(2, 1, 1)
    down = 49 * 64 + 64 + 9 * 64 * 128 + 128 + 9 * 128 * 256 + 256
    up = 9 * 256 * 128 + 128 + 9 * 128 * 64 + 64 + 64 + 1
    assert parameters(network) == 2 * (down + 3 * residual(256)) + 2 * (3 * residual(256) + up) + 2 * residual(256)


def test_inner_blocks_are_the_same_tensor_with_one_gradient_for_both_domains():
    torch.manual_seed(0)
    network = UNIT(2, 1, 1, channels=4)
    x, y = torch.randn(2, 1, 1, 16, 16).unbind()
    shared = [*network.encoder_shared.parameters(), *network.generator_shared.parameters()]
    assert len(shared) == 2 * 4

    def gradients(*losses):
        network.zero_grad()
        sum(losses).backward()
        return [p.grad.clone() for p in shared]

    def reconstruction(image, domain):
        return network(image, domain, domain).square().mean()

    of_source, of_target = gradients(reconstruction(x, "source")), gradients(reconstruction(y, "target"))
    both = gradients(reconstruction(x, "source"), reconstruction(y, "target"))
    for one, other, together in zip(of_source, of_target, both, strict=True):
        assert one.abs().max() > 0
        assert other.abs().max() > 0
        torch.testing.assert_close(together, one + other)


def test_an_update_by_one_domain_changes_the_other_domains_code():
    torch.manual_seed(0)
    for shared_blocks, changes in ((None, True), (0, False)):
        network = UNIT(2, 1, 1, channels=4, shared_blocks=shared_blocks)
        image = torch.randn(1, 1, 16, 16)
        before = network(image, "target", "code").detach()
        network(image, "source", "code").square().mean().backward()
        torch.optim.SGD(network.parameters(), 1.0).step()
        assert torch.equal(network(image, "target", "code"), before) is not changes


def test_outer_parts_are_not_shared():
    network = UNIT(2, 1, 1, channels=4)
    own = [network.encoder_source, network.encoder_target, network.generator_source, network.generator_target]
    found = [id(p) for part in own for p in part.parameters()]
    assert len(found) == len(set(found))


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["medical", "later"]),
    st.integers(2, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.lists(st.integers(7, 17), min_size=3, max_size=3),
)
def test_any_size_and_number_of_channels_in_both_directions(form, dims, in_channels, out_channels, sizes):
    network, size = UNIT(dims, in_channels, out_channels, channels=2, form=form), sizes[:dims]
    source, target = torch.randn(1, in_channels, *size), torch.randn(1, out_channels, *size)
    assert network(source).shape == target.shape
    assert network(target, "target", "source").shape == source.shape
    code = network(source, "source", "code")
    assert code.shape == (1, 8, *(-(-n // 4) for n in size))
    assert network(code, "code", "target", size).shape == target.shape
    assert network(source).abs().max() <= 1


def test_translation_is_encoding_and_decoding():
    torch.manual_seed(0)
    network, image = UNIT(2, 1, 1, channels=4), torch.randn(1, 1, 13, 18)
    code = network(image, "source", "code")
    assert torch.equal(network(image), network(code, "code", "target", [13, 18]))
    assert network(code, "code", "target").shape == (1, 1, 16, 20)


def test_direction_says_what_a_plain_call_translates_to():
    torch.manual_seed(0)
    forth, image = UNIT(2, 1, 1, channels=4), torch.randn(1, 1, 16, 16)
    back = UNIT(2, 1, 1, channels=4, direction="target_to_source")
    back.load_state_dict(forth.state_dict())
    assert torch.equal(forth(image), forth(image, "source", "target"))
    assert torch.equal(back(image), forth(image, "target", "source"))
    assert not torch.equal(back(image), forth(image))


@pytest.mark.parametrize("place", ["encoder", "generator"])
def test_attention_is_a_switch_that_starts_without_effect(place):
    torch.manual_seed(0)
    plain, image = UNIT(2, 1, 1, channels=4), torch.randn(1, 1, 16, 16)
    attending = UNIT(2, 1, 1, channels=4, attention=place)
    blocks = {name: m for name, m in attending.named_modules() if isinstance(m, SelfAttention)}
    assert sorted(name.split(".")[0] for name in blocks) == [f"{place}_source", f"{place}_target"]
    assert {block.value.in_channels for block in blocks.values()} == {16}
    names = iter([n for n in attending.state_dict() if not any(n.startswith(f"{b}.") for b in blocks)])
    attending.load_state_dict({next(names): value for value in plain.state_dict().values()}, strict=False)
    assert torch.equal(attending(image), plain(image))


def test_dropout_acts_in_training_mode_only():
    torch.manual_seed(0)
    network, image = UNIT(2, 1, 1, channels=4, dropout=0.5), torch.randn(1, 1, 16, 16)
    assert not torch.equal(network.train()(image), network(image))
    assert torch.equal(network.eval()(image), network(image))


def test_weights_start_as_published():
    torch.manual_seed(0)

    def spread(network):
        return network.encoder_source[-1].branch[0].weight.std().item()

    for channels in (16, 64):
        fan = 9 * 4 * channels
        assert spread(UNIT(2, 1, 1, channels)) == pytest.approx((2 / (2 * fan)) ** 0.5, rel=0.02)
        assert spread(UNIT(2, 1, 1, channels, form="later")) == pytest.approx((2 / fan) ** 0.5, rel=0.02)


@pytest.mark.parametrize("form", ["medical", "later"])
def test_network_can_be_scripted_for_export(form):
    network, image = UNIT(2, 1, 1, channels=4, form=form, attention="encoder").eval(), torch.randn(1, 1, 13, 18)
    scripted = torch.jit.script(network)
    torch.testing.assert_close(scripted(image), network(image))
    torch.testing.assert_close(scripted(image, "target", "source"), network(image, "target", "source"))


@pytest.mark.parametrize("setting", ["form", "direction", "attention"])
def test_unknown_settings_are_refused_with_what_there_is(setting):
    with pytest.raises(InputError, match=rf"{setting} 'x'.*Use one of"):
        UNIT(2, 1, 1, **{setting: "x"})


def test_unknown_spaces_are_refused():
    with pytest.raises(ValueError, match="source, target or code"):
        UNIT(2, 1, 1, channels=2)(torch.zeros(1, 1, 8, 8), "ct", "code")
    with pytest.raises(ValueError, match="source, target or code"):
        UNIT(2, 1, 1, channels=2)(torch.zeros(1, 8, 2, 2), "code", "ct")
