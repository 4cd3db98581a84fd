"""What is compared: rows of bundles with overlays and settings, typed on the command line or listed in a study file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrans.errors import InputError

STUDY_KEYS = {"title", "note", "baseline", "axis", "rows"}
ROW_KEYS = {"bundle", "overlays", "settings", "place", "published"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: as it stands in the table.
        bundle: its folder.
        overlays: configs merged over ``train.json``, in order.
        settings: config id -> value, over the overlays.
        place: where it stands on the axis of a curve.
        published: metric -> the value in the paper, on the paper's data.
    """

    name: str
    bundle: Path
    overlays: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    place: float | None = None
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Rows that are compared with each other.

    Args:
        name: of its folder in the output.
        title: heading.
        rows: two or more to compare, or one alone.
        baseline: name of the row that the others are tested against.
        axis: what the places of the rows are, such as "U-blocks"; "" draws no curve.
        note: a sentence under the heading.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    baseline: str
    axis: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"row {name!r}", "is there twice", "Give every row its own name, NAME=BUNDLE")
        if self.baseline not in names:
            raise InputError(f"baseline {self.baseline!r}", "is no row", f"Choose one of {', '.join(names)}")


def read_study(path: str | Path, baseline: str | None = None) -> Study:
    """Read a study file; bundles and overlays are looked up from its folder, overlays in the bundle's configs too.

    Raises:
        InputError: it is no study, or names something that is not there.
    """
    path = Path(path).expanduser()
    content = _json(path)
    rows = content.get("rows")
    if (
        not isinstance(rows, dict)
        or not rows
        or not all(isinstance(row, dict) and "bundle" in row for row in rows.values())
    ):
        raise InputError(path, "lists no rows", 'Write {"rows": {"NAME": {"bundle": "FOLDER"}, …}}')
    for where, keys, known in [
        (str(path), content, STUDY_KEYS),
        *((f"{path} ({n})", r, ROW_KEYS) for n, r in rows.items()),
    ]:
        if unknown := sorted(set(keys) - known):
            raise InputError(where, f"has no key {unknown[0]!r}", f"It has: {', '.join(sorted(known))}")
    made = tuple(_row(name, row, path.parent) for name, row in rows.items())
    chosen = str(baseline if baseline in rows else content.get("baseline", made[0].name))
    title, axis = str(content.get("title", path.stem)), str(content.get("axis", ""))
    return Study(path.stem, title, made, chosen, axis, str(content.get("note", "")))


def typed_study(words: Sequence[str], baseline: str | None = None) -> Study:
    """The study of rows typed as ``[NAME=]BUNDLE[+OVERLAY or +key=value]…``.

    Raises:
        InputError: a row names something that is not there, two rows share a name, or the baseline is no row.
    """
    rows = tuple(typed_row(word) for word in words)
    known = {row.name for row in rows}
    chosen = baseline if baseline in known else rows[0].name
    return Study("comparison", "Comparison", rows, str(chosen))


def typed_row(word: str) -> Row:
    """``cGAN=bundles/medgan+ablations/cgan.json+learning_rate=1e-4`` as a row; without a name it is the bundle's.

    Raises:
        InputError: the bundle or an overlay is not there.
    """
    from medtrans.cohorts.recipe_file import override

    first, *parts = word.split("+")
    name, _, folder = first.rpartition("=")
    overlays = [part for part in parts if "=" not in part]
    settings = dict(override(part) for part in parts if "=" in part)
    default = "+".join([Path(folder).name, *(Path(part).stem if "=" not in part else part for part in parts)])
    return _row(name or default, {"bundle": folder, "overlays": overlays, "settings": settings}, Path())


def find_overlay(name: str | Path, bundle: Path, folder: Path = Path()) -> Path:
    """The config called ``name``: from ``folder``, or among the bundle's.

    Raises:
        InputError: there is no such file.
    """
    for path in (folder / Path(name).expanduser(), bundle / "configs" / name):
        if path.is_file():
            return path.resolve()
    raise InputError(
        str(name), "does not exist", f"Give the path of a config, or the name of one in {bundle / 'configs'}"
    )


def slug(name: str) -> str:
    """``name`` as part of a file name."""
    return re.sub(r"[^0-9A-Za-z.]+", "-", name).strip("-.").lower() or "row"


def _row(name: str, content: Mapping[str, Any], folder: Path) -> Row:
    bundle = (folder / Path(str(content["bundle"])).expanduser()).resolve()
    if not (bundle / "configs" / "train.json").is_file():
        raise InputError(
            str(content["bundle"]), "is not a bundle (it has no configs/train.json)", "Give the bundle's folder"
        )
    overlays = tuple(find_overlay(overlay, bundle, folder) for overlay in content.get("overlays", ()))
    place = content.get("place")
    return Row(
        name,
        bundle,
        overlays,
        dict(content.get("settings", {})),
        None if place is None else float(place),
        dict(content.get("published", {})),
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(path, "does not exist", "Give a study file, such as studies/paper_losses.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is not readable JSON ({error})", "Mend it") from error
    if not isinstance(content, dict):
        raise InputError(path, "is not a JSON object", 'Write {"rows": {"NAME": {"bundle": "FOLDER"}, …}}')
    return content
