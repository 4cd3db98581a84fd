"""One NIfTI volume degraded by a task, on its own grid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

from medtrans.cohorts.inputs import stem
from medtrans.cohorts.selection import _sidecar
from medtrans.cohorts.simulated import SECTION
from medtrans.cohorts.tasks import Task, image_of
from medtrans.cohorts.volumes import Volume, read_volume
from medtrans.errors import InputError
from medtrans.files import written_whole

RAS = np.array([[0, 1], [1, 1], [2, 1]])
KEPT = ("Modality", "unit", "images")  # of the clean volume's sidecar
GRID = ["pixdim", "xyzt_units", "qform_code", "sform_code"]  # of its header, of which free texts may name the patient
GRID += ["quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"]


def simulate_volume(
    task: Task,
    scan: str | os.PathLike[str],
    output: str | os.PathLike[str],
    seed: int = 0,
    companions: Mapping[str, str | os.PathLike[str]] | None = None,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Degrade one volume; what was done to it is written beside it as JSON.

    Args:
        task: see :class:`medtrans.cohorts.tasks.Task`.
        scan: NIfTI, any orientation, in physical units.
        output: ``.nii`` or ``.nii.gz``: float32, on the scan's grid, in its axis order. Where the task makes the
            reference, too, that goes beside it, its name appended. Of the scan's header only the grid is taken over.
        seed: another one, other draws.
        companions: modality -> its volume on the same grid, of those that the task knows.
        device: where to compute.

    Returns:
        What was done to the degraded volume.

    Raises:
        InputError: a file cannot be read, lies on another grid or is of no use to the task; ``output`` is no NIfTI
            name, or what is written would replace an input or its sidecar.
    """
    scan, output = Path(scan), Path(output)
    for path in (scan, output):
        if not path.name.lower().endswith((".nii", ".nii.gz")):
            raise InputError(path, "is not named as a NIfTI volume", "Give two NIfTI files, or a data set and a folder")
    paths = {name: output if name == task.degraded else _beside(output, name) for name in task.makes}
    if _with_sidecars(paths.values()) & _with_sidecars([scan, *map(Path, (companions or {}).values())]):
        raise InputError(output, "would overwrite an input or its sidecar", "Give another name")
    volume = read_volume(scan)
    canonical = io_orientation(volume.affine)
    image = _turned(volume, canonical, device)
    beside = {
        name: _companion(task, name, path, volume, canonical, device) for name, path in (companions or {}).items()
    }
    try:
        made = task.degrade(image, seed, beside, str(_sidecar(scan).get("unit") or ""))
    except ValueError as error:
        raise InputError(scan, f"cannot be degraded: {error}", "Look at it") from error
    told = {key: value for key, value in _sidecar(scan).items() if key in KEPT}
    for name, one in made.items():
        values = apply_orientation(one.image[0].cpu().numpy(), ornt_transform(RAS, canonical)).astype(np.float32)
        _save(paths[name], values, nibabel.load(scan))
        record = {"task": task.name, "from": task.source, "seed": seed, "degradations": one.degradations}
        with written_whole(_sidecar_of(paths[name])) as temporary:
            temporary.write_text(json.dumps({**told, SECTION: record}, indent=1) + "\n", encoding="utf-8")
    return made[task.degraded].degradations


def _beside(output: Path, name: str) -> Path:
    """``made.nii.gz`` -> ``made_PET-full.nii.gz``."""
    return output.with_name(f"{stem(output)}_{name}{output.name[len(stem(output)) :]}")


def _sidecar_of(volume: Path) -> Path:
    return volume.with_name(f"{stem(volume)}.json")


def _with_sidecars(volumes: Iterable[Path]) -> set[Path]:
    """The volumes and their sidecars, whatever links lead to them."""
    return {path.resolve() for volume in volumes for path in (volume, _sidecar_of(volume))}


def named_volumes(texts: Sequence[str]) -> dict[str, Path]:
    """``["CT=ct.nii.gz"]`` -> ``{"CT": Path("ct.nii.gz")}``.

    Raises:
        InputError: there is no ``=``.
    """
    parts = [text.partition("=") for text in texts]
    for text, (name, equals, path) in zip(texts, parts, strict=True):
        if not (name and equals and path):
            raise InputError(f"--with {text}", "is not of the form modality=file", "Write for example CT=ct.nii.gz")
    return {name: Path(path) for name, _, path in parts}


def _turned(volume: Volume, canonical: np.ndarray, device: str) -> Any:
    """The volume in RAS order, as an image."""
    values = apply_orientation(volume.values, canonical)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(canonical, volume.values.shape)
    return image_of(values, affine, device)


def _companion(
    task: Task, name: str, path: str | os.PathLike[str], like: Volume, canonical: np.ndarray, device: str
) -> Any:
    if name not in task.companions:
        known = ", ".join(task.companions) or "none"
        raise InputError(f"companion {name}", f"is not looked at by {task.name}", f"It knows: {known}")
    volume = read_volume(path)
    if volume.values.shape != like.values.shape or not np.allclose(volume.affine, like.affine, atol=1e-2):
        raise InputError(path, "is not on the grid of the scan", "Align them with `medtrans prepare`")
    return _turned(volume, canonical, device)


def _save(output: Path, values: np.ndarray, like: Any) -> None:
    """As float32 on the clean volume's grid: its sform, qform and units."""
    header = nibabel.Nifti1Header()
    for field in GRID:
        header[field] = like.header[field]
    header.set_data_dtype(np.float32)
    image = nibabel.Nifti1Image(values, like.affine, header)
    with written_whole(output) as temporary:
        nibabel.save(image, temporary)
