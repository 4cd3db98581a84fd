"""VGG-19 features: layers, input scale, weights from a file and the message without them."""

import hashlib
import logging

import pytest
import torch
from torchvision.models import vgg19

from medtrans import InputError
from medtrans.networks import VGG19Features
from medtrans.networks import vgg19 as module


@pytest.fixture(scope="module")
def random_features():
    return VGG19Features("random").load()


def test_features_are_the_first_relu_of_each_block(random_features):
    torch.manual_seed(0)
    image = torch.rand(1, 1, 48, 48) * 2 - 1
    network = random_features.network
    rgb = ((image + 1) / 2 * 255).expand(-1, 3, -1, -1) - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    x = rgb
    expected = []
    for index, layer in enumerate(network.features.children()):
        x = layer(x)
        if index in (1, 6, 11, 20, 29):
            expected.append(x.clone())
    found = random_features(image)
    assert [f.shape[1] for f in found] == [64, 128, 256, 512, 512]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_imagenet_scale_divides_by_the_standard_deviation():
    features = VGG19Features("random", input_scale="imagenet")
    rgb = features._as_rgb(torch.zeros(1, 1, 4, 4))
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(rgb[0, :, 0, 0], (0.5 - mean) / spread)


def test_slices_of_a_volume_and_odd_channel_numbers_become_separate_images(random_features):
    volume = torch.rand(1, 2, 32, 32, 3) * 2 - 1
    found = random_features(volume)
    assert found[0].shape == (6, 64, 32, 32)
    torch.testing.assert_close(found[0][0:1], random_features(volume[:, :1, :, :, 0])[0])


def test_gradients_reach_the_image_but_not_the_weights(random_features):
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    random_features(image)[-1].sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in random_features.parameters())


def test_random_weights_are_announced_and_the_same_each_time(caplog):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        one, other = VGG19Features("random").load(), VGG19Features("random").load()
    assert "weights: random" in caplog.text
    assert torch.equal(torch.get_rng_state(), before)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


def test_random_weights_are_torchvisions_own(random_features):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = vgg19(weights=None)
    ours = random_features.network.state_dict()
    assert len(ours) == 26  # thirteen convolutions lie before the last layer that is asked for
    for name, value in ours.items():
        assert torch.equal(value, theirs.state_dict()[name]), name


def test_stays_in_evaluation_mode(random_features):
    assert not random_features.train().network.training


def test_missing_file_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(InputError, match=r"vgg19-dcbb9e9d\.pth.*put it there.*--features#weights"):
        VGG19Features(tmp_path / "vgg19-dcbb9e9d.pth").load()


def test_nothing_is_read_before_the_first_use(tmp_path):
    VGG19Features(tmp_path / "absent.pth")  # a config with style and content weight 0 needs no file


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory):
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "own_vgg19.pth"
    with torch.device("cpu"):
        state = {k: v for k, v in vgg19(weights=None).state_dict().items() if k.startswith("features.")}
    torch.save(state, path)
    return path


def test_weights_come_from_the_users_file(weight_file):
    features = VGG19Features(weight_file).load()
    saved = torch.load(weight_file, weights_only=True)
    assert torch.equal(features.network.state_dict()["features.0.weight"], saved["features.0.weight"])


def test_a_file_with_another_hash_is_refused(weight_file):
    digest = hashlib.sha256(weight_file.read_bytes()).hexdigest()
    VGG19Features(weight_file, sha256=digest[:8]).load()
    with pytest.raises(InputError, match="SHA-256"):
        VGG19Features(weight_file, sha256="dcbb9e9d").load()


def test_the_cached_file_must_have_torchvisions_hash(monkeypatch, tmp_path, weight_file):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / module.FILE).write_bytes(weight_file.read_bytes())
    with pytest.raises(InputError, match="dcbb9e9d"):
        VGG19Features("imagenet").load()


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="VGG-19"):
        VGG19Features(tmp_path / "other.pth").load()


def test_unknown_input_scale_is_refused():
    with pytest.raises(ValueError, match="caffe, imagenet"):
        VGG19Features("random", input_scale="bgr")
