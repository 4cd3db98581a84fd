"""What a recipe need not say: the defaults of its sections, and of each kind of modality."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from medtrans.cohorts.recipe_checks import check_keys, choice
from medtrans.transforms.body_mask import KINDS

PERCENTILES = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5, "body": "MR"}
HOUNSFIELD = {"_target_": "medtrans.transforms.FixedWindow", "lower": -1024.0, "upper": 2000.0, "unit": "HU"}
UPTAKE = {"_target_": "medtrans.transforms.FixedWindow", "lower": 0.0, "upper": 20.0, "unit": "SUV"}
MODALITY = {
    "kind": None, "series": None, "file": None, "derived": None, "choose": "only", "optional": False,
    "interpolation": "cubic", "threshold": None, "not_finite": "refuse",
}  # fmt: skip
OF_KIND: dict[str, dict[str, Any]] = {
    "CT": {"unit": "HU", "background": -1024.0, "clamp": [-1024.0, 3071.0], "intensity": HOUNSFIELD},
    "MR": {"unit": "", "background": 0.0, "clamp": "source", "intensity": PERCENTILES},
    "PET": {"unit": "SUV", "background": 0.0, "clamp": [0.0, None], "intensity": UPTAKE},
}
RECIPE: dict[str, Any] = {
    "title": "", "modalities": None, "reference": None, "pairs": "study", "spacing": [1.0, 1.0, 1.0],
    "size": [256, 256, None], "grid": {"centre": "body", "extent": "overlap"},
    "registration": {"rigid": "if_needed", "spacing": 2.0, "bins": 32, "iterations": 200, "sampling": 0.3},
    "mask": {"modality": None, "outside": "keep", "file": None, "series": None}, "label": None,
    "split": {"validation": 0.1, "test": 0.2}, "seed": 0,
}  # fmt: skip
SECTIONS = ("grid", "registration", "mask")
LABEL = {"file": None, "series": None, "like": None, "choose": "only"}


def with_defaults(path: Path, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The whole recipe as JSON-ready dictionary: the user's values over the defaults, unknown keys refused."""
    given = {key: value for key, value in plain.items() if not key.startswith("_")}
    check_keys(path, "", given, RECIPE)
    record = {**RECIPE, **given}
    for section in SECTIONS:
        check_keys(path, section, given.get(section, {}), RECIPE[section])
        record[section] = {**RECIPE[section], **given.get(section, {})}
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


def filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A raw recipe with the defaults that it leaves out, so that a part of one can be overridden (``size#2``)."""
    whole = {**_said(RECIPE), **config}
    for section in SECTIONS:
        if isinstance(whole[section], Mapping):
            whole[section] = {**_said(RECIPE[section]), **whole[section]}
    modalities = whole.get("modalities")
    if isinstance(modalities, Mapping):
        whole["modalities"] = {name: _filled_entry(entry) for name, entry in modalities.items()}
    return deepcopy(whole)


def _filled_entry(entry: Any) -> Any:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    return {**_said(MODALITY), **_said(OF_KIND[kind]), **entry} if kind in OF_KIND else entry


def _said(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are None: an override may make a section of them."""
    return {key: value for key, value in defaults.items() if value is not None}
