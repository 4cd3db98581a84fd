"""The PatchGAN discriminator: MONAI's, with spectral normalisation as a switch."""

from __future__ import annotations

from monai.networks.nets import PatchDiscriminator as MonaiPatchDiscriminator
from torch import Tensor

from medtrans.networks.norms import INSTANCE, Norm, has_offset
from medtrans.networks.spectral import spectrally_normalised


class PatchDiscriminator(MonaiPatchDiscriminator):
    """Judges overlapping patches; returns the output of every hidden layer and, last, the map of logits.

    Called with ``(B, in_channels, *spatial)`` (a conditional discriminator takes candidate and source concatenated
    along the channels). ``layers`` 1, 2, 3 give receptive fields of 16, 34 and 70: convolutions 4×4, the last two of
    stride 1. MedGAN's (sec. 2.4) is ``layers=1, spectral=True``: 64, 128 filters, then one channel; pix2pix and
    CycleGAN use ``layers=3``. The sigmoid is folded into the loss.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of candidate plus condition.
        channels: filters of the first convolution, doubled at each further one.
        layers: hidden convolutions after the first.
        norm: MONAI norm specification; never on the first layer, as in pix2pix.
        spectral: divide every convolution's weight by its largest singular value (power iteration, Miyato 2018).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int = 64,
        layers: int = 1,
        norm: Norm = INSTANCE,
        spectral: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            channels=channels,
            in_channels=in_channels,
            num_layers_d=layers,
            norm=norm,  # type: ignore[arg-type]  # None is "no norm" in MONAI's Convolution
            bias=not has_offset(norm),
        )
        if spectral:
            spectrally_normalised(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The hidden layers' outputs followed by the logits ``(B, 1, *map)``."""
        return super().forward(x)
