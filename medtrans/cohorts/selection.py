"""Which files make a case: matched in ``series.csv`` by regular expressions, or on disk by a path pattern."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from medtrans.cohorts.recipe import Modality, Recipe
from medtrans.errors import InputError

FIELDS = ("subject", "session")
SCAN_ENDING = re.compile(r"\.(nii(\.gz)?|mha|mhd|nrrd)$")
NO_UNIT = ("", "arbitrary", "a.u.", "au", "us", "none", "unknown")
Row = dict[str, str]
Key = tuple[str, str]


@dataclass(frozen=True)
class Source:
    """One volume on disk and what is known of it.

    Args:
        path: NIfTI file.
        unit: physical unit of its values, ``""`` for arbitrary, None when nothing says.
        frame: identifier of its frame of reference, None when nothing says.
        patient: who, as the sidecar says, None when it does not.
    """

    path: Path
    unit: str | None = None
    frame: str | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A case to prepare, or the reason why it cannot be."""

    name: str
    subject: str
    sources: Mapping[str, Source] = field(default_factory=dict)
    label: Source | None = None
    mask: Source | None = None
    problem: str = ""


def select(recipe: Recipe, folder: Path, leave_out: Path | None = None) -> list[Candidate]:
    """The cases in ``folder``, in the order of their names.

    ``series.csv`` decides where there is one and every modality says how to match it; path patterns do otherwise,
    except below ``leave_out``.

    Raises:
        InputError: the folder does not exist, or nothing in it matches any modality.
    """
    if not folder.is_dir():
        raise InputError(folder, "is not a folder", "Give the output of `medtrans convert`, or a folder of NIfTI files")
    wanted = [*recipe.scanned, *(one for one in (recipe.label, recipe.mask_map) if one)]
    table = folder / "series.csv"
    if table.is_file() and all(modality.series for modality in recipe.scanned):
        found = _from_table(table, [modality for modality in wanted if modality.series], recipe.pairs)
    else:
        found = _from_files(folder, wanted, recipe.pairs, leave_out)
    if not found:
        raise InputError(folder, f"holds nothing that the recipe asks for ({_asked(wanted, table)})", _remedy(folder))
    names: set[str] = set()
    return [_candidate(recipe, key, found[key], names) for key in sorted(found)]


Found = dict[Key, dict[str, list[tuple[Source, Row]]]]


def _from_table(table: Path, wanted: Sequence[Modality], pairs: str) -> Found:
    """(patient, study) -> modality -> the rows of ``series.csv`` that match it, with a volume on disk."""
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    missing = [column for column in ("patient", "study", "path") if column not in frame]
    if missing:
        raise InputError(table, f"lacks the column(s) {', '.join(missing)}", "Make it with `medtrans convert`")
    for modality in wanted:
        for column in modality.series or ():
            if column not in frame:
                raise InputError(table, f"has no column {column!r}, which {modality.name} asks for", _columns(frame))
    rows = [cast(Row, row) for row in frame.to_dict("records") if row["path"]]
    found: Found = defaultdict(lambda: defaultdict(list))
    for row in rows:
        key = (row["patient"], row["study"] if pairs == "study" else "")
        for modality in wanted:
            if all(re.search(pattern, row[column]) for column, pattern in (modality.series or {}).items()):
                source = _source(table.parent / row["path"], row)
                found[key][modality.name].append((source, row))
    return found


def _columns(frame: pd.DataFrame) -> str:
    return f"Its columns are {', '.join(map(str, frame.columns))}"


def _from_files(folder: Path, wanted: Sequence[Modality], pairs: str, leave_out: Path | None) -> Found:
    """(subject, session) -> modality -> the files whose path matches its pattern."""
    for modality in wanted:
        if not modality.file:
            problem = f'has no series.csv, and the recipe gives no "file" pattern for {modality.name}'
            raise InputError(folder, problem, "Convert it with `medtrans convert`, or add the pattern to the recipe")
    there = [
        path
        for path in folder.rglob("[!.]*")  # hidden files are no scans; a killed `medtrans convert` may leave some
        if path.is_file() and not (leave_out and path.is_relative_to(leave_out))
    ]
    files = sorted(path.relative_to(folder).as_posix() for path in there)
    found: Found = defaultdict(lambda: defaultdict(list))
    for modality in wanted:
        pattern = path_pattern(str(modality.file).replace("{modality}", modality.name))
        for file in files:
            if match := pattern.fullmatch(file):
                parts = match.groupdict()
                key = (parts["subject"], parts.get("session", "") if pairs == "study" else "")
                found[key][modality.name].append((_source(folder / file, {}), {"path": file}))
    return found


