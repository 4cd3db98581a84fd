"""One case from its files to aligned volumes: read, compare or register, resample once, mask, window, write."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.cohorts.grid import Grid, box, extent_in_reference, share_inside, target_grid
from medtrans.cohorts.nifti import write_nifti
from medtrans.cohorts.quality import draw_case
from medtrans.cohorts.recipe import Modality, Recipe
from medtrans.cohorts.registration import Alignment, Coarse, header_agrees, measure, register
from medtrans.cohorts.resample import resample, source_range
from medtrans.cohorts.selection import Candidate, Source, _sidecar
from medtrans.cohorts.volumes import Volume, moved, read_volume, world_corners
from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.transforms.body_mask import body_mask
from medtrans.transforms.window import Window

FORMAT = 1
RECORD = "case.json"
CUT_BODY = 0.99  # less of the body than this inside the grid is worth a warning


@dataclass(frozen=True)
class CaseJob:
    """What a worker needs to prepare one case.

    Args:
        candidate: the case and its files.
        recipe: how to prepare it.
        dataset: the folder of the data set.
        fingerprint: of the recipe and the files, see :func:`fingerprint`.
        threads: threads to use, 0 for all.
    """

    candidate: Candidate
    recipe: Recipe
    dataset: Path
    fingerprint: str
    threads: int = 1


@dataclass
class _Read:
    """One modality while its case is prepared."""

    modality: Modality
    source: Source
    volume: Volume
    coarse: Coarse
    body: np.ndarray
    alignment: Alignment = field(default_factory=Alignment)
    frames: str = ""


def fingerprint(candidate: Candidate, recipe: Recipe, folder: Path) -> str:
    """Changes whenever the recipe, a file of the case, or what is known of it changes."""
    maps = {"label": candidate.label, "mask": candidate.mask}
    sources = {**candidate.sources, **{name: source for name, source in maps.items() if source}}
    files = {name: [*_stamp(source, folder), source.unit, source.frame] for name, source in sources.items()}
    content = json.dumps([FORMAT, recipe.for_one_case(), candidate.subject, files], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _stamp(source: Source, folder: Path) -> list[Any]:
    state = source.path.stat()
    return [source.path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns]


def finished_case(dataset: Path, name: str, expected: str) -> dict[str, Any] | None:
    """The record of a case that an earlier run finished with the same fingerprint, its files still there."""
    try:
        record = json.loads((dataset / name / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(record, dict) and record.get("fingerprint") == expected
    return record if same and all((dataset / file).is_file() for file in record["files"].values()) else None


def prepare_case(job: CaseJob) -> dict[str, Any]:
    """Prepare one case and return its record, which is written last and marks the case as finished.

    Raises:
        InputError: a volume is unusable, or the modalities do not overlap.
    """
    start = time.perf_counter()
    recipe, candidate = job.recipe, job.candidate
    folder = job.dataset / candidate.name
    _clear(job.dataset, folder)
    read = {name: _read(recipe.modalities[name], source, job) for name, source in candidate.sources.items()}
    reference = read[recipe.reference] if recipe.reference in read else next(iter(read.values()))
    warnings: list[str] = []
    for one in read.values():
        if one is not reference:
            _align(one, reference, recipe, warnings)
    grid = _grid(recipe, reference, read)
    inside = share_inside(reference.body, reference.coarse.grid.affine, grid, [a for a in range(3) if recipe.size[a]])
    if inside < CUT_BODY:
        warnings.append(f"{100 * (1 - inside):.0f} % of the body lies outside the grid")
    volumes = {name: _resampled(one, grid, job.threads) for name, one in read.items()}
    bodies = {name: _body(one.modality, one.source, volumes[name]) for name, one in read.items()}
    mask = bodies.get(recipe.mask or "", bodies[reference.modality.name])
    if candidate.mask:
        like = read.get(recipe.mask or "", reference)
        mask = (_moved_map(candidate.mask, like, grid, job.threads) > 0).astype(np.uint8)
    if not mask.any():
        warnings.append("the body mask is empty")
    _derive(recipe, volumes, bodies)
    origins = {name: one.source for name, one in read.items()}
    windows = {name: _window(recipe, name, origins, volumes[name], bodies[name]) for name in volumes}
    if recipe.outside == "background":
        fill = {name: np.float32(recipe.modalities[name].background) for name in volumes}
        volumes = {name: np.where(mask > 0, values, fill[name]) for name, values in volumes.items()}
    label = None
    if candidate.label:
        label = _moved_map(candidate.label, read.get(recipe.label_like, reference), grid, job.threads)
    files = _write(job, volumes, mask, label, grid)
    names = [reference.modality.name, *(name for name in volumes if name != reference.modality.name)]
    draw_case(
        job.dataset / "qa" / f"{candidate.name}.png",
        _title(candidate.name, read, reference),
        {name: volumes[name] for name in names},
        windows,
        mask,
        recipe.spacing,
    )
    record = {
        "fingerprint": job.fingerprint,
        "files": files,
        "windows": {name: window.record() for name, window in windows.items()},
        "shape": list(grid.shape),
        "spacing": list(recipe.spacing),
        "affine": grid.affine.tolist(),
        "sources": {name: _origin(one) for name, one in read.items()},
        "row": _row(read, reference, grid, warnings, time.perf_counter() - start),
    }
    with written_whole(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def remove_case(dataset: Path, name: str) -> None:
    """Remove what was written for a case that does not belong to the data set (any more), its folder if then empty."""
    folder = dataset / name
    if (folder / RECORD).is_file():
        (dataset / "qa" / f"{name}.png").unlink(missing_ok=True)
    _clear(dataset, folder)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _clear(dataset: Path, folder: Path) -> None:
    """Remove what earlier runs are known to have written for this case, finished or not, and nothing else."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        (folder / RECORD).unlink()
        for file in record["files"].values():
            (dataset / file).unlink(missing_ok=True)
    for partial in folder.glob(".partial-*"):
        partial.unlink(missing_ok=True)


