"""The items of a data set: its slices for two-dimensional training, its volumes for three-dimensional and inference."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.cohorts.cases import Case, Cases
from medtrans.cohorts.foreground import foreground_profiles
from medtrans.errors import InputError
from medtrans.transforms.mapped_nifti import MappedNifti, axis_number

Modalities = str | Sequence[str]
logger = logging.getLogger(__name__)


def slice_items(
    dataset_dir: str | os.PathLike[str],
    source: Modalities,
    target: Modalities,
    split: str = "train",
    axis: str | int = "axial",
    minimum_foreground: float = 0.02,
    every: int = 1,
    missing: str = "error",
    label: bool = False,
    companions: Modalities = (),
) -> list[dict[str, Any]]:
    """One item for each slice with enough body in it, for :class:`medtrans.transforms.ReadSlicesd`.

    Args:
        dataset_dir: the data set's folder, with cases.csv.
        source: modality, or modalities, to translate from; they become channels.
        target: modality, or modalities, to translate to.
        split: ``"train"``, ``"validation"``, ``"test"`` or ``"all"``.
        axis: ``"axial"``, ``"coronal"``, ``"sagittal"``, or 2, 1, 0.
        minimum_foreground: smallest share of body voxels in a slice, 0 to 1, from the case's mask or, without one,
            from what lies above the lowest 5 % of the first source's window. 0 keeps every slice.
        every: keep each ``every``-th slice of a volume, by slice number.
        missing: ``"error"`` refuses cases that lack a modality, ``"skip"`` leaves them out.
        label: items say where the case's label map is, too (``"label"``: path).
        companions: further modalities that something looks at, such as the CT of a PET scan; items say where they are,
            under their names, where the case has them.

    Returns:
        Items ``{"case", "source": [paths], "target": [paths], "mask": path (absent without a mask), "axis": 0|1|2,
        "index", "windows": {"source": [[lower, upper, unit], …], "target": …}, "spacing": [mm, mm, mm]}``, ordered by
        case and slice.

    Raises:
        InputError: the data set lacks a modality, or a label that is asked for, the split is empty, volumes of a case
            are on different grids or not in RAS order, or no slice has enough foreground.
    """
    number = axis_number(axis)
    if every < 1 or not 0 <= minimum_foreground <= 1:
        problem = f"are out of range (every={every}, minimum_foreground={minimum_foreground})"
        raise InputError("slice options", problem, "Use every >= 1 and a share between 0 and 1")
    sources, targets = _listed(source), _listed(target)
    cases = _chosen(Cases.read(dataset_dir), sources, targets, split, missing)
    root = Path(dataset_dir).expanduser().resolve()
    profiles = foreground_profiles(root, cases, sources[0]) if minimum_foreground > 0 else {}
    items: list[dict[str, Any]] = []
    for case in cases:
        item, grid = _item(case, sources, targets, label, _listed(companions))
        depth = grid.shape[number]
        shares = profiles[case.name][number] if profiles else np.ones(depth)
        kept = [k for k in range(0, depth, every) if shares[k] >= minimum_foreground]
        items.extend({**item, "axis": number, "index": k} for k in kept)
    if not items:
        problem = f"has no slice with {minimum_foreground:.0%} foreground in the {split} split"
        raise InputError(root, problem, "Lower minimum_foreground, or look at the masks")
    logger.info("%s: %d slices of %d cases", split, len(items), len(cases))
    return items


def volume_items(
    dataset_dir: str | os.PathLike[str],
    source: Modalities,
    target: Modalities = (),
    split: str = "test",
    missing: str = "error",
    label: bool = False,
    companions: Modalities = (),
) -> list[dict[str, Any]]:
    """One item for each case, for :class:`medtrans.transforms.ReadVolumesd`.

    Args:
        dataset_dir: the data set's folder, with cases.csv.
        source: modality, or modalities, to translate from; they become channels.
        target: modality, or modalities, to translate to; none for inference, where the target need not exist.
        split: ``"train"``, ``"validation"``, ``"test"`` or ``"all"``.
        missing: ``"error"`` refuses cases that lack a modality, ``"skip"`` leaves them out.
        label, companions: as there.

    Returns:
        Items like those of :func:`slice_items`, without ``axis`` and ``index``, and without ``target`` where none was
        asked for.

    Raises:
        InputError: the data set lacks a modality, or a label that is asked for, the split is empty, or volumes of a
            case are on different grids.
    """
    sources, targets = _listed(source), _listed(target)
    cases = _chosen(Cases.read(dataset_dir), sources, targets, split, missing)
    return [_item(case, sources, targets, label, _listed(companions))[0] for case in cases]


def _listed(modalities: Modalities) -> list[str]:
    """A list of modality names from one name or several."""
    return [modalities] if isinstance(modalities, str) else list(modalities)


def _chosen(cases: Cases, sources: list[str], targets: list[str], split: str, missing: str) -> list[Case]:
    """The cases of the split that have every modality."""
    if missing not in ("error", "skip"):
        raise InputError(f"missing={missing!r}", "is unknown", 'Use "error" or "skip"')
    wanted = [*sources, *targets]
    if not sources:
        raise InputError(cases.root, "cannot be listed without a source modality", f"Choose from {_names(cases)}")
    for modality in wanted:
        if modality not in cases.modalities:
            problem = f"has no modality {modality!r}"
            raise InputError(cases.root, problem, f"It has {_names(cases)}: choose source and target from these")
    chosen = cases.of_split(split)
    lacking = {case.name: [m for m in wanted if m not in case.volumes] for case in chosen if not case.has(wanted)}
    if lacking and missing == "error":
        names = ", ".join(f"{name} ({'+'.join(modalities)})" for name, modalities in list(lacking.items())[:10])
        more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
        problem = f"has cases in the {split} split that lack a modality: {names}{more}"
        raise InputError(cases.root, problem, 'Complete them, or leave them out with missing="skip"')
    if len(lacking) == len(chosen):
        problem = f"has no case in the {split} split with {', '.join(wanted)}"
        raise InputError(cases.root, problem, "Prepare more subjects, or choose other modalities")
    return [case for case in chosen if case.name not in lacking]


def _names(cases: Cases) -> str:
    """The modalities of the data set, for a message."""
    return ", ".join(cases.modalities) or "no modality at all"


def _item(
    case: Case, sources: list[str], targets: list[str], label: bool, companions: list[str]
) -> tuple[dict[str, Any], MappedNifti]:
    """What every item of ``case`` says, of which slices share these lists; and the grid that all of it lies on."""
    beside = [modality for modality in companions if modality in case.volumes]
    grid = _checked_grid(case, (*sources, *targets, *beside), label)
    item: dict[str, Any] = {"case": case.name, "windows": {}}
    item["spacing"] = [float(step) for step in np.linalg.norm(grid.affine[:3, :3], axis=0)]
    for key, modalities in (("source", sources), ("target", targets)):
        if modalities:
            item[key] = [str(case.volumes[modality]) for modality in modalities]
            windows = [case.windows[modality] for modality in modalities]
            item["windows"][key] = [[window.lower, window.upper, window.unit] for window in windows]
    if case.mask is not None:
        item["mask"] = str(case.mask)
    if label and case.label is None:
        raise InputError(f"case {case.name}", "has no label map", "Name one in the recipe, or train without labels")
    return item | ({"label": str(case.label)} if label else {}) | {m: str(case.volumes[m]) for m in beside}, grid


def _checked_grid(case: Case, modalities: Sequence[str], label: bool) -> MappedNifti:
    """The header of the first modality, after checking that all of the case's volumes lie on its grid, in RAS order."""
    maps = [case.mask, case.label if label else None]
    paths = [case.volumes[modality] for modality in modalities] + [path for path in maps if path is not None]
    first, *others = [MappedNifti.open(path) for path in paths]
    rotation = first.affine[:3, :3]
    if not (np.argmax(np.abs(rotation), axis=0) == np.arange(3)).all() or (np.diag(rotation) <= 0).any():
        raise InputError(first.path, "is not stored in RAS order (right, front, up)", "Prepare the data set again")
    for other in others:
        if other.shape != first.shape or not np.allclose(other.affine, first.affine, atol=1e-2):
            problem = f"is not on the grid of {first.path.name} (case {case.name})"
            raise InputError(other.path, problem, "Align the modalities with `medtrans prepare`")
    return first
