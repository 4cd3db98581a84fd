"""Which prediction belongs to which reference, by the name of the case; refused where that is not clear."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medtrans.errors import InputError

if TYPE_CHECKING:
    from medtrans.cohorts import Case

ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Pair:
    """One case to evaluate: files, and how to scale them.

    Args:
        case: its name.
        prediction: the synthetic volume; None when there is none (the case then fails).
        reference: the real target volume; None when there is none (the case then fails).
        data_range: interval of target values that relative metrics refer to, in ``unit``.
        unit: the target's unit, ``""`` for arbitrary.
        subject: who, if known.
        source: the untranslated source volume, to be compared beside the prediction.
        source_range: interval of source values that is mapped onto ``data_range`` before the source is compared;
            None: the source is in the target's unit and compared as it is.
        source_unit: the source's unit.
        mask: body mask; None: only the whole image is measured.
    """

    case: str
    prediction: Path | None
    reference: Path | None
    data_range: tuple[float, float]
    unit: str = ""
    subject: str = ""
    source: Path | None = None
    source_range: tuple[float, float] | None = None
    source_unit: str = ""
    mask: Path | None = None


def pairs_from_folders(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str],
    *,
    data_range: tuple[float, float] | None,
    sources: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    source_range: tuple[float, float] | None = None,
    unit: str = "",
) -> list[Pair]:
    """Pair the NIfTI files of folders (or two single files). Every reference is a case, named by its file.

    Raises:
        InputError: no data range, an empty folder, or files that do not pair clearly.
    """
    if data_range is None:
        raise InputError(
            "the data range",
            "is not given, and one taken from the images would make cases incomparable",
            "State it with --data-range LOWER UPPER in the target's unit, or evaluate against a data set",
        )
    files = {"prediction": volumes_in(predictions), "reference": volumes_in(references)}
    named = files["reference"]
    if len(named) == len(files["prediction"]) == 1 and Path(predictions).is_file() and Path(references).is_file():
        files["prediction"] = {next(iter(named)): next(iter(files["prediction"].values()))}
    found = match("prediction", named, files["prediction"])
    extra = {
        role: match(role, named, volumes_in(folder)) if folder is not None else {}
        for role, folder in (("source", sources), ("mask", masks))
    }
    for role, folder in (("source", sources), ("mask", masks)):
        if folder is not None and (lacking := [name for name in named if name not in extra[role]]):
            raise InputError(folder, f"has no {role} for {_listed(lacking)}", f"Add it, or leave the {role}s out")
    if not found:
        raise InputError(
            predictions, f"has no file named after a file of {references}", "Name predictions <reference name>*.nii.gz"
        )
    return [
        Pair(
            name, found.get(name), path, data_range, unit=unit, source=extra["source"].get(name),
            source_range=source_range, mask=extra["mask"].get(name),
        )
        for name, path in named.items()
    ]  # fmt: skip


def pairs_from_cases(
    predictions: str | os.PathLike[str],
    cases: Iterable[Case],
    *,
    target: str,
    source: str | None = None,
    data_range: tuple[float, float] | None = None,
) -> list[Pair]:
    """Pair predictions with the cases of a data set; windows, units and masks come from its table.

    A case with neither target nor prediction is left out; one with a prediction but no target is a pair that fails. One
    without the source is compared without it.

    Args:
        predictions: folder with ``<case>*.nii[.gz]``.
        cases: those to evaluate, for example one split.
        target: modality that was synthesised.
        source: modality that it was synthesised from, to be compared untranslated; None: no such comparison.
        data_range: instead of each case's window of the target.

    Raises:
        InputError: no case has the modalities, or files that do not pair clearly.
    """
    wanted = [target] if source is None else [target, source]
    listed = {case.name: case for case in cases}
    if not any(case.has(wanted) for case in listed.values()):
        raise InputError(
            f"modality {' and '.join(wanted)}", "is in no case to evaluate", "Check --target, --source and --split"
        )
    found = match("prediction", listed, volumes_in(predictions), prefer=target)
    if not found:
        raise InputError(
            predictions, f"has no prediction for any of {len(listed)} cases", "Name predictions <case>*.nii.gz"
        )
    judged = {name: case for name, case in listed.items() if case.has([target]) or name in found}
    return [_pair_of(case, found.get(name), target, source, data_range) for name, case in judged.items()]


def _pair_of(
    case: Case, prediction: Path | None, target: str, source: str | None, data_range: tuple[float, float] | None
) -> Pair:
    """The case with what its table says; without a reference, or an untranslated source, where it has none."""
    if target not in case.volumes:
        return Pair(case.name, prediction, None, data_range or (0.0, 1.0), subject=case.subject)
    window = case.windows[target]
    source = source if source in case.volumes else None
    source_window = case.windows[source] if source else None
    same_unit = source_window is not None and (
        source == target or (bool(window.unit) and source_window.unit == window.unit)
    )
    source_range = (source_window.lower, source_window.upper) if source_window and not same_unit else None
    return Pair(
        case.name,
        prediction,
        case.volumes[target],
        data_range or (window.lower, window.upper),
        unit=window.unit,
        subject=case.subject,
        source=case.volumes[source] if source else None,
        source_range=source_range,
        source_unit=source_window.unit if source_window else "",
        mask=case.mask,
    )


def volumes_in(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """NIfTI files at or below ``folder`` (or the one file it is) by relative path without ending.

    Raises:
        InputError: it does not exist, holds no NIfTI file, or holds a volume both plain and compressed.
    """
    folder = Path(folder).expanduser()
    if folder.is_file() and folder.name.endswith(ENDINGS):
        return {_without_ending(folder.name): folder}
    if not folder.is_dir():
        raise InputError(folder, "is not a folder or NIfTI file", "Check the path")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.nii*")):
        parts = path.relative_to(folder).parts
        if not path.name.endswith(ENDINGS) or any(part.startswith(".") for part in parts):
            continue
        name = _without_ending("/".join(parts))
        if name in files:
            raise InputError(path, f"is there beside {files[name].name}", "Keep one of the two")
        files[name] = path
    if not files:
        raise InputError(folder, "holds no NIfTI file", "Check the path")
    return files


def match(
    role: str, cases: Mapping[str, object] | Sequence[str], files: Mapping[str, Path], prefer: str | None = None
) -> dict[str, Path]:
    """Case -> its file: the one whose name is, or holds between separators, the name of the case.

    ``a_1`` takes ``a_1.nii.gz``, ``a_1_T2_synthetic.nii.gz``, ``synthetic_a_1.nii.gz`` and ``a_1/T2.nii.gz``, never
    ``a_12.nii.gz``; where the names of two cases fit and one holds the other (``a`` and ``a_1``), the longer counts.

    Raises:
        InputError: a file fits several cases, or a case several files (of which not just one names ``prefer``).
    """
    owners: dict[str, list[str]] = {}
    for name, path in files.items():
        fitting = [case for case in cases if _holds(name, case)]
        longest = [case for case in fitting if not any(case != other and _holds(other, case) for other in fitting)]
        if len(longest) > 1:
            raise InputError(path, f"fits the cases {_listed(longest)}", f"Name the {role} after one of them")
        if longest:
            owners.setdefault(longest[0], []).append(name)
    return {case: files[_only(role, case, names, files, prefer)] for case, names in owners.items()}


def _only(role: str, case: str, names: Sequence[str], files: Mapping[str, Path], prefer: str | None) -> str:
    """The one name that is the case's; refused when there are several."""
    if case in names:
        return case
    preferred = [name for name in names if prefer and _holds(name.replace(case, "", 1), prefer)]
    if len(preferred) == 1 or len(names) == 1:
        return (preferred or names)[0]
    listed = " and ".join(str(files[name]) for name in (preferred or names)[:2])
    raise InputError(listed, f"both fit the case {case}", f"Leave one {role} per case in the folder")


def _holds(name: str, part: str) -> bool:
    """Whether ``part`` stands in ``name`` between separators (anything but letters and digits) or its ends."""
    return re.search(rf"(?<![0-9A-Za-z]){re.escape(part)}(?![0-9A-Za-z])", name) is not None


def _without_ending(name: str) -> str:
    return next(name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending))


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