def _read(modality: Modality, source: Source, job: CaseJob) -> _Read:
    """A modality's volume, its coarse image and its body."""
    replacement = modality.background if modality.not_finite == "background" else None
    volume = read_volume(source.path, replacement)
    coarse = Coarse.of(volume, job.recipe.registration.spacing, modality.background, job.threads)
    return _Read(modality, source, volume, coarse, _body(modality, source, coarse.values))


def _body(modality: Modality, source: Source, values: np.ndarray) -> np.ndarray:
    try:
        return body_mask(values, modality.kind, modality.threshold)
    except ValueError as error:
        raise InputError(source.path, f"shows no body: {error}", "Leave it out, or look at it") from error


def _align(one: _Read, reference: _Read, recipe: Recipe, warnings: list[str]) -> None:
    """Decide whether ``one`` lies right by its header; register it when the recipe wants that."""
    one.frames = frames(one.source, reference.source)
    name, rigid = one.modality.name, recipe.registration.rigid
    trusted = one.frames == "same"
    if one.frames == "unknown" and rigid is not True:
        trusted = header_agrees(reference.coarse, one.coarse, reference.body)
    if rigid is True or (rigid == "if_needed" and not trusted):
        settings = recipe.registration
        one.alignment = register(
            reference.coarse, one.coarse, reference.body, one.body,
            settings.bins, settings.iterations, settings.sampling, recipe.seed,
        )  # fmt: skip
        if not trusted and not one.alignment.registered:
            warnings.append(f"registration found nothing better than the header's alignment for {name}")
        return
    information = measure(reference.coarse, one.coarse, reference.body)
    one.alignment = Alignment(before=information, after=information)
    if not trusted:
        why = "another frame of reference" if one.frames == "different" else "a shift of 4 or 8 mm fits better"
        warnings.append(f"{name} is not aligned with {reference.modality.name} by its header ({why})")


def frames(first: Source, second: Source) -> str:
    """``"same"``, ``"different"`` or ``"unknown"``: whether two volumes share their frame of reference."""
    if first.frame is None or second.frame is None:
        return "unknown"
    return "same" if first.frame == second.frame else "different"


def _grid(recipe: Recipe, reference: _Read, read: Mapping[str, _Read]) -> Grid:
    """The target grid of the case, in the reference's space."""
    bounds = {name: extent_in_reference(one.volume, one.alignment.rigid) for name, one in read.items()}
    if recipe.extent == "reference":
        bounds = {reference.modality.name: bounds[reference.modality.name]}
    centre = reference.volume.corners().mean(axis=0)
    if recipe.centre == "body" and reference.body.any():
        inside = moved(np.argwhere(reference.body).astype(np.float64), reference.coarse.grid.affine)
        centre = box(inside).mean(axis=0)
    return target_grid(reference.volume, bounds, centre, recipe.spacing, recipe.size)


