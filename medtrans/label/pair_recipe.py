"""The recipe by which pairs are prepared: one that is given, or what a trained model says of its modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrans.cohorts.recipe import Recipe
from medtrans.cohorts.recipe_defaults import with_defaults
from medtrans.engines.synthesis import dicom_modality
from medtrans.errors import InputError
from medtrans.label.pairs import CHOOSE, FILE, SIDES

KIND = {"CT": "CT", "MR": "MR", "PT": "PET"}  # by DICOM's code
RESAMPLED = ("unit", "background", "intensity", "interpolation", "clamp")  # what a trained model may say, as it is


@dataclass(frozen=True)
class PairRecipe:
    """A recipe of two modalities that are found where :func:`medtrans.label.pairs.arrange` puts them.

    Attributes:
        record: JSON-ready, with every default filled in; its split is still to be said.
        source, target: names of the modalities.
    """

    record: dict[str, Any]
    source: str
    target: str


def given_recipe(path: Path, wished: Sequence[tuple[Any, Any]], chosen: tuple[Any, Any] = (None, None)) -> PairRecipe:
    """A recipe of data_prep/, or one like them, with its way of finding files replaced.

    Args:
        path: the recipe.
        wished: names of source and target that may be meant, in the order of their weight; a pair that is not in the
            recipe is passed over, and a recipe of two scanned modalities has them as source and target in its order.
        chosen: names of source and target that must be taken, None where one is free; the other then is as in
            ``wished``, or the only one that there can be.

    Raises:
        InputError: the recipe is unusable, has no such pair, or it cannot be told which two modalities are meant.
    """
    recipe = Recipe.read(path)
    scanned = tuple(modality.name for modality in recipe.scanned)
    possible = [*wished, *([scanned] if len(scanned) == 2 else [])]
    agreeing = [pair for pair in possible if all(one in (None, own) for one, own in zip(chosen, pair, strict=True))]
    for source, target in [*agreeing, *_completed(recipe, scanned, chosen)]:
        if _is_pair(recipe, scanned, source, target):
            return _for_pairs(path, dict(recipe.record), source, target)
    named, remedy = ", ".join(recipe.modalities), "Say both, `source` and `target`, in a JSON file for --config"
    told = " and ".join(f"{side} {one!r}" for side, one in zip(("source", "target"), chosen, strict=True) if one)
    beside = f" beside the chosen {told}" if told else ""
    raise InputError(path, f"has the modalities {named}: which is the source, which the target{beside}?", remedy)


def _completed(recipe: Recipe, scanned: Sequence[str], chosen: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """The only pair that there can be with what is chosen, if there is one."""
    sources, targets = ([one] if one is not None else list(scanned) for one in chosen)
    pairs = [(source, target) for source in sources for target in targets]
    found = [pair for pair in pairs if _is_pair(recipe, scanned, *pair)]
    return found if len(found) == 1 else []


def _is_pair(recipe: Recipe, scanned: Sequence[str], source: Any, target: Any) -> bool:
    """Whether both are there, and are not the same volume."""
    known = source in scanned and isinstance(target, str) and target in recipe.modalities
    return known and source not in (target, _parent(recipe, target))


def _parent(recipe: Recipe, name: str) -> str:
    """Name of the modality whose volumes are read for this one."""
    derived = recipe.modalities[name].derived
    return derived.source if derived else name


def trained_recipe(path: Path, description: Mapping[str, Any]) -> PairRecipe:
    """The recipe that a trained model's data were prepared by, as far as ``models/modalities.json`` tells.

    Voxel size, frame, what lies outside the body, and each modality's kind, unit, background, intensity rule and
    interpolation are the model's; registration is ``data_prep/``'s default: where the header cannot be trusted.

    Args:
        path: of the file.
        description: what :func:`medtrans.cohorts.read_modalities` read of it.

    Raises:
        InputError: the model has several source or target modalities, or none, or two of one name.
    """
    entries = [*description["source"], *description["target"]]
    names = [entry["modality"] for entry in entries]
    if len(description["source"]) != 1 or len(description["target"]) != 1 or names[0] == names[1]:
        problem = f"is of the modalities {', '.join(names)}: a pair of volumes is one source and another target"
        raise InputError(path, problem, "Train it with `medtrans prepare` and `python -m monai.bundle run training`")
    plain = {
        "title": "pairs, prepared as the trained model's data were",
        "modalities": {entry["modality"]: _modality(entry) for entry in entries},
        "reference": names[0],
        "spacing": list(description["spacing"]),
        "size": description.get("size") or [None] * 3,
        "mask": {"outside": description.get("outside", "keep")},
    }
    return _for_pairs(path, with_defaults(path, plain), *names)


def _modality(entry: Mapping[str, Any]) -> dict[str, Any]:
    kind = entry.get("kind") or KIND[dicom_modality(entry)]
    return {"kind": kind, **{key: deepcopy(entry[key]) for key in RESAMPLED if key in entry}}


def _for_pairs(path: Path, record: dict[str, Any], source: str, target: str) -> PairRecipe:
    """The recipe of these two modalities, without those that a pair does not have."""
    entries = record["modalities"]
    derived = entries[target]["derived"]
    read = {source: "image", derived["from"] if derived else target: "label"}
    kept = {name: entry for name, entry in entries.items() if name in read or name == target}
    for name, side in read.items():
        kept[name] = kept[name] | {"series": None, "file": FILE.format(side=SIDES[side]), "choose": CHOOSE}
        kept[name]["optional"] = False
    mask = record["mask"]
    found = {
        "modalities": kept,
        "reference": record["reference"] if record["reference"] in read else source,
        "mask": {**mask, "modality": mask["modality"] if mask["modality"] in kept else None, "file": None}
        | {"series": None},
        "label": None,
        "pairs": "study",
    }
    return PairRecipe(with_defaults(path, record | found), source, target)
