"""A task that needs no pairs: which modality is degraded how, read from the overlay that trains it on the fly."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medtrans.cohorts.cases import RESERVED
from medtrans.cohorts.epochs import seeded
from medtrans.cohorts.recipe_checks import refuse
from medtrans.cohorts.recipe_file import root_cause
from medtrans.errors import InputError
from medtrans.files import files_by_content
from medtrans.simulate.degradation import RECORDS

CHAIN = "train::degradation"


class Made(NamedTuple):
    """An image ``(1, X, Y, Z)`` in physical units, and what was done to it, JSON-ready."""

    image: torch.Tensor
    degradations: list[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """A degradation and the modalities it concerns; read with :meth:`read`.

    Args:
        name: of the file, without its ending.
        source: modality that is degraded.
        degraded: name of what it becomes, such as ``"T1-motion"``.
        reference: name of what it is compared with: the clean modality itself, or what the degradation makes beside,
            such as the PET image of all counts.
        companions: modalities that the degradation looks at where a case has them, such as the CT of a PET scan.
        record: the file as run, overrides included; JSON-ready, files in it by name and content.
        chain: dictionary transforms, applied to the key ``"source"`` in physical units.
    """

    name: str
    source: str
    degraded: str
    reference: str
    companions: tuple[str, ...]
    record: Mapping[str, Any]
    chain: Compose = field(compare=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Task:
        """Read a task's file: an overlay over a bundle's ``train.json``, of which these ids count here.

        ``source`` and ``source_name`` (the names before and after), ``target_name`` where the degradation makes the
        reference, too, ``companions``, and ``train::degradation``, a list of dictionary transforms. They may refer to
        further ids of the file.

        Args:
            path: JSON or YAML, in the syntax of MONAI configs.
            overrides: id -> value, such as ``{"severity": [1, 2]}`` or ``{"target": "T2"}``; ids of the file.

        Raises:
            InputError: there is no such file, it is no such config, or an override names nothing in it.
        """
        path = Path(path)
        config = _config(path, overrides or {})
        try:
            source, degraded = (config.get_parsed_content(key) for key in ("source", "source_name"))
            transforms = config.get_parsed_content(CHAIN)
            others = {"companions": [], "target_name": source}
            others |= {key: config.get_parsed_content(key) for key in others if key in config.get()}
        except Exception as error:
            remedy = f"It needs source, source_name and {CHAIN}: compare it with those in tasks/"
            raise InputError(path, f"cannot be evaluated ({root_cause(error)})", remedy) from error
        reference = others["target_name"]
        for key, name in (("source", source), ("source_name", degraded), ("target_name", reference)):
            if not isinstance(name, str) or name in RESERVED or Path(name).name != name:
                raise refuse(path, key, f"is {name!r}, no possible name of one modality", "Give one name")
        if degraded in (source, reference):
            raise refuse(path, "source_name", f"is {degraded!r}, as the clean modality", "Give another name")
        if not isinstance(transforms, Sequence) or not transforms or not all(map(callable, transforms)):
            raise refuse(path, CHAIN, "is no list of transforms", "Name at least one of medtrans.simulate")
        record = files_by_content(json.loads(json.dumps(config.get(), default=str)))
        return cls(path.stem, source, degraded, reference, tuple(others["companions"]), record, Compose(transforms))

    @property
    def makes(self) -> tuple[str, ...]:
        """The modalities that are written: the degraded one, and the reference unless that is the clean one."""
        return (self.degraded,) if self.reference == self.source else (self.degraded, self.reference)

    def degrade(
        self, image: MetaTensor, seed: int, companions: Mapping[str, torch.Tensor] | None = None, unit: str = ""
    ) -> dict[str, Made]:
        """What the task makes of an image: a function of its arguments alone.

        Args:
            image: ``(1, X, Y, Z)`` in physical units, RAS order, on the device that shall do it.
            seed: of what is drawn.
            companions: images on the same grid, by the names of their modalities.
            unit: of the image, where it is known: degradations that count with it refuse another one than theirs.

        Returns:
            An image for each name in :attr:`makes`.

        Raises:
            ValueError: a transform refuses the image, or what comes out is not finite or has no contrast.
        """
        spacing = [float(step) for step in image.pixdim]
        item = {"source": image, "target": image, "spacing": spacing, "unit": unit, **(companions or {})}
        self.chain.set_random_state(seed=seed)
        try:
            with seeded(seed):
                item = self.chain(item)
        except RuntimeError as error:  # MONAI's, around what the transform said
            raise ValueError(str(root_cause(error))) from error
        return {name: _made(name, item[key]) for name, key in zip(self.makes, ("source", "target"), strict=False)}


def _made(name: str, image: torch.Tensor) -> Made:
    """The image with its records, checked."""
    if not torch.isfinite(image).all():
        raise ValueError(f"{name} would have values that are not finite")
    if image.min() == image.max():
        raise ValueError(f"{name} would show nothing")
    if not isinstance(image, MetaTensor):
        return Made(image, [])
    return Made(image.as_tensor(), list(image.meta.get(RECORDS, ())))


def image_of(values: np.ndarray, affine: np.ndarray, device: str | torch.device = "cpu") -> MetaTensor:
    """``(X, Y, Z)`` in RAS order as a one-channel image for :meth:`Task.degrade`."""
    voxels = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None].to(device)
    return MetaTensor(voxels, affine=torch.from_numpy(np.array(affine, dtype=np.float64)))


def settings_of(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a training's settings that :meth:`Task.read` takes as overrides: their ids are the task's.

    Raises:
        InputError: the task cannot be read.
    """
    config = _config(Path(path), {})
    return {key: value for key, value in settings.items() if _has(config, key)}


def _config(path: Path, overrides: Mapping[str, Any]) -> Any:
    """The file as a ConfigParser, ids with ``::`` unfolded and the overrides set."""
    from monai.bundle import ConfigParser

    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise InputError(path, problem, "Give one of tasks/, or a copy of one")
    try:
        written = ConfigParser.load_config_file(path)
        parser = ConfigParser({})
        for key, value in written.items():
            parser.set(value, key, recursive=True)
    except Exception as error:
        raise InputError(path, f"is not a readable config ({error})", "Mend it") from error
    for key, value in overrides.items():
        if not _has(parser, key):
            known = ", ".join(key for key in written if "::" not in key)
            raise refuse(path, key, "does not exist in the task", f"It has {known}")
        parser.set(value, key, recursive=False)
    return parser


def _has(parser: Any, key: str) -> bool:
    """Whether the id is there, or is an argument of a component that is there; its constructor judges that one."""
    parent, _, _ = key.replace("#", "::").rpartition("::")
    try:
        node = parser[parent]
        return "_target_" in node or parser[key] is not None
    except (KeyError, ValueError, IndexError, TypeError):
        return False
