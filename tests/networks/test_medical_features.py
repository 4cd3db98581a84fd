"""MONAI's medical perceptual networks, from a hub folder; small networks take the place of the real ones."""

import pytest
import torch
from monai.losses import PerceptualLoss

from medtrans import InputError
from medtrans.networks import MedicalFeatures

HUBCONF = """
import torch

def _network(dims):
    torch.manual_seed(3)
    channels, convolution = {2: (3, torch.nn.Conv2d), 3: (1, torch.nn.Conv3d)}[dims]
    return torch.nn.Sequential(convolution(channels, 5, 3, 2), torch.nn.Tanh())

def radimagenet_resnet50(cache_dir=None):
    return _network(2)

def medicalnet_resnet10_23datasets(cache_dir=None):
    return _network(3)
"""


@pytest.fixture
def hub(tmp_path):
    """A torch hub folder like that of a machine that has fetched the networks."""
    repository = tmp_path / "hub" / "Project-MONAI_perceptual-models_main"
    repository.mkdir(parents=True)
    (repository / "hubconf.py").write_text(HUBCONF)
    return tmp_path / "hub"


@pytest.fixture
def monais(hub):
    """MONAI's loss with the same networks."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(hub)
    yield lambda dims, name: PerceptualLoss(dims, name, is_fake_3d=False)
    torch.hub.set_dir(before)


def distance(features, one, other):
    return (features(one)[0] - features(other)[0]).square().sum(1).mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_radimagenet_gives_monais_loss(channels, hub, monais):
    one, other = (torch.rand(2, channels, 24, 20) * 2 - 1 for _ in range(2))
    expected = monais(2, "radimagenet_resnet50")((one + 1) / 2, (other + 1) / 2)
    found = distance(MedicalFeatures("radimagenet_resnet50", hub), one, other)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_medicalnet_gives_monais_loss(hub, monais):
    name = "medicalnet_resnet10_23datasets"
    one, other = (torch.rand(1, 1, 12, 14, 16) * 2 - 1 for _ in range(2))
    found = distance(MedicalFeatures(name, hub), one, other)
    torch.testing.assert_close(found, monais(3, name)(one, other), rtol=1e-4, atol=1e-7)


def test_slices_of_a_volume_and_other_channels_are_images_of_their_own(hub):
    features = MedicalFeatures("radimagenet_resnet50", hub)
    volume = torch.rand(1, 2, 16, 16, 3) * 2 - 1
    (found,) = features(volume)
    assert len(found) == 6
    torch.testing.assert_close(found[0:1], features(volume[:, :1, :, :, 0])[0])
    channels = torch.rand(1, 2, 12, 12, 12)
    (found,) = MedicalFeatures("medicalnet_resnet10_23datasets", hub)(channels)
    assert len(found) == 2


def test_the_hub_folder_is_put_back(hub):
    before = torch.hub.get_dir()
    MedicalFeatures("radimagenet_resnet50", hub).load()
    assert torch.hub.get_dir() == before


def test_frozen_but_for_the_image(hub):
    features = MedicalFeatures("radimagenet_resnet50", hub).train()
    image = torch.rand(1, 1, 16, 16, requires_grad=True)
    features(image)[0].square().sum().backward()
    assert not any(p.requires_grad for p in features.parameters())
    assert not features.network.training
    assert image.grad is not None


def test_what_is_missing_is_told_with_the_remedy(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load", offline)
    with pytest.raises(InputError, match=r"medicalnet_resnet50_23datasets \(no route to host\)") as caught:
        MedicalFeatures("medicalnet_resnet50_23datasets", tmp_path).load()
    assert "torch.hub.load('Project-MONAI/perceptual-models:main'" in str(caught.value)
    assert "Project" not in torch.hub.get_dir()


def test_an_unknown_network_is_refused():
    with pytest.raises(InputError, match="Use one of radimagenet_resnet50"):
        MedicalFeatures("inception")


def test_a_slice_is_no_volume(hub):
    with pytest.raises(ValueError, match="sees volumes"):
        MedicalFeatures("medicalnet_resnet10_23datasets", hub)(torch.rand(1, 1, 8, 8))
