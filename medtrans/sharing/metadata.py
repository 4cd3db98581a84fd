"""A trained bundle's metadata.json: what the bundle says of its method, and what is known of this training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from medtrans.engines.synthesis import dicom_modality
from medtrans.sharing.facts import PACKAGES, Facts, installed

SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def filled(metadata: Mapping[str, Any], facts: Facts, name: str = "", version: str = "") -> dict[str, Any]:
    """The metadata with channels, shape, data, metrics and versions of what was trained.

    Args:
        metadata: the bundle's own.
        facts: of the training.
        name: in place of the bundle's.
        version: in place of the bundle's; it gets an entry in the changelog.
    """
    result = {**metadata, **{key: installed(package) for key, package in PACKAGES.items()}}
    result["required_packages_version"] = {
        package: installed(package) or required
        for package, required in metadata.get("required_packages_version", {}).items()
    }
    if name:
        result["name"] = name
    if version:
        result["version"] = version
        result["changelog"] = {**metadata.get("changelog", {}), version: f"trained, {directions(facts)}"}
    result["data_source"] = data_source(facts)
    result["eval_metrics"] = eval_metrics(facts)
    result["network_data_format"] = _data_format(metadata["network_data_format"], facts)
    return result


def as_metadata(text: bytes) -> dict[str, Any]:
    """The JSON object in a file."""
    return json.loads(text)


def names(entries: Sequence[Mapping[str, Any]]) -> str:
    """Modalities in words."""
    return " and ".join(str(entry["modality"]) for entry in entries)


def directions(facts: Facts) -> str:
    """``T1 to T2``."""
    return f"{names(facts.modalities['source'])} to {names(facts.modalities['target'])}"


def subjects(entry: Mapping[str, Any]) -> str:
    """How many subjects have a modality: ``8 training, 2 validation and 2 test subjects``."""
    known = entry.get("subjects")
    if not known:
        return "a number of subjects that was not recorded"
    counts = [f"{known.get(split, 0)} {word}" for split, word in SPLITS.items()]
    return f"{', '.join(counts[:-1])} and {counts[-1]} subjects"


def data_source(facts: Facts) -> str:
    """The training data in one line."""
    entries = [*facts.modalities["source"], *facts.modalities["target"]]
    return "; ".join(dict.fromkeys(f"{entry['modality']} of {subjects(entry)}" for entry in entries))


def eval_metrics(facts: Facts) -> dict[str, float]:
    """Validation of scaled slices or patches at the kept epoch, and evaluation of whole volumes, each by its name."""
    kept = {f"validation_{name}": value for name, value in facts.validation.items() if name != "epoch"}
    judged = {f"evaluation_{row['metric']}": float(row["mean"]) for row in facts.evaluation}
    return {name: value for name, value in (kept | judged).items() if math.isfinite(value)}


def _data_format(formats: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    ends = {"inputs": ("image", facts.modalities["source"]), "outputs": ("pred", facts.modalities["target"])}
    result = {}
    for end, (tensor, entries) in ends.items():
        kinds = dict.fromkeys({"PT": "PET"}.get(kind, kind) for kind in map(dicom_modality, entries))
        known: dict[str, Any] = {"modality": ", ".join(kinds), "num_channels": len(entries)}
        known |= {"channel_def": {str(place): entry["modality"] for place, entry in enumerate(entries)}}
        if size := facts.settings.get("image_size"):
            known |= {"spatial_shape": list(size), "is_patch_data": len(size) == 3}
        result[end] = {**formats[end], tensor: {**formats[end].get(tensor, {}), **known}}
    return result
