"""A recipe: which series make a case, and how they become aligned volumes; read from a MONAI config and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrans.cohorts.recipe_checks import check_keys, choice, number, numbers, refuse, regular_expressions
from medtrans.cohorts.recipe_file import component, read_config
from medtrans.cohorts.splits import SplitRule
from medtrans.transforms.body_mask import KINDS
from medtrans.transforms.regrid import INTERPOLATIONS
from medtrans.transforms.window import Window

CHOICES = ("only", "largest", "first", "last")
PERCENTILES = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5, "body": "MR"}
HOUNSFIELD = {"_target_": "medtrans.transforms.FixedWindow", "lower": -1024.0, "upper": 2000.0, "unit": "HU"}
UPTAKE = {"_target_": "medtrans.transforms.FixedWindow", "lower": 0.0, "upper": 20.0, "unit": "SUV"}
MODALITY = {
    "kind": None, "series": None, "file": None, "choose": "only", "optional": False, "interpolation": "cubic",
    "threshold": None, "not_finite": "refuse",
}  # fmt: skip
OF_KIND: dict[str, dict[str, Any]] = {
    "CT": {"unit": "HU", "background": -1024.0, "clamp": [-1024.0, 3071.0], "intensity": HOUNSFIELD},
    "MR": {"unit": "", "background": 0.0, "clamp": "source", "intensity": PERCENTILES},
    "PET": {"unit": "SUV", "background": 0.0, "clamp": [0.0, None], "intensity": UPTAKE},
}
RECIPE = {
    "title": "", "modalities": None, "reference": None, "pairs": "study", "spacing": [1.0, 1.0, 1.0],
    "size": [256, 256, None], "grid": {"centre": "body", "extent": "overlap"},
    "registration": {"rigid": "if_needed", "spacing": 2.0, "bins": 32, "iterations": 200, "sampling": 0.3},
    "mask": {"modality": None, "outside": "keep"}, "label": None,
    "split": {"validation": 0.1, "test": 0.2}, "seed": 0,
}  # fmt: skip
LABEL = {"file": None, "series": None, "like": None, "choose": "only"}


@dataclass(frozen=True)
class Modality:
    """How one modality is found and treated; the fields are the keys of the recipe, see ``data_prep/README.md``."""

    name: str
    kind: str
    series: Mapping[str, str] | None
    file: str | None
    choose: str
    optional: bool
    interpolation: str
    clamp: str | tuple[float | None, float | None]
    background: float
    unit: str | None
    threshold: float | None
    not_finite: str
    window: Callable[..., Window] | None


@dataclass(frozen=True)
class Registration:
    """When and how volumes are registered; see :func:`medtrans.cohorts.registration.register`."""

    rigid: bool | str
    spacing: float
    bins: int
    iterations: int
    sampling: float


@dataclass(frozen=True)
class Recipe:
    """Everything that ``medtrans prepare`` does, as read by :meth:`read`."""

    modalities: Mapping[str, Modality]
    reference: str
    pairs: str
    spacing: tuple[float, ...]
    size: tuple[int | None, ...]
    centre: str
    extent: str
    registration: Registration
    mask: str | None
    outside: str
    label: Modality | None
    label_like: str
    split: SplitRule
    seed: int
    record: Mapping[str, Any]

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> Recipe:
        """Read a JSON or YAML recipe.

        Args:
            path: the recipe, in the syntax of MONAI configs (``@`` references and ``$`` expressions work).
            overrides: id -> value, such as ``{"modalities#CT#background": -1000}``.
            seed: takes the place of the recipe's own.

        Raises:
            InputError: there is no such file, it is no config, a key is unknown or missing, or a value is unusable.
        """
        path = Path(path)
        plain, windows = read_config(path, overrides or {})
        record = _with_defaults(path, plain)
        if seed is not None:
            record["seed"] = seed
        modalities = {
            name: _modality(path, name, entry, windows.get(name) or component(entry["intensity"]))
            for name, entry in record["modalities"].items()
        }
        return cls(
            modalities=modalities,
            record=record,
            label=_label(path, record["label"]),
            label_like=_known(path, record["label"]["like"], modalities, "label#like") if record["label"] else "",
            split=SplitRule.of(path, record["split"], number(path, "seed", record["seed"], whole=True, least=0)),
            **_geometry(path, record, modalities),
        )

    def for_one_case(self) -> dict[str, Any]:
        """The part of the record that decides what a prepared case looks like (not the split, not the titles)."""
        return {key: value for key, value in self.record.items() if key not in ("split", "title", "pairs")}


def _with_defaults(path: Path, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The whole recipe as JSON-ready dictionary: the user's values over the defaults, unknown keys refused."""
    given = {key: value for key, value in plain.items() if not key.startswith("_")}
    check_keys(path, "", given, RECIPE)
    record = {**RECIPE, **given}
    for section in ("grid", "registration", "mask"):
        check_keys(path, section, given.get(section, {}), RECIPE[section])  # type: ignore[arg-type]
        record[section] = {**RECIPE[section], **given.get(section, {})}  # type: ignore[dict-item]
    if record["label"] is not None:
        check_keys(path, "label", record["label"], LABEL)
        record["label"] = {**LABEL, "like": record["reference"], **record["label"]}
    record["modalities"] = {name: _entry(path, name, entry) for name, entry in given["modalities"].items()}
    return record


