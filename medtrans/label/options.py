"""What may be chosen for a training on pairs, by clients and by who starts the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrans.errors import InputError

PLACES = ("bundle_root", "dataset_dir", "ckpt_dir", "output_dir")


@dataclass(frozen=True)
class TrainingOptions:
    """How a bundle is trained on pairs.

    The first four may come from a client. The others are for who starts the server alone: configs run what they name.

    Attributes:
        max_epochs: epochs; None takes the config's.
        val_split: share of the subjects that validate, above 0 and below 1.
        pretrained: begin with the weights of the bundle, if it is trained.
        device: such as ``"cpu"`` or ``"cuda:1"``; None takes the config's: a GPU if there is one.
        recipe: how pairs are prepared; None takes what the trained bundle knows of its modalities.
        overlays: configs merged over train.json: names in the bundle's configs, or paths.
        settings: config id -> value.
        workers: processes that prepare, see :func:`medtrans.jobs.local_workers`.

    Raises:
        InputError: a value is none of these.
    """

    max_epochs: int | None = None
    val_split: float = 0.2
    pretrained: bool = True
    device: str | None = None
    recipe: Path | str | None = None
    overlays: Sequence[str | Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None

    def __post_init__(self) -> None:
        epochs, share = self.max_epochs, self.val_split
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise InputError(f"max_epochs {epochs!r}", "is no number of epochs", "Give 1 or more")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            problem = "is no share of the subjects: somebody trains, somebody validates"
            raise InputError(f"val_split {share!r}", problem, "Give a number between 0 and 1, such as 0.2")
        if not isinstance(self.pretrained, bool):
            raise InputError(f"pretrained {self.pretrained!r}", "is neither true nor false", "Give one of them")
        _check_device(self.device)
        for key in PLACES:
            if key in self.settings:
                raise InputError(f"the setting {key}", "is not free: trainings have folders of their own", "Drop it")


def _check_device(device: Any) -> None:
    import torch

    if device is None:
        return
    try:
        kind = torch.device(device).type if isinstance(device, str) else ""
    except RuntimeError:
        kind = ""
    there = kind != "cuda" or (torch.device(device).index or 0) < torch.cuda.device_count()
    if kind not in ("cpu", "cuda", "mps") or not there:
        raise InputError(f"device {device!r}", "is not there", "Use cpu, or a GPU of this machine such as cuda:0")
