"""The model card: what a trained bundle is for, what it learned from, how good it was, and what it must not do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medtrans.sharing.facts import Facts
from medtrans.sharing.metadata import SPLITS, directions

LIMITS = (
    "Synthetic images are not for diagnosis, nor for any decision about a patient: a generator can invent and remove "
    "structures, lesions among them, and what it invents looks real.",
    "It knows scans like those it was trained on. Other scanners, protocols, body parts, ages and diseases were not "
    "tested unless the figures above say so.",
    "Scans are brought to the voxel size and the intensity windows below; another unit or scaling gives wrong values.",
)


def model_card(metadata: Mapping[str, Any], facts: Facts, notes: str = "") -> str:
    """Markdown, of nothing but facts: no case, subject, path or date.

    Args:
        metadata: see :func:`medtrans.sharing.metadata.filled`.
        facts: of the training.
        notes: what its makers want to add, Markdown.
    """
    parts = [
        f"# {metadata['name']} {metadata['version']}, {directions(facts)}",
        f"{metadata['description']}.",
        f"**{metadata['intended_use']}**",
        "## Training data",
        _table(("modality", *(f"{word} subjects" for word in SPLITS.values())), _subjects(facts)),
        f"Volumes of {_times(facts.modalities['spacing'])} mm, {_images(facts)}.",
        "## Training",
        _training(facts),
        "## How good it was",
        _validation(facts),
        _evaluation(facts),
        "## Intended use and limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        *(["## Notes", notes.strip()] if notes.strip() else []),
        "## Intensities",
        _table(("channel", "modality", "unit", "window", "rule", "background"), _intensities(facts)),
        "Each window becomes [-1, 1]; of modalities whose rule looks at the scan, the window is the training's median.",
        "## Files and versions",
        _table(("file", "SHA-256"), [(f"`models/{name}`", f"`{digest}`") for name, digest in facts.weights.items()]),
        _table(("package", "version"), _versions(metadata)),
        *(["## References", "\n".join(f"- {text}" for text in metadata["references"])] * bool(metadata["references"])),
    ]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _entries(facts: Facts) -> list[tuple[str, Mapping[str, Any]]]:
    return [(end, entry) for end in ("source", "target") for entry in facts.modalities[end]]


def _subjects(facts: Facts) -> list[list[Any]]:
    return [
        [f"{end} {entry['modality']}", *(entry.get("subjects", {}).get(split, "not recorded") for split in SPLITS)]
        for end, entry in _entries(facts)
    ]


def _times(numbers: Sequence[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)


def _images(facts: Facts) -> str:
    size = facts.settings.get("image_size") or []
    if len(size) == 3:
        return f"seen in patches of {_times(size)} voxels"
    return f"seen as {facts.settings.get('axis', 'axial')} slices of {_times(size)} pixels"


def _training(facts: Facts) -> str:
    if not facts.training:
        return "Nothing more is recorded: the run's checkpoint was not there when it was packed."
    told = {"seed": facts.training.get("seed"), **facts.training.get("identity", {})}
    told = {"iterations": facts.training.get("iteration"), **told}
    return _table(("setting", "value"), [(f"`{key}`", f"`{value}`") for key, value in told.items()])


def _validation(facts: Facts) -> str:
    if not facts.validation:
        return "No validation history was there when it was packed."
    rows = [(name, f"{value:.4g}") for name, value in facts.validation.items() if name != "epoch"]
    epoch = f" of epoch {facts.validation['epoch']:g}" if "epoch" in facts.validation else ""
    return f"Validation{epoch}, whose weights these are, on images scaled to [-1, 1]:\n\n{_table(('', 'value'), rows)}"


def _evaluation(facts: Facts) -> str:
    if not facts.evaluation:
        return "No evaluation of whole volumes in physical units was given."
    rows = [
        (row["metric"], f"{float(row['mean']):.4g}", f"{float(row['sd']):.3g}" if row["sd"] else "–", row["cases"])
        for row in facts.evaluation
    ]
    where = "inside the body mask" if facts.evaluation[0]["region"] == "mask" else "over the whole image"
    return f"Evaluation of whole volumes, {where}:\n\n{_table(('metric', 'mean', 'SD', 'cases'), rows)}"


def _intensities(facts: Facts) -> list[tuple[Any, ...]]:
    return [
        (
            end,
            entry["modality"],
            entry.get("unit") or "arbitrary",
            f"{entry['window'][0]:g} to {entry['window'][1]:g}",
            "`" + ", ".join(f"{key}={value}" for key, value in entry["intensity"].items()) + "`",
            f"{entry['background']:g}",
        )
        for end, entry in _entries(facts)
    ]


def _versions(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
    return list((known | {"numpy": metadata["numpy_version"]} | metadata["required_packages_version"]).items())
