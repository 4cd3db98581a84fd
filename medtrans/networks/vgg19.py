"""VGG-19 as a frozen feature extractor: the first layer of each of its five blocks."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from medtrans.errors import InputError
from medtrans.files import file_hash
from medtrans.networks.instrument import Instrument
from medtrans.weights import read_weights

logger = logging.getLogger(__name__)

FILE = "vgg19-dcbb9e9d.pth"
URL = f"https://download.pytorch.org/models/{FILE}"
SHA256_PREFIX = "dcbb9e9d"
# ReLU after the first convolution of each block in torchvision's layer numbering, and its number of filters.
LAYERS = ("features.1", "features.6", "features.11", "features.20", "features.29")
INPUT_SCALES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # mean and divisor of the red, green and blue channel on the [0, 1] scale
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class VGG19Features(Instrument):
    """What VGG-19 (Simonyan and Zisserman 2014) sees in an image, for style, content and perceptual losses.

    Called with images in [-1, 1], ``(B, C, X, Y)`` or ``(B, C, X, Y, Z)``, it returns five feature maps
    ``(N, d_j, h_j, w_j)`` with d = 64, 128, 256, 512, 512, each after its ReLU. One or three channels are one image
    (a single channel is repeated); any other number of channels, and the slices of a volume along its last axis, are
    separate images, so that N = B·C·Z there. Parameters are frozen, gradients flow to the image.

    Args:
        weights: ``"imagenet"`` (torchvision's file from its cache, else downloaded), the path of that file or of any
            VGG-19 state dict (then ``sha256`` is checked if given), or ``"random"``: seeded random weights, for trying
            out the machinery only.
        input_scale: ``"caffe"`` (0-255, mean subtracted, as style losses of 2016-2018 were tuned on) or ``"imagenet"``
            (mean and standard deviation of torchvision). The scale decides how much a weight of 1e-4 means.
        sha256: beginning of the file's SHA-256 that is required of a path.

    Raises:
        InputError: the weights are not there, or are not the ones they should be. They are read on the first use, or by
            :meth:`load`, so that a config whose style and content weights are 0 does not need them.
    """

    def __init__(
        self, weights: str | os.PathLike[str] = "imagenet", input_scale: str = "caffe", sha256: str | None = None
    ) -> None:
        super().__init__()
        if input_scale not in INPUT_SCALES:
            raise InputError(f"input_scale {input_scale!r}", "is unknown", f"Use one of {', '.join(INPUT_SCALES)}")
        self.weights, self.sha256 = os.fspath(weights), sha256
        self.mean: Tensor
        self.divisor: Tensor
        mean, divisor = INPUT_SCALES[input_scale]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("divisor", torch.tensor(divisor).view(1, 3, 1, 1), persistent=False)

    def read(self) -> nn.Module:
        """VGG-19 up to the last layer that is asked for."""
        from torchvision.models.feature_extraction import create_feature_extractor

        if self.weights == "random":
            logger.warning(
                "VGG-19 features have RANDOM weights (weights: random): style and content terms carry no learned "
                "notion of texture. Use `weights: imagenet` or a path for real training."
            )
            network = random_vgg19()
        else:
            network = self._read_from_file()
        return create_feature_extractor(network.eval(), list(LAYERS))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image``, see the class."""
        return list(self.loaded()(self._as_rgb(image)).values())

    def _as_rgb(self, image: Tensor) -> Tensor:
        """[-1, 1] image or volume -> batch of RGB images on the weights' input scale."""
        if image.dim() == 5:
            image = image.permute(0, 4, 1, 2, 3).flatten(0, 1)
        if image.shape[1] not in (1, 3):
            image = image.flatten(0, 1).unsqueeze(1)
        return ((image + 1) / 2 - self.mean) / self.divisor

    def _read_from_file(self) -> nn.Module:
        """VGG-19 with the weight file's layers, or say exactly what to fetch and where to put it."""
        from torchvision.models import vgg19

        path = self._cached_file() if self.weights == "imagenet" else Path(self.weights).expanduser()
        wanted = SHA256_PREFIX if self.weights == "imagenet" else (self.sha256 or "")
        if not path.is_file():
            raise InputError(
                path,
                "VGG-19 weights are not there",
                f"Fetch {URL} (574 MB) on a machine with internet and put it there, or give its path as the features' "
                "`weights` (--features#weights /path/to/file); `random` runs without them, for trials only",
            )
        found = file_hash(path)
        if not found.startswith(wanted):
            raise InputError(path, f"has SHA-256 {found[:12]}…, not {wanted}…", f"Fetch {URL} again")
        state = read_weights(path)
        with torch.device("meta"):  # no memory and no time for weights that the file's replace, or that nobody needs
            network = vgg19(weights=None, init_weights=False)
        try:
            layers = {k: v.float() for k, v in state.items() if k.startswith("features.")}
            network.load_state_dict(layers, strict=False, assign=True)
            missing = [k for k in network.state_dict() if k.startswith("features.") and k not in state]
        except Exception as error:
            raise InputError(path, f"is not a VGG-19 state dict ({error})", f"Use the file {URL}") from error
        if missing:
            raise InputError(path, f"lacks {missing[0]} of VGG-19", f"Use the file {URL}")
        return network

    def _cached_file(self) -> Path:
        """torchvision's file in torch's hub cache, downloaded when the internet is there."""
        path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
        if not path.is_file():
            from torchvision.models import VGG19_Weights

            try:
                VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True, weights_only=True)
            except Exception as error:  # no internet: told by the caller, with the remedy
                logger.debug("VGG-19 weights could not be downloaded: %s", error)
        return path


def random_vgg19() -> nn.Module:
    """VGG-19 whose convolutions have torchvision's initial weights after seed 0: a resumed run goes on with them.

    Its 124 million weights behind the convolutions, which nothing reads, are left without their initialisation.
    """
    from torchvision.models import vgg19

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        network = vgg19(weights=None, init_weights=False)
        for layer in network.features:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
    return network
