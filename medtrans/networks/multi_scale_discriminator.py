"""UNIT's discriminator: the same small network judges the image at full, half, quarter, … size."""

from __future__ import annotations

from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_norm_layer
from monai.networks.utils import normal_init
from torch import Tensor, nn

from medtrans.errors import InputError
from medtrans.networks.initialisation import glorot_init
from medtrans.networks.norms import Norm, has_offset
from medtrans.networks.spectral import spectrally_normalised

FORMS = {
    # kernel, padding and slope of the convolutions, and how the image is halved
    "medical": (3, 1, 0.01, {"kernel_size": 2, "stride": 2}),
    "later": (4, 1, 0.2, {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
}


class MultiScaleDiscriminator(nn.Module):
    """One patch discriminator a scale, each with weights of its own, on the image averaged down (Liu 2017).

    Called with ``(B, in_channels, *spatial)``; returns, for each scale, the output of every hidden layer and, last, the
    map of logits. Losses sum over scales. MONAI's ``MultiScalePatchDiscriminator`` is another network: it gives every
    scale the full image and deepens the discriminator instead. Weights begin as in :class:`UNIT`, those of the later
    form from N(0, 0.02).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image (plus condition).
        channels: filters of the first convolution, doubled at each further one.
        layers: convolutions of stride 2 at each scale; a 1×1 convolution to one channel follows.
        scales: number of scales.
        norm: MONAI norm specification, never on the first layer; UNIT has none.
        form: ``"medical"``: 3×3 convolutions, LeakyReLU 0.01, 2×2 averages (Welander 2018); ``"later"``: 4×4, 0.2 and
            3×3 averages of stride 2, as in the authors' code of 2018.
        spectral: divide every weight by its largest singular value.

    Raises:
        InputError: unknown form; in a pass, an image that is too small for so many scales and layers.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int = 64,
        layers: int = 4,
        scales: int = 3,
        norm: Norm = None,
        form: str = "medical",
        spectral: bool = False,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise InputError(f"discriminator form {form!r}", "is unknown", f"Use one of {', '.join(FORMS)}")
        kernel, padding, slope, halving = FORMS[form]
        convolution = Conv["conv", spatial_dims]
        self.layers = layers

        def one_scale() -> nn.ModuleList:
            stages, entering = nn.ModuleList(), in_channels
            for width in (channels * 2**level for level in range(layers)):
                normalised = norm is not None and len(stages) > 0
                bias = not (normalised and has_offset(norm))
                stage: list[nn.Module] = [convolution(entering, width, kernel, 2, padding, bias=bias)]
                if normalised:
                    stage.append(get_norm_layer(norm, spatial_dims, width))  # type: ignore[arg-type]
                stages.append(nn.Sequential(*stage, nn.LeakyReLU(slope)))
                entering = width
            stages.append(convolution(entering, 1, 1))
            return stages

        self.scales = nn.ModuleList(one_scale() for _ in range(scales))
        self.halved = Pool["avg", spatial_dims](**halving)
        self.apply(glorot_init if form == "medical" else normal_init)
        if spectral:
            spectrally_normalised(self)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        """For each scale the hidden layers' outputs followed by the logits ``(B, 1, *map)``."""
        found: list[list[Tensor]] = []
        x = image
        outputs: list[Tensor] = []
        for stages in self.scales:
            if len(found) > 0:
                x = self.halved(x)
            outputs, features = [], x
            for stage in stages:
                # Around a single voxel there is only padding, of which oneDNN's bf16 gradient is not even finite.
                if len(outputs) < self.layers and min(features.shape[2:]) < 2:
                    size = "×".join(map(str, image.shape[2:]))
                    problem = f"is too small for {len(self.scales)} scales of {self.layers} layers"
                    raise InputError(f"an image of {size}", problem, "Use larger images, or fewer scales or layers")
                features = stage(features)
                outputs.append(features)
            found.append(outputs)
        return found
