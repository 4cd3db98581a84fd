"""What to translate: a file, several files, a folder, a scanner export or a data set become a list of cases."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtrans.cohorts.cases import Cases
from medtrans.cohorts.selection import _sidecar, _source, plain_unit
from medtrans.errors import InputError

VOLUMES = (".nii", ".nii.gz")
TABLE = "cases.csv"
DICOM_MODALITY = {"CT": "CT", "MR": "MR", "PET": "PT"}
Item = dict[str, Any]
Modality = Mapping[str, Any]
logger = logging.getLogger(__name__)


def translation_items(
    source: str | Sequence[str], modalities: Sequence[Modality], split: str = "test", work: str | Path = "."
) -> list[Item]:
    """The cases behind ``--input``.

    Args:
        source: a NIfTI volume; one volume a source modality, separated by commas or as a list; a folder of volumes; a
            folder with one sub-folder a case and ``<modality>.nii[.gz]`` in it; a data set, or its cases.csv; what
            `medtrans convert` wrote (series.csv); or a scanner export, which is converted first.
        modalities: the entries of the bundle's source modalities in models/modalities.json, in the order of its
            channels. ``series`` in them, the recipe's patterns, chooses among converted series.
        split: of a data set.
        work: folder of the results; a scanner export is converted into ``work/converted``.

    Returns:
        ``{"case": name, "source": [path a channel]}`` a case, each name once. The cases of a data set bring their
        ``"windows"``. A case that cannot be translated has a ``"problem"``, so that it is told and the rest is done.

    Raises:
        InputError: there is nothing to translate.
    """
    paths = _paths(source)
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise InputError(absent[0], "does not exist", "Give a NIfTI file, a folder of scans, or a data set")
    if len(paths) > 1 or (paths[0].is_file() and _is_volume(paths[0])):
        return [_one_case(paths, modalities)]
    (path,) = paths
    if path.name == TABLE:
        path = path.parent
    if (path / TABLE).is_file():
        return _data_set(path, modalities, split)
    if (path / "series.csv").is_file():
        return _unique(_converted(path, modalities))
    items = _folder(path, modalities, Path(work)) if path.is_dir() else []
    return _unique(items or _exported(path, modalities, Path(work)))


def _paths(source: str | Sequence[str]) -> list[Path]:
    """One path, or several between commas where no file's own name holds the comma."""
    given = str(source) if not isinstance(source, Sequence) else source  # a number, from a folder of that name
    parts = given if not isinstance(given, str) else [given] if Path(given).exists() else given.split(",")
    paths = [Path(part).expanduser() for part in parts if part]
    if not paths:
        raise InputError("input", "is not given", "Give a NIfTI file, a folder of scans, or a data set")
    return paths


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(VOLUMES) and not path.name.startswith(".")


