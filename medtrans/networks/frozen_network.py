"""A network that someone trained, from a MONAI bundle or a TorchScript file, frozen, as an instrument."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from medtrans.errors import InputError
from medtrans.networks.instrument import Instrument
from medtrans.weights import read_weights

CONFIGS = ("inference.json", "inference.yaml", "inference.yml", "train.json", "train.yaml", "train.yml")


class FrozenNetwork(Instrument):
    """A segmentation network, for instance, as loss terms use it: parameters frozen, gradients flow to the image.

    Called with images in [-1, 1], it rescales them to what the network was trained on, and returns the network's
    output as a list of one tensor (the first, where it gives several).

    A bundle's network is ``network_def`` of ``configs/inference.json`` (or train.json, or .yaml) with the weights in
    ``models/model.pt``, or, where there is no such config or file, ``models/model.ts``. Reading a bundle runs code that
    its configs name: use bundles you trust.

    Args:
        path: folder of a MONAI bundle, or a TorchScript file.
        scale: the values that −1 and 1 become: [0, 1], or the data set's window to give Hounsfield units.
        z_score: bring each channel of each image to mean 0 and standard deviation 1 instead.

    Raises:
        InputError: there is no such network, or it cannot be read; on the first use or by :meth:`load`.
    """

    def __init__(
        self, path: str | os.PathLike[str], scale: Sequence[float] = (-1.0, 1.0), z_score: bool = False
    ) -> None:
        super().__init__()
        self.path, self.z_score = Path(path).expanduser(), z_score
        self.lower, self.upper = float(scale[0]), float(scale[1])

    def read(self) -> nn.Module:
        """The bundle's network, or the script."""
        return _from_bundle(self.path) if self.path.is_dir() else _from_script(self.path)

    def forward(self, image: Tensor) -> list[Tensor]:
        """What the network says of ``image``, see the class."""
        output = self.loaded()(self._scaled(image))
        return [output if isinstance(output, Tensor) else output[0]]

    def _scaled(self, image: Tensor) -> Tensor:
        if not self.z_score:
            return (image + 1) * ((self.upper - self.lower) / 2) + self.lower
        axes = tuple(range(2, image.ndim))
        deviation = image.std(axes, keepdim=True, correction=0)
        return (image - image.mean(axes, keepdim=True)) / deviation.clamp(min=1e-6)


def _from_script(path: Path) -> nn.Module:
    if not path.is_file():
        raise InputError(path, "does not exist", "Give the folder of a MONAI bundle, or a TorchScript file")
    try:
        return torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        raise _unreadable(path, error, "Give a file that torch.jit.save wrote, or a bundle's folder") from error


def _from_bundle(folder: Path) -> nn.Module:
    """The bundle's network with its weights."""
    weights, script = folder / "models/model.pt", folder / "models/model.ts"
    config = next((folder / "configs" / name for name in CONFIGS if (folder / "configs" / name).is_file()), None)
    if config is None or not weights.is_file():
        if script.is_file():
            return _from_script(script)
        missing = "configs/inference.json" if config is None else "models/model.pt"
        raise InputError(folder, f"has no {missing}", "Give a complete, trained MONAI bundle, or a TorchScript file")
    state = read_weights(weights)
    try:
        parser = ConfigParser()
        parser.read_config(config)
        parser["bundle_root"] = str(folder)
        network = parser.get_parsed_content("network_def")
        network.load_state_dict(state.get("model", state))
    except Exception as error:
        raise _unreadable(folder, error, "Check its network_def and models/model.pt") from error
    return network


def _unreadable(path: Path, error: Exception, remedy: str) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(path, f"cannot be read as a network ({reason})", remedy)
