"""What a trained generator must know of its modalities: spacing, intensity rules, windows, units, background."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.cohorts.cases import SPLITS, Cases
from medtrans.cohorts.slices import Modalities, _listed
from medtrans.described_component import refuse_code
from medtrans.errors import InputError
from medtrans.files import written_whole

FORMAT = 1
DIRECTIONS = ("source_to_target", "target_to_source")


def describe_modalities(
    dataset_dir: str | os.PathLike[str],
    source: Modalities,
    target: Modalities,
    target_dataset_dir: str | os.PathLike[str] | None = None,
    names: tuple[Modalities, Modalities] | None = None,
) -> dict[str, Any]:
    """The contract between training and inference, saved as ``models/modalities.json`` beside ``model.pt``.

    With it a new scan is scaled as the training scans were, and the output gets its physical unit.

    Args:
        dataset_dir: the data set's folder.
        source, target: modality names.
        target_dataset_dir: the data set that the targets come from; None is the same one.
        names: under which names sources and targets are recorded; None are their own. Where training degrades a clean
            modality on the fly, what the model translates has another name and the same intensity rule.

    Returns:
        JSON-ready ``{"format": 1, "spacing": [mm, mm, mm], "size": [voxels or null, …] or null, "outside": "keep" or
        "background", "source": [entry, …], "target": [entry, …]}`` with an entry for each channel: ``{"modality",
        "unit", "background": physical value of air, "intensity": the rule's configuration, "window": [lower, upper,
        unit], the median over the training cases, "subjects": how many have it, by split}``, and how it was resampled
        and found among converted series, where the recipe says so: ``"kind", "interpolation", "clamp", "series"``.

    Raises:
        InputError: a data set has no usable recipe.json, lacks a modality, or has no training case with it, or two
            data sets have other voxel sizes, or there are more or fewer names than modalities.
    """
    cases = Cases.read(dataset_dir)
    recipe = _recipe(cases.root / "recipe.json")
    others = cases if target_dataset_dir is None else Cases.read(target_dataset_dir)
    other_recipe = _recipe(others.root / "recipe.json")
    if not np.allclose(recipe["spacing"], other_recipe["spacing"], rtol=1e-3):
        problem = f"has voxels of {other_recipe['spacing']} mm, the sources' data set {recipe['spacing']} mm"
        raise InputError(others.root, problem, "Prepare both with the same `spacing`")
    source_names, target_names = (source, target) if names is None else names
    return {
        "format": FORMAT,
        "spacing": [float(step) for step in recipe["spacing"]],
        "size": recipe.get("size"),
        "outside": (recipe.get("mask") or {}).get("outside", "keep"),
        "source": _entries(cases, recipe, source, source_names),
        "target": _entries(others, other_recipe, target, target_names),
    }


def write_modalities(description: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Save what :func:`describe_modalities` returned."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return Path(path)


def read_modalities(path: str | os.PathLike[str], direction: str = DIRECTIONS[0]) -> dict[str, Any]:
    """Read ``models/modalities.json``.

    Args:
        path: the file.
        direction: ``"source_to_target"``, as trained, or ``"target_to_source"``, which exchanges the two, for the
            inference of methods that learn both directions.

    Raises:
        InputError: there is no such file, it is not JSON, or it does not say what it must; unknown direction.
    """
    if direction not in DIRECTIONS:
        raise InputError(f"direction {direction!r}", "is unknown", f"Use one of {', '.join(DIRECTIONS)}")
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "does not exist", "Train the bundle first: training writes it beside model.pt")
    description = _json(path, "Train the bundle again, or restore the file")
    entries = [*(description.get("source") or ()), *(description.get("target") or ())]
    complete = all({"modality", "background", "intensity", "window"} <= set(entry) for entry in entries)
    if description.get("format") != FORMAT or not entries or not complete or len(description.get("spacing", ())) != 3:
        raise InputError(path, f"does not describe modalities in format {FORMAT}", "Train the bundle again")
    for entry in entries:
        refuse_code(entry["intensity"], path)
    if direction == "target_to_source":
        description["source"], description["target"] = description["target"], description["source"]
    return description


def recorded_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The network's and images' settings that training recorded beside the modalities; empty before training.

    With them inference builds the network that was trained, whatever overlays or overrides it was trained with.
    """
    return dict(_json(Path(path), "Train the bundle again").get("settings") or {}) if Path(path).is_file() else {}


def recorded_data_set(settings: Mapping[str, Any]) -> str:
    """The data set that a bundle was trained on, of the settings that training recorded.

    Raises:
        InputError: it is not recorded: the bundle came packed from elsewhere, or is not trained.
    """
    if not settings.get("dataset_dir"):
        problem = "is not recorded in models/modalities.json: the bundle was packed elsewhere, or is not trained"
        raise InputError("the data set to evaluate on", problem, "Give it with --dataset_dir")
    return str(settings["dataset_dir"])


def _json(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in ``path``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is not readable JSON ({error})", remedy) from error
    if not isinstance(content, dict):
        raise InputError(path, "is not a JSON object", remedy)
    return content


def _recipe(path: Path) -> dict[str, Any]:
    """recipe.json, with the spacing and modalities that it must state."""
    if not path.is_file():
        raise InputError(path, "does not exist", "Prepare the data set with `medtrans prepare`, which writes it")
    recipe = _json(path, "Prepare the data set again")
    if len(recipe.get("spacing") or ()) != 3 or not isinstance(recipe.get("modalities"), dict):
        raise InputError(path, "states no spacing or no modalities", "Prepare the data set again")
    return recipe


def _entries(cases: Cases, recipe: dict[str, Any], modalities: Modalities, names: Modalities) -> list[dict[str, Any]]:
    """What is to be known of each modality, under these names."""
    listed, called = _listed(modalities), _listed(names)
    if len(listed) != len(called):
        problem = f"are not as many as the modalities ({', '.join(listed)})"
        raise InputError(f"the names {', '.join(called)}", problem, "Give one name a modality")
    return [_entry(cases, recipe, modality) | {"modality": name} for modality, name in zip(listed, called, strict=True)]


def _entry(cases: Cases, recipe: dict[str, Any], modality: str) -> dict[str, Any]:
    """What is to be known of one modality."""
    if modality not in cases.modalities:
        names = ", ".join(cases.modalities) or "no modality at all"
        raise InputError(cases.root, f"has no modality {modality!r}", f"It has {names}")
    rule = recipe["modalities"].get(modality, {})
    if "intensity" not in rule or "background" not in rule:
        problem = f"states no intensity rule or no background for {modality!r}"
        raise InputError(cases.root / "recipe.json", problem, "Prepare the data set again")
    refuse_code(rule["intensity"], cases.root / "recipe.json", "Write the intensity rule with values")
    windows = [case.windows[modality] for case in cases.of_split("train") if modality in case.volumes]
    if not windows:
        raise InputError(cases.root, f"has no training case with {modality!r}", "Prepare more subjects")
    lower = float(np.median([window.lower for window in windows]))
    upper = float(np.median([window.upper for window in windows]))
    unit = windows[0].unit or str(rule.get("unit") or "")  # a rule of one's own need not know its unit
    return {
        "modality": modality,
        "unit": unit,
        "background": float(rule["background"]),
        "intensity": rule["intensity"],
        "window": [lower, upper, unit],
        "subjects": {split: _subjects(cases, split, modality) for split in SPLITS},
        **{key: rule[key] for key in ("kind", "interpolation", "clamp", "series") if key in rule},
    }


def _subjects(cases: Cases, split: str, modality: str) -> int:
    return len({case.subject for case in cases if case.split == split and modality in case.volumes})
