"""One case while it is examined: its files opened once, coarse copies and statistics made when they are asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from scipy import ndimage

from medtrans.cohorts.doctor.listing import Listed
from medtrans.cohorts.grid import Grid
from medtrans.cohorts.registration import Coarse
from medtrans.cohorts.similarity import robust_range

SHARE_OF_WINDOW = 0.05  # body, where there is no mask: above the lowest twentieth of the window, as in training
PERCENTILES = (0.0, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9, 100.0)


@dataclass
class CaseVolumes:
    """The volumes of one case.

    Args:
        listed: its row.
        kinds: modality -> ``"MR"``, ``"CT"`` or ``"PET"``.
        backgrounds: modality -> value outside the scanned field.
        reference: the modality that the others are compared with.
        coarse_mm: voxel size of the coarse copies; finer voxels are averaged, coarser ones kept.
        problems: file (modality, ``mask`` or ``label``) -> why it cannot be read.
        images: the files that can be read, headers only.
    """

    listed: Listed
    kinds: Mapping[str, str]
    backgrounds: Mapping[str, float]
    reference: str
    coarse_mm: float = 4.0
    problems: dict[str, str] = field(default_factory=dict)
    images: dict[str, nibabel.Nifti1Image] = field(default_factory=dict)
    _made: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, path in self.listed.all_files.items():
            try:
                self.images[name] = _opened(path)
                self.values(name)
            except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
                self.images.pop(name, None)
                self.problems[name] = " ".join(str(error).split()) or type(error).__name__

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, made the first time ``key`` is asked for; so checks share what is slow."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def modalities(self) -> list[str]:
        """Those that can be read, the reference first."""
        there = [name for name in self.listed.files if name in self.images]
        return sorted(there, key=lambda name: name != self.reference)

    @property
    def on_mask(self) -> list[str]:
        """Those modalities whose shape is the body's, so that they can be looked at inside it."""
        return [name for name in self.modalities if self.values(name).shape == self.body.shape]

    def values(self, name: str) -> np.ndarray:
        """``(X, Y, Z)`` float32 in physical units."""
        return self.once(("values", name), lambda: _array(self.images[name]))

    @property
    def body(self) -> np.ndarray:
        """Boolean mask of the body; without a mask file, what lies above a twentieth of the first window."""
        return self.once("body", self._body)

    def _body(self) -> np.ndarray:
        if "mask" in self.images:
            return self.values("mask") > 0
        for name in self.modalities:
            if window := self.listed.windows.get(name):
                return self.values(name) > window.lower + SHARE_OF_WINDOW * (window.upper - window.lower)
        return np.zeros((1, 1, 1), bool)

    def inside(self, name: str) -> np.ndarray:
        """The finite values inside the body, 1D; of the whole volume, where the mask is empty."""

        def make() -> np.ndarray:
            values = self.values(name)
            chosen = values[self.body] if self.body.any() else values.ravel()
            return chosen if np.isfinite(chosen).all() else chosen[np.isfinite(chosen)]

        return self.once(("inside", name), make)

    def percentiles(self, name: str) -> dict[float, float]:
        """Percentile -> value inside the body (0 and 100 are the extremes); NaN when nothing is finite."""

        def make() -> dict[float, float]:
            inside = self.inside(name)
            found = np.percentile(inside, PERCENTILES) if inside.size else np.full(len(PERCENTILES), np.nan)
            return dict(zip(PERCENTILES, found.tolist(), strict=True))

        return self.once(("percentiles", name), make)

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres along the three axes, of the first readable file."""
        return np.asarray(next(iter(self.images.values())).header.get_zooms()[:3], dtype=float)

    @property
    def steps(self) -> tuple[int, int, int]:
        """How many voxels are averaged along each axis for the coarse copies."""
        return tuple(max(1, round(self.coarse_mm / step)) for step in self.spacing)  # type: ignore[return-value]

    def coarse(self, name: str) -> Coarse:
        """A modality averaged over blocks, on axes with their origin at 0, clipped to its robust range."""

        def make() -> Coarse:
            values = block_means(np.nan_to_num(self.values(name)), self.steps)
            lower, upper = robust_range(values)
            background = float(np.clip(self.backgrounds.get(name, lower), lower, upper))
            return Coarse(np.clip(values, lower, upper), self._coarse_grid(values.shape), background)

        return self.once(("coarse", name), make)

    @property
    def coarse_body(self) -> np.ndarray:
        """The body on the grid of the coarse copies."""
        return self.once("coarse body", lambda: block_means(self.body.astype(np.float32), self.steps) > 0.5)

    def _coarse_grid(self, shape: tuple[int, ...]) -> Grid:
        return Grid((shape[0], shape[1], shape[2]), np.diag([*(self.spacing * self.steps), 1.0]))


def block_means(values: np.ndarray, steps: tuple[int, int, int]) -> np.ndarray:
    """Means of blocks of ``steps`` voxels, float32; what does not fill a block at the far end is left out."""
    if steps == (1, 1, 1):
        return np.ascontiguousarray(values, dtype=np.float32)
    means = values
    for axis, step in enumerate(steps):
        count = max(1, means.shape[axis] // step)
        step = min(step, means.shape[axis])
        means = means[(slice(None),) * axis + (slice(0, count * step),)]
        means = means.reshape(*means.shape[:axis], count, step, *means.shape[axis + 1 :]).mean(axis=axis + 1)
    return np.ascontiguousarray(means, dtype=np.float32)


def centre_of(mask: np.ndarray) -> np.ndarray:
    """Index of a mask's centre of mass, of the volume's middle where the mask is empty."""
    if not mask.any():
        return (np.array(mask.shape) - 1) / 2
    return np.array(ndimage.center_of_mass(mask))


def _opened(path: Path) -> nibabel.Nifti1Image:
    if not path.is_file():
        raise FileNotFoundError("the file does not exist")
    return cast(nibabel.Nifti1Image, nibabel.load(path))


def _array(image: nibabel.Nifti1Image) -> np.ndarray:
    stored = np.asanyarray(image.dataobj)
    if stored.dtype.fields is not None or np.iscomplexobj(stored):
        raise ValueError("it holds colours or complex numbers")
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim != 3:
        raise ValueError(f"it has the shape {stored.shape}, not three axes")
    return np.asarray(stored, dtype=np.float32)
