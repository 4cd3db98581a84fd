"""A trained BiGAN discriminator's file as feature extractor: the same features, frozen, or a clear refusal."""

import logging

import pytest
import torch

from medtrans import InputError
from medtrans.networks import BiGANDiscriminator, BiGANFeatures

THIN = {"channels": (4, 8, 8), "code": 12}


def trained(path, dims=2, in_channels=1, **settings):
    """A discriminator whose power iteration has gone on, saved as a bundle saves it."""
    torch.manual_seed(0)
    size = [16] * dims
    discriminator = BiGANDiscriminator(dims, in_channels, size, **THIN, **settings).train()
    for _ in range(3):
        discriminator(torch.randn(2, in_channels, *size), torch.randn(2, 12))
    torch.save(discriminator.state_dict(), path)
    return discriminator.eval()


@pytest.mark.parametrize("norm", [None, "batch", ("instance", {"affine": True})])
@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("dims", [2, 3])
def test_features_are_the_trained_discriminators(tmp_path, dims, spectral, norm):
    discriminator = trained(tmp_path / "features.pt", dims, norm=norm, spectral=spectral)
    features, image = BiGANFeatures(tmp_path / "features.pt", norm), torch.rand(1, 1, *[21] * dims)
    for found, wanted in zip(features(image), discriminator(image), strict=True):
        torch.testing.assert_close(found, wanted)


def test_it_is_an_instrument(tmp_path):
    trained(tmp_path / "features.pt")
    features, image = (
        BiGANFeatures(tmp_path / "features.pt").load().train(),
        torch.rand(1, 1, 16, 16, requires_grad=True),
    )
    assert not any(module.training for module in features.modules())
    assert not any(p.requires_grad for p in features.parameters())
    first = features(image)
    first[-1].sum().backward()
    assert image.grad.abs().sum() > 0
    assert torch.equal(first[-1], features(image)[-1])


def test_slices_and_channels_become_separate_images(tmp_path):
    trained(tmp_path / "features.pt")
    features, volume = BiGANFeatures(tmp_path / "features.pt"), torch.rand(2, 3, 16, 16, 5)
    found = features(volume)
    assert found[0].shape[0] == 2 * 3 * 5
    torch.testing.assert_close(found[0][0], features(volume[:1, :1, :, :, 0])[0][0])
    torch.testing.assert_close(found[0][-1], features(volume[1:, 2:, :, :, 4])[0][0])


def test_random_weights_are_announced_and_the_same_each_time(caplog):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        one, other = BiGANFeatures("random").load(), BiGANFeatures("random").load()
    assert "weights: random" in caplog.text
    assert torch.equal(torch.get_rng_state(), before)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


def test_missing_foreign_and_mismatched_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="Pre-train the bigan bundle"):
        BiGANFeatures(tmp_path / "absent.pt").load()
    torch.save(torch.nn.Conv2d(1, 1, 3).state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match="not the state of a BiGAN's discriminator"):
        BiGANFeatures(tmp_path / "other.pt").load()
    trained(tmp_path / "batch.pt", norm="batch")
    with pytest.raises(InputError, match="the norm it was trained with"):
        BiGANFeatures(tmp_path / "batch.pt").load()


def test_features_of_volumes_do_not_go_with_slices(tmp_path):
    trained(tmp_path / "features.pt", dims=3)
    with pytest.raises(InputError, match="trained on volumes"):
        BiGANFeatures(tmp_path / "features.pt")(torch.rand(1, 1, 16, 16))


def test_nothing_is_read_before_the_first_use(tmp_path):
    BiGANFeatures(tmp_path / "absent.pt")