def path_pattern(text: str) -> re.Pattern[str]:
    """A path pattern as regular expression: ``{subject}``, ``{session}`` (alike wherever repeated) and ``*``.

    Neither runs across a ``/``.
    """
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\}|\*)", text):
        name = piece[1:-1]
        if piece == "*":
            pieces.append("[^/]*")
        elif piece[:1] == "{" and name in FIELDS:
            pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
        elif piece[:1] == "{":
            raise InputError(f"file pattern {text}", f"has the unknown field {piece}", "Use {subject} and {session}")
        else:
            pieces.append(re.escape(piece))
    return re.compile("".join(pieces))


def _source(path: Path, row: Row) -> Source:
    """A volume with what its row, its sidecar and nothing else say of it."""
    sidecar = _sidecar(path)
    unit = row.get("unit") or sidecar.get("unit")
    frame = row.get("frame") or sidecar.get("frame") or sidecar.get("frame_of_reference")
    patient = row.get("patient") or sidecar.get("patient")
    return Source(
        path, None if unit is None else str(unit), str(frame) if frame else None, str(patient) if patient else None
    )


def _sidecar(path: Path) -> dict[str, Any]:
    """The ``.json`` beside a volume; empty when there is none that can be read."""
    try:
        content = json.loads(path.with_name(SCAN_ENDING.sub(".json", path.name)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _candidate(recipe: Recipe, key: Key, found: Mapping[str, list[tuple[Source, Row]]], names: set[str]) -> Candidate:
    """The case under ``key``, with one source a modality, or with the problem that forbids it."""
    name = _free_name("_".join(part for part in key if part), names)
    sources: dict[str, Source] = {}
    problems: list[str] = []
    for modality in recipe.scanned:
        source, problem = _chosen(modality, found.get(modality.name, []))
        if source is not None:
            sources[modality.name] = source
        elif problem or not modality.optional:
            problems.append(problem or f"no {modality.name}")
    label, problem = (None, "") if recipe.label is None else _chosen(recipe.label, found.get("label", []))
    problems += [problem] if problem else []
    mask, problem = (None, "") if recipe.mask_map is None else _chosen(recipe.mask_map, found.get("mask", []))
    problems += [problem or "no mask"] if recipe.mask_map and mask is None else []
    if not problems and not sources:
        problems.append("no modality")
    problems += [] if problems else _disagreements(recipe, sources)
    return Candidate(name, key[0], sources, label, mask, "; ".join(problems))


def _free_name(text: str, names: set[str]) -> str:
    """``text`` as a file name that no other case has."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "case"
    name, count = safe, 1
    while name.lower() in names:
        count += 1
        name = f"{safe}-{count}"
    names.add(name.lower())
    return name


def _chosen(modality: Modality, found: Sequence[tuple[Source, Row]]) -> tuple[Source | None, str]:
    """The one source of a modality, or the reason why it cannot be told."""
    if not found:
        return None, ""
    if len(found) > 1 and modality.choose == "only":
        paths = ", ".join(row["path"] for _, row in found[:4])
        return None, f'{len(found)} volumes match {modality.name} ({paths}): match fewer, or set "choose"'
    ordered = sorted(found, key=lambda item: item[1]["path"])
    if modality.choose == "largest":
        ordered.sort(key=lambda item: -_slices(item))
    source = ordered[-1 if modality.choose == "last" else 0][0]
    return (source, "") if source.path.is_file() else (None, f"the {modality.name} volume {source.path} does not exist")


def _slices(item: tuple[Source, Row]) -> float:
    """Number of slices by ``series.csv``, size of the file where it does not say."""
    source, row = item
    try:
        return float(row.get("slices", ""))
    except ValueError:
        return float(source.path.stat().st_size) if source.path.is_file() else 0.0


def _disagreements(recipe: Recipe, sources: Mapping[str, Source]) -> list[str]:
    """Different patients in one case, and units that are not those of the recipe."""
    patients = {source.patient for source in sources.values() if source.patient}
    problems = [f"pairs volumes of different subjects ({', '.join(sorted(patients))})"] if len(patients) > 1 else []
    for name, source in sources.items():
        unit = recipe.modalities[name].unit
        if unit is not None and source.unit is not None and plain_unit(unit) != plain_unit(source.unit):
            problems.append(f"{name} is in {source.unit or 'no unit'}, the recipe expects {unit or 'no unit'}")
    return problems


def plain_unit(unit: str) -> str:
    """``Bq/mL`` and DICOM's ``BQML`` are one unit, ``SUV`` and ``SUVbw`` another."""
    plain = unit.lower().replace(" ", "")
    return "" if plain in NO_UNIT else plain.replace("suvbw", "suv").replace("bqml", "bq/ml")


def _asked(wanted: Iterable[Modality], table: Path) -> str:
    by_series = table.is_file()
    return "; ".join(f"{m.name}: {m.series if by_series and m.series else m.file}" for m in wanted)


def _remedy(folder: Path) -> str:
    some = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.nii*"))[:3]
    if some:
        return f"Edit the patterns; there is for example {', '.join(some)}"
    return "It holds no NIfTI file; if it is a scanner's export, run `medtrans convert` on it first"
