"""MONAI's medical perceptual networks (RadImageNet, MedicalNet) as frozen feature extractors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from monai.losses.perceptual import (
    MedicalNetPerceptualSimilarity,
    RadImageNetPerceptualSimilarity,
    medicalnet_intensity_normalisation,
    normalize_tensor,
)
from torch import Tensor, nn

from medtrans.errors import InputError
from medtrans.networks.instrument import Instrument

HUB = "Project-MONAI/perceptual-models:main"  # where MONAI's PerceptualLoss takes them from
NETWORKS: dict[str, type[nn.Module]] = {
    "radimagenet_resnet50": RadImageNetPerceptualSimilarity,
    "medicalnet_resnet10_23datasets": MedicalNetPerceptualSimilarity,
    "medicalnet_resnet50_23datasets": MedicalNetPerceptualSimilarity,
}
BGR_MEAN = (0.406, 0.456, 0.485)  # MONAI's subtract_mean


class MedicalFeatures(Instrument):
    """What a network trained on medical images sees in an image, for perceptual losses.

    Called with images in [-1, 1] it returns one feature map ``(N, d, *small)``, normalised to length 1 over d, as
    MONAI's PerceptualLoss compares them. RadImageNet's network (Mei 2022) is 2D: one or three channels are one image,
    other channels and the slices of a volume along its last axis are images of their own. MedicalNet's (Chen 2019) are
    3D: each channel is a volume of its own, brought to mean 0 and standard deviation 1. Parameters are frozen,
    gradients flow to the image.

    Args:
        network: ``radimagenet_resnet50`` (2D), ``medicalnet_resnet10_23datasets`` or ``medicalnet_resnet50_23datasets``
            (3D).
        folder: torch hub folder that holds ``Project-MONAI_perceptual-models_main`` and the weights; None is torch's
            own (``TORCH_HOME``). What is not there is downloaded on the first use, where the internet is.

    Raises:
        InputError: unknown network; on the first use or by :meth:`load`: it is not there and cannot be fetched.
    """

    def __init__(self, network: str = "radimagenet_resnet50", folder: str | None = None) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise InputError(f"perceptual network {network!r}", "is unknown", f"Use one of {', '.join(NETWORKS)}")
        self.name, self.folder = network, None if folder is None else Path(folder).expanduser()
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(BGR_MEAN).view(1, 3, 1, 1), persistent=False)

    def read(self) -> nn.Module:
        """The network from torch's hub folder, or downloaded."""
        with _hub_folder(self.folder) as folder:
            try:
                return cast(nn.Module, NETWORKS[self.name](net=self.name).model)
            except Exception as error:  # the hub's code, download and files can fail in any way
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise InputError(
                    folder,
                    f"does not hold the perceptual network {self.name} ({reason})",
                    f"On a machine with internet `pip install huggingface_hub`, run torch.hub.load('{HUB}', "
                    f"'{self.name}', trust_repo=True), and copy that machine's torch.hub.get_dir() here",
                ) from error

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image``, see the class."""
        prepared = self._as_bgr(image) if self.name.startswith("radimagenet") else self._as_volumes(image)
        return [normalize_tensor(self.loaded()(prepared))]

    def _as_bgr(self, image: Tensor) -> Tensor:
        """[-1, 1] image or volume -> batch of BGR images in [0, 1] less the mean."""
        if image.dim() == 5:
            image = image.permute(0, 4, 1, 2, 3).flatten(0, 1)
        if image.shape[1] not in (1, 3):
            image = image.flatten(0, 1).unsqueeze(1)
        return (image.expand(-1, 3, -1, -1).flip(1) + 1) / 2 - self.mean

    def _as_volumes(self, image: Tensor) -> Tensor:
        """``(B, C, X, Y, Z)`` -> ``(B·C, 1, X, Y, Z)``, each normalised as MONAI does it for a batch of one."""
        if image.dim() != 5:
            raise ValueError(f"{self.name} sees volumes (B, C, X, Y, Z), not {tuple(image.shape)}")
        volumes = image.flatten(0, 1)[:, None, None]
        return torch.cat([medicalnet_intensity_normalisation(volume) for volume in volumes])


@contextmanager
def _hub_folder(folder: Path | None) -> Iterator[Path]:
    """torch hub looks into ``folder`` inside the block."""
    before = torch.hub.get_dir()
    if folder is not None:
        torch.hub.set_dir(folder)
    try:
        yield Path(torch.hub.get_dir())
    finally:
        torch.hub.set_dir(before)