def _entry(path: Path, name: str, entry: Any) -> dict[str, Any]:
    """One modality's section over the defaults of its kind."""
    where = f"modalities#{name}"
    check_keys(path, where, entry, {**MODALITY, **OF_KIND["CT"]})
    kind = choice(path, f"{where}#kind", entry.get("kind"), KINDS)
    return {**MODALITY, **OF_KIND[kind], **entry}


def _modality(path: Path, name: str, entry: Mapping[str, Any], rule: Any) -> Modality:
    """One modality, its values checked."""
    where = f"modalities#{name}"
    if not callable(rule):
        raise refuse(
            path, f"{where}#intensity", "is no intensity rule", 'Give it a "_target_", see data_prep/README.md'
        )
    unit = entry["unit"]
    if getattr(rule, "unit", "") and unit and rule.unit != unit:
        raise refuse(path, f"{where}#intensity", f"is in {rule.unit}, the modality in {unit}", "Use one unit")
    threshold = entry["threshold"]
    return Modality(
        name=name,
        kind=entry["kind"],
        **_found_by(path, where, entry),
        optional=bool(entry["optional"]),
        interpolation=choice(path, f"{where}#interpolation", entry["interpolation"], INTERPOLATIONS),
        clamp="source" if entry["clamp"] == "source" else _clamp(path, f"{where}#clamp", entry["clamp"]),
        background=number(path, f"{where}#background", entry["background"]),
        unit=unit,
        threshold=None if threshold is None else number(path, f"{where}#threshold", threshold),
        not_finite=choice(path, f"{where}#not_finite", entry["not_finite"], ("refuse", "background")),
        window=rule,
    )


def _found_by(path: Path, where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that say which series or file is meant."""
    if not entry["series"] and not entry["file"]:
        raise refuse(path, where, 'has neither "series" nor "file"', "Say how its volumes are found")
    if entry["file"] and "{subject}" not in entry["file"]:
        raise refuse(path, f"{where}#file", "does not say {subject}", 'Write for example "{subject}/T1.nii.gz"')
    return {
        "series": regular_expressions(path, f"{where}#series", entry["series"]),
        "file": entry["file"],
        "choose": choice(path, f"{where}#choose", entry["choose"], CHOICES),
    }


def _label(path: Path, entry: Mapping[str, Any] | None) -> Modality | None:
    """The label map as a modality that is never blurred or scaled."""
    if entry is None:
        return None
    return Modality(
        name="label", kind="MR", **_found_by(path, "label", entry), optional=True, interpolation="nearest",
        clamp=(None, None), background=0.0, unit=None, threshold=None, not_finite="refuse", window=None,
    )  # fmt: skip


def _geometry(path: Path, record: Mapping[str, Any], modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Everything about the grid, the registration and the mask."""
    settings, mask = record["registration"], record["mask"]
    reference = _known(path, record["reference"], modalities, "reference")
    rigid = settings["rigid"]
    if rigid not in (True, False, "if_needed"):
        raise refuse(path, "registration#rigid", f"is {rigid!r}", 'Use true, false or "if_needed"')
    where = "registration"
    return {
        "reference": reference,
        "pairs": choice(path, "pairs", record["pairs"], ("study", "patient")),
        "spacing": tuple(numbers(path, "spacing", record["spacing"], 3, above=0)),
        "size": _size(path, record["size"]),
        "centre": choice(path, "grid#centre", record["grid"]["centre"], ("body", "field of view")),
        "extent": choice(path, "grid#extent", record["grid"]["extent"], ("overlap", "reference")),
        "registration": Registration(
            rigid=rigid,
            spacing=number(path, f"{where}#spacing", settings["spacing"], above=0),
            bins=int(number(path, f"{where}#bins", settings["bins"], whole=True, least=8)),
            iterations=int(number(path, f"{where}#iterations", settings["iterations"], whole=True, least=1)),
            sampling=number(path, f"{where}#sampling", settings["sampling"], above=0, most=1),
        ),
        "mask": None if mask["modality"] is None else _known(path, mask["modality"], modalities, "mask#modality"),
        "outside": choice(path, "mask#outside", mask["outside"], ("keep", "background")),
        "seed": int(record["seed"]),
    }


def _known(path: Path, name: Any, modalities: Iterable[str], where: str) -> str:
    if name not in modalities:
        raise refuse(path, where, f"is {name!r}, not a modality", f"Choose one of {', '.join(modalities)}")
    return name


def _size(path: Path, size: Any) -> tuple[int | None, ...]:
    if not isinstance(size, Sequence) or len(size) != 3:
        raise refuse(path, "size", f"is {size!r}", "Give three numbers of voxels, null for the whole extent")
    return tuple(None if n is None else int(number(path, "size", n, whole=True, least=1)) for n in size)


def _clamp(path: Path, where: str, bounds: Any) -> tuple[float | None, float | None]:
    if bounds is None:
        return None, None
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise refuse(path, where, f"is {bounds!r}", 'Use [lower, upper], with null for none, "source" or null')
    lower, upper = (None if bound is None else number(path, where, bound) for bound in bounds)
    return lower, upper