def stem(path: Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    return name[: -len(".nii")] if name.lower().endswith(".nii") else name


def _item(case: str, paths: Sequence[Path], problem: InputError | None = None) -> Item:
    item: Item = {"case": case, "source": [str(path) for path in paths]}
    return item if problem is None else item | {"problem": str(problem)}


def _one_case(paths: Sequence[Path], modalities: Sequence[Modality]) -> Item:
    names = [entry["modality"] for entry in modalities]
    if len(paths) != len(names):
        wanted = ",".join(names)
        problem = f"is {len(paths)} volume(s), but the model translates {len(names)} ({wanted})"
        raise InputError(",".join(str(path) for path in paths), problem, f"Give {wanted} in this order, with commas")
    return _item(stem(paths[0]), paths, _unlike(paths, modalities) or _of_others(paths))


def _unlike(paths: Sequence[Path], modalities: Sequence[Modality]) -> InputError | None:
    """Why a channel is not what the model translates, where its sidecar and the model both say what it is.

    Of the sidecar's modalities those of DICOM count; one that was made from NIfTI may name a contrast instead.
    """
    for path, entry in zip(paths, modalities, strict=True):
        sidecar, name, kind = _sidecar(path), entry["modality"], DICOM_MODALITY.get(entry.get("kind", ""), "")
        stated = str(sidecar.get("Modality") or "")
        unit, wanted = str(sidecar.get("unit") or ""), str(entry.get("unit") or "")
        if kind and stated in DICOM_MODALITY.values() and stated != kind:
            problem = f"is of modality {stated}, says its sidecar, but the model translates {name} ({kind})"
            return InputError(path, problem, f"Give a volume of {name}, or use another bundle")
        if plain_unit(unit) and plain_unit(wanted) and plain_unit(unit) != plain_unit(wanted):
            problem = f"is in {unit}, says its sidecar, but the model translates {name} in {wanted}"
            return InputError(path, problem, f"Give it in {wanted}, or use another bundle")
    return None


def _of_others(paths: Sequence[Path]) -> InputError | None:
    """Why the channels are not of one subject in one place, as far as their sidecars tell."""
    first, *others = [_source(path, {}) for path in paths]
    for other in others:
        for known, mine, its in (
            ("patient", first.patient, other.patient),
            ("frame of reference", first.frame, other.frame),
        ):
            if mine and its and mine != its:
                problem = f"is of another {known} than {first.path.name}, says its sidecar"
                return InputError(other.path, problem, "Give volumes of one session, aligned by `medtrans prepare`")
    return None


def _data_set(path: Path, modalities: Sequence[Modality], split: str) -> list[Item]:
    """The cases of one split; those without every source modality have a problem. The target need not exist.

    Recorded windows are the model's where the data set was prepared by the intensity rules that the model knows.
    """
    cases, names = Cases.read(path), [entry["modality"] for entry in modalities]
    recorded = _rules(path) == _rules(path) | {entry["modality"]: entry["intensity"] for entry in modalities}
    for name in names:
        if name not in cases.modalities:
            known = ", ".join(cases.modalities) or "no modality at all"
            refused = f"has no modality {name!r}, which the model translates"
            raise InputError(path, refused, f"It has {known}: use another bundle or data set")
    items = []
    for case in cases.of_split(split):
        lacking = [name for name in names if name not in case.volumes]
        if lacking:
            where = f"{path / TABLE} (case {case.name})"
            problem = InputError(where, f"names no {', '.join(lacking)}", "Prepare the case again with it")
            items.append(_item(case.name, [], problem))
            continue
        paths = [case.volumes[name] for name in names]
        item = _item(case.name, paths, _unlike(paths, modalities))
        if recorded:
            windows = [case.windows[name] for name in names]
            item["windows"] = {"source": [[window.lower, window.upper, window.unit] for window in windows]}
        items.append(item)
    return items


def _rules(path: Path) -> dict[str, Any]:
    """Modality -> configuration of its intensity rule, as the data set's recipe.json says; empty where it does not."""
    try:
        recipe = json.loads((path / "recipe.json").read_text(encoding="utf-8"))
        return {name: entry["intensity"] for name, entry in recipe["modalities"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _folder(path: Path, modalities: Sequence[Modality], work: Path) -> list[Item]:
    """Volumes lying in a folder, or in one sub-folder a case; no items where neither is there."""
    names = [entry["modality"] for entry in modalities]
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    volumes = [entry for entry in entries if entry.is_file() and _is_volume(entry)]
    folders = [entry for entry in entries if entry.is_dir() and entry.resolve() != work.resolve()]
    cases = [item for folder in folders if (item := _sub_folder(folder, modalities))]
    if any(len(item["source"]) == len(names) for item in cases):  # complete, though maybe not what is translated
        if volumes:
            logger.warning("%s: %d volumes beside the sub-folders are left out", path, len(volumes))
        return cases
    if volumes and len(names) > 1:
        wanted = " and ".join(f"{name}.nii" for name in names)
        problem = f"holds single volumes, but the model translates {len(names)} ({', '.join(names)})"
        raise InputError(path, problem, f"Give one sub-folder a case with {wanted}")
    return [_one_case([volume], modalities) for volume in volumes]


def _sub_folder(folder: Path, modalities: Sequence[Modality]) -> Item | None:
    """The case in a sub-folder; None where there is no volume at all."""
    volumes = sorted(entry for entry in folder.iterdir() if entry.is_file() and _is_volume(entry))
    if not volumes:
        return None
    names = [entry["modality"] for entry in modalities]
    found = {name: next((file for file in volumes if stem(file) == name), None) for name in names}
    lacking = [name for name, file in found.items() if file is None]
    paths = [file for file in found.values() if file is not None]
    if lacking:
        named = ", ".join(f"{name}.nii" for name in lacking)
        return _item(folder.name, paths, InputError(folder, f"has no {named}", "Add it, or move the folder away"))
    return _item(folder.name, paths, _unlike(paths, modalities) or _of_others(paths))


def _unique(items: Sequence[Item]) -> list[Item]:
    """The items, with a number behind names that come again (``a.nii`` beside ``a.nii.gz``)."""
    taken: set[str] = set()
    for item in items:
        name, count = item["case"], 1
        while item["case"].lower() in taken:
            count += 1
            item["case"] = f"{name}-{count}"
        taken.add(item["case"].lower())
    return list(items)


def _exported(path: Path, modalities: Sequence[Modality], work: Path) -> list[Item]:
    """Convert a scanner export and take its series; what could not be converted has a problem."""
    from medtrans.scans import convert_export

    one = _only(path, modalities)
    table = convert_export(path, work / "converted").astype(str)
    failed = table[(table["status"] == "failed") & table["modality"].isin(_kinds(one, table))]
    items = [
        _item(_name(row), [], InputError(f"{path} ({_name(row)})", f"cannot be converted: {row['reason']}", "Mend it"))
        for row in failed.to_dict("records")
    ]
    try:
        return _converted(work / "converted", modalities) + items
    except InputError:
        if items:
            return items
        raise


def _converted(path: Path, modalities: Sequence[Modality]) -> list[Item]:
    """The converted volumes that are the source: by the recipe's patterns, else every one of its kind."""
    one = _only(path, modalities)
    table = pd.read_csv(path / "series.csv", dtype=str, keep_default_na=False)
    missing = [column for column in ("status", "shape", "modality", "path") if column not in table]
    if missing:
        raise InputError(path / "series.csv", f"lacks the column(s) {', '.join(missing)}", "Convert the export again")
    table = table[(table["status"] == "converted") & (table["shape"].str.count("x") == 2)]
    chosen = table[table["modality"].isin(_kinds(one, table))]
    if chosen.empty:
        problem = f"holds no converted volume that could be {one['modality']}"
        raise InputError(path, problem, "See the reasons in its series.csv")
    matching = chosen[[_matches(row, one.get("series") or {}) for row in chosen.to_dict("records")]]
    if matching.empty:
        told = "%s: no series is described as %s was in training; all %d of its kind are translated"
        logger.warning(told, path, one["modality"], len(chosen))
    rows = (chosen if matching.empty else matching).to_dict("records")
    paths = [path / row["path"] for row in rows]
    return [_item(_name(row), [file], _unlike([file], [one])) for row, file in zip(rows, paths, strict=True)]


def _only(path: Path, modalities: Sequence[Modality]) -> Modality:
    """The one source modality; series of an export are not aligned, so that several make no case."""
    if len(modalities) > 1:
        names = ",".join(entry["modality"] for entry in modalities)
        problem = f"does not say which series are {names}, or that they are aligned"
        raise InputError(path, problem, "Make a data set with `medtrans prepare`, or give files with commas")
    return modalities[0]


def _kinds(modality: Modality, table: pd.DataFrame) -> list[str]:
    """The values of the column ``modality`` that may be this one's; NIfTI files often say nothing."""
    kind = DICOM_MODALITY.get(modality.get("kind", ""), "")
    return [kind, ""] if kind else list(table["modality"].unique())


def _matches(row: Mapping[Any, Any], patterns: Mapping[str, str]) -> bool:
    return all(re.search(pattern, row.get(column, "")) for column, pattern in patterns.items())


def _name(row: Mapping[Any, Any]) -> str:
    """``<patient>_<study>_<series>`` as `medtrans convert` named them."""
    return "_".join(row[part] for part in ("patient", "study", "series") if row.get(part)) or "unreadable"