def _resampled(one: _Read, grid: Grid, threads: int) -> np.ndarray:
    modality = one.modality
    clamp = source_range(one.volume.values) if isinstance(modality.clamp, str) else modality.clamp
    return resample(one.volume, grid, one.alignment.rigid, modality.interpolation, clamp, modality.background, threads)


def _derive(recipe: Recipe, volumes: dict[str, np.ndarray], bodies: dict[str, np.ndarray]) -> None:
    """Add the modalities that are computed from another one, in the recipe's order; the body is the other's."""
    for name, modality in recipe.modalities.items():
        derived = modality.derived
        if derived is not None and derived.source in volumes:
            values = derived.transform(volumes[derived.source][None])
            volumes[name] = np.asarray(values, dtype=np.float32)[0]
            bodies[name] = bodies[derived.source]


def _window(recipe: Recipe, name: str, origins: Mapping[str, Source], values: np.ndarray, body: np.ndarray) -> Window:
    modality = recipe.modalities[name]
    assert modality.window is not None
    try:
        return modality.window(values, body)
    except ValueError as error:
        path = origins[modality.derived.source if modality.derived else name].path
        raise InputError(path, f"has no intensity window: {error}", "Look at it, or leave it out") from error


def _moved_map(source: Source, like: _Read, grid: Grid, threads: int) -> np.ndarray:
    """A label map or a mask on the grid, moved with the modality that it belongs to."""
    volume = read_volume(source.path)
    return resample(volume, grid, like.alignment.rigid, "nearest", threads=threads)


def _write(
    job: CaseJob, volumes: Mapping[str, np.ndarray], mask: np.ndarray, label: np.ndarray | None, grid: Grid
) -> dict[str, str]:
    """Write everything into the case's folder; returns the paths relative to the data set."""
    name = job.candidate.name
    folder = job.dataset / name
    for modality, values in volumes.items():
        write_nifti(folder / f"{modality}.nii", values.astype(np.float32), grid.affine)
    write_nifti(folder / "mask.nii", mask, grid.affine)
    files = {modality: f"{name}/{modality}.nii" for modality in volumes} | {"mask": f"{name}/mask.nii"}
    if label is not None:
        write_nifti(folder / "label.nii", label.astype(np.int16), grid.affine)
        files["label"] = f"{name}/label.nii"
    return files


def _origin(one: _Read) -> dict[str, Any]:
    """Where a volume came from, enough to send results back to its own grid, and to recognise it."""
    values = one.volume.values
    return {
        "shape": list(values.shape),
        "affine": one.volume.affine.tolist(),
        "rigid": one.alignment.rigid.tolist(),
        "voxels": hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest(),
        "images": str(_sidecar(one.source.path).get("images") or ""),
    }


def _row(
    read: Mapping[str, _Read], reference: _Read, grid: Grid, warnings: list[str], seconds: float
) -> dict[str, Any]:
    """The case's line in ``prepare.csv``."""
    row: dict[str, Any] = {"warnings": "; ".join(warnings), "seconds": round(seconds, 2)}
    middle = box(world_corners(grid.shape, grid.affine)).mean(axis=0)
    for name, one in read.items():
        row[f"padded_{name}"] = round(1 - _covered(one, grid), 4)
        if one is reference:
            continue
        row[f"frame_{name}"] = one.frames
        row[f"mutual_information_before_{name}"] = round(one.alignment.before, 4)
        row[f"mutual_information_after_{name}"] = round(one.alignment.after, 4)
        turn, shift = one.alignment.parameters(middle)
        row[f"rotation_{name}"] = " ".join(f"{angle:.3f}" for angle in turn) if one.alignment.registered else ""
        row[f"shift_{name}"] = " ".join(f"{step:.3f}" for step in shift) if one.alignment.registered else ""
    return row


def _covered(one: _Read, grid: Grid) -> float:
    """Share of the grid that lies inside the volume's field of view, from every fourth voxel along each axis."""
    to_source = np.linalg.inv(one.volume.affine) @ one.alignment.rigid @ grid.affine
    points = np.stack(np.meshgrid(*(np.arange(0, n, 4) for n in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    index = moved(points.astype(np.float64), to_source)
    return float(((index >= -0.5) & (index <= np.array(one.volume.values.shape) - 0.5)).all(axis=1).mean())


def _title(name: str, read: Mapping[str, _Read], reference: _Read) -> str:
    parts = [
        f"{one.modality.name}: mutual information {one.alignment.before:.3f} -> {one.alignment.after:.3f}"
        for one in read.values()
        if one is not reference
    ]
    return "   ".join([name, *parts])
