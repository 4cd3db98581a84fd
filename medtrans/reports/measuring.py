"""Measure one case: read its volumes, check that they lie on one grid, apply every metric per slice and per volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medtrans.errors import InputError
from medtrans.metrics import ImageMetric
from medtrans.reports.pairing import Pair

SLICE_SHARE = 0.02  # a slice counts when more than this share of its pixels is inside the mask
BACKGROUND_SHARE = 0.05  # without a mask: pixels above the lowest 5 % of the data range stand for it
AT_ONCE = 16  # slices in one pass: bounds the memory

Row = dict[str, Any]


@dataclass(frozen=True)
class Volumes:
    """What was read of a case, canonical (RAS) axes, physical units, all of one shape.

    Args:
        prediction: the synthetic volume, ``(X, Y, Z)`` float32.
        reference: the real one.
        source: as it is on disk, in its own unit.
        mask: boolean body mask.
        spacing: millimetres per voxel.
    """

    prediction: np.ndarray
    reference: np.ndarray
    source: np.ndarray | None
    mask: np.ndarray | None
    spacing: tuple[float, float, float]


@dataclass
class Measured:
    """The values of one case.

    Args:
        pair: the case.
        volume: a row per region and image, measured on the whole volume.
        slices: a row per slice, region and image.
        notes: what could not be measured, by metric.
    """

    pair: Pair
    volume: list[Row] = field(default_factory=list)
    slices: list[Row] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def measure(pair: Pair, volumes: Volumes, metrics: Sequence[ImageMetric], axis: int = 2) -> Measured:
    """Every metric for the synthetic volume and for the untranslated source, inside the mask and whole.

    Args:
        pair: the case.
        volumes: from :func:`read_volumes`.
        metrics: what to measure.
        axis: across which axis slices are cut; 2 is axial.
    """
    measured = Measured(pair)
    images = {"synthetic": volumes.prediction}
    if volumes.source is not None:
        images["source"] = comparable_source(pair, volumes.source)
    regions = {"whole": None} if volumes.mask is None else {"mask": volumes.mask, "whole": None}
    chosen = slices_to_measure(volumes, pair.data_range, axis)
    for image, values in images.items():
        triple = (values, volumes.reference, regions)
        measured.volume += list(_volume_rows(pair, image, triple, metrics, measured.notes))
        measured.slices += list(_slice_rows(pair, image, triple, metrics, measured.notes, axis, chosen))
    return measured


def comparable_source(pair: Pair, source: np.ndarray) -> np.ndarray:
    """The source in the target's unit: as it is, or its own range mapped linearly onto the target's."""
    if pair.source_range is None:
        return source
    (lower, upper), (target_lower, target_upper) = pair.source_range, pair.data_range
    share = np.clip((source - lower) / (upper - lower), 0, 1)
    return (share * (target_upper - target_lower) + target_lower).astype(np.float32)


def slices_to_measure(volumes: Volumes, data_range: tuple[float, float], axis: int) -> list[int]:
    """Indices of the slices that show enough of the body."""
    inside = volumes.mask
    if inside is None:
        lower, upper = data_range
        inside = volumes.reference > lower + BACKGROUND_SHARE * (upper - lower)
    share = np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1).mean(1)
    return [int(index) for index in np.flatnonzero(share > SLICE_SHARE)]


def _volume_rows(pair: Pair, image: str, triple: Any, metrics: Sequence[ImageMetric], notes: dict) -> Iterator[Row]:
    values, reference, regions = triple
    tensors = [torch.from_numpy(np.ascontiguousarray(array))[None, None] for array in (values, reference)]
    masks = [
        None if mask is None else torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in regions.values()
    ]
    columns = _columns(tensors, masks, pair.data_range, metrics, notes)
    for index, region in enumerate(regions):
        row = {"case": pair.case, "subject": pair.subject, "region": region, "image": image}
        yield row | {name: float(column[index][0]) for name, column in columns.items()}


def _slice_rows(
    pair: Pair, image: str, triple: Any, metrics: Sequence[ImageMetric], notes: dict, axis: int, chosen: Sequence[int]
) -> Iterator[Row]:
    values, reference, regions = triple
    for start in range(0, len(chosen), AT_ONCE):
        part = list(chosen[start : start + AT_ONCE])
        tensors = [_slices(array, axis, part) for array in (values, reference)]
        masks = [None if mask is None else _slices(mask, axis, part) for mask in regions.values()]
        columns = _columns(tensors, masks, pair.data_range, metrics, notes)
        for position, number in enumerate(part):
            for index, region in enumerate(regions):
                row = {"case": pair.case, "subject": pair.subject, "slice": number, "region": region, "image": image}
                yield row | {name: float(column[index][position]) for name, column in columns.items()}


def _columns(
    tensors: Sequence[Tensor], masks: Sequence[Tensor | None], data_range: tuple[float, float],
    metrics: Sequence[ImageMetric], notes: dict[str, str],
) -> dict[str, list[Tensor]]:  # fmt: skip
    """Metric name -> one ``(B,)`` per mask; NaN with a note where the images are too small for the metric."""
    columns = {}
    for metric in metrics:
        shape = tensors[0].shape[2:]
        if reason := metric.refuses(shape):
            notes[f"{metric.name} ({len(shape)}D)"] = f"{metric.title} in {len(shape)}D {reason}"
            columns[metric.name] = [torch.full((len(tensors[0]),), torch.nan) for _ in masks]
        else:
            columns[metric.name] = metric.in_regions(*tensors, data_range=data_range, masks=masks)
    return columns


def _slices(array: np.ndarray, axis: int, chosen: Sequence[int]) -> Tensor:
    """``(B, 1, …)``: the chosen slices across ``axis``."""
    return torch.from_numpy(np.moveaxis(np.take(array, chosen, axis=axis), axis, 0).copy())[:, None]


def read_volumes(pair: Pair) -> Volumes:
    """Read a case.

    Raises:
        InputError: there is no prediction or no reference, a file cannot be read or is no 3D image, a grid differs from
            the reference's, a value is not finite, or the mask is empty.
    """
    if pair.prediction is None:
        raise InputError(f"case {pair.case}", "has no prediction", "Translate it, or name the file after the case")
    if pair.reference is None:
        problem = "has a prediction, but no target that cases.csv names"
        raise InputError(f"case {pair.case}", problem, "Prepare the case with its target, or move the prediction away")
    reference, grid = _read(pair.reference)
    prediction = _read_on(pair.prediction, pair.reference, grid)
    source = None if pair.source is None else _read_on(pair.source, pair.reference, grid)
    mask = None if pair.mask is None else _read_on(pair.mask, pair.reference, grid) > 0
    if mask is not None and not mask.any():
        raise InputError(pair.mask or "", "is an empty mask", "Make the mask again or evaluate without it")
    spacing = tuple(float(step) for step in np.linalg.norm(grid.affine[:3, :3], axis=0))
    return Volumes(prediction, reference, source, mask, spacing)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Grid:
    shape: tuple[int, ...]
    affine: np.ndarray


def _read_on(path: Path, reference: Path, grid: _Grid) -> np.ndarray:
    """Read ``path``, which must lie on the reference's grid."""
    values, own = _read(path)
    if own.shape != grid.shape:
        problem = f"has {_times(own.shape)} voxels, {reference} has {_times(grid.shape)}"
    elif not np.allclose(own.affine, grid.affine, atol=1e-3):
        moved = np.abs(own.affine - grid.affine).max()
        problem = f"lies elsewhere in space than {reference} (their affines differ by up to {moved:.3g})"
    else:
        return values
    raise InputError(path, problem, "Bring both onto one grid: evaluation does not resample")


def _read(path: Path) -> tuple[np.ndarray, _Grid]:
    """Values in RAS axes as float32, and the grid."""
    import nibabel

    try:
        image = nibabel.load(path)
        if len(image.shape) == 4 and image.shape[3] == 1:
            image = image.slicer[..., 0]
        if len(image.shape) == 3:
            image = nibabel.as_closest_canonical(image)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # damaged files fail in many ways
        raise InputError(path, f"cannot be read as NIfTI ({error})", "Write the file again") from error
    if values.ndim != 3:
        raise InputError(path, f"has {values.ndim} axes", "Give one 3D volume per file")
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        voxels = "voxel" if bad == 1 else "voxels"
        raise InputError(path, f"holds {bad} non-finite {voxels} (NaN or infinite)", "Find out where they are from")
    return values, _Grid(image.shape, np.asarray(image.affine, dtype=float))


def _times(shape: Sequence[int]) -> str:
    return "×".join(str(length) for length in shape)
