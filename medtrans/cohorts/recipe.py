"""A recipe: which series make a case, and how they become aligned volumes; read from a MONAI config and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from medtrans.cohorts.recipe_checks import choice, number, numbers, refuse, regular_expressions
from medtrans.cohorts.recipe_defaults import with_defaults
from medtrans.cohorts.recipe_file import component, read_config, root_cause
from medtrans.cohorts.splits import SplitRule
from medtrans.transforms.regrid import INTERPOLATIONS
from medtrans.transforms.window import Window

CHOICES = ("only", "largest", "first", "last")


@dataclass(frozen=True)
class Derived:
    """A modality that is computed from another one, after that was resampled.

    Args:
        source: name of the other modality.
        transform: MONAI array transform, ``(C, X, Y, Z)`` in the other's unit -> the same shape in this one's.
    """

    source: str
    transform: Callable[[Any], Any] = field(compare=False)  # two of one description are two objects


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
    derived: Derived | None = None


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
    mask_map: Modality | None
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
        record = with_defaults(path, plain)
        if seed is not None:
            record["seed"] = seed
        modalities = {
            name: _modality(path, name, entry, _in_its_unit(windows.get(name) or component(entry["intensity"]), entry))
            for name, entry in record["modalities"].items()
        }
        _check_derived(path, modalities, record["reference"])
        return cls(
            modalities=modalities,
            record=record,
            label=_map(path, "label", record["label"]),
            label_like=_known(path, record["label"]["like"], modalities, "label#like") if record["label"] else "",
            split=SplitRule.of(path, record["split"], number(path, "seed", record["seed"], whole=True, least=0)),
            **_geometry(path, record, modalities),
        )

    @property
    def scanned(self) -> list[Modality]:
        """The modalities that are read from files."""
        return [modality for modality in self.modalities.values() if modality.derived is None]

    def for_one_case(self) -> dict[str, Any]:
        """The part of the record that decides what a prepared case looks like (not the split, not the titles)."""
        return {key: value for key, value in self.record.items() if key not in ("split", "title", "pairs")}


def _in_its_unit(rule: Any, entry: dict[str, Any]) -> Any:
    """The rule in the modality's unit where it names none; the record says so, too, for inference to read it there."""
    if not (entry["unit"] and is_dataclass(rule) and getattr(rule, "unit", None) == ""):
        return rule
    entry["intensity"] = {**entry["intensity"], "unit": entry["unit"]}
    return replace(rule, unit=entry["unit"])  # type: ignore[type-var]


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
        derived=_derived(path, f"{where}#derived", entry["derived"]),
    )


def _found_by(path: Path, where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that say which series or file is meant."""
    if not entry["series"] and not entry["file"] and not entry.get("derived"):
        raise refuse(path, where, 'has neither "series" nor "file" nor "derived"', "Say how its volumes are found")
    if entry["file"] and "{subject}" not in entry["file"]:
        raise refuse(path, f"{where}#file", "does not say {subject}", 'Write for example "{subject}/T1.nii.gz"')
    return {
        "series": regular_expressions(path, f"{where}#series", entry["series"]),
        "file": entry["file"],
        "choose": choice(path, f"{where}#choose", entry["choose"], CHOICES),
    }


def _derived(path: Path, where: str, section: Any) -> Derived | None:
    """What a derived modality is computed from, and by what."""
    if section is None:
        return None
    if not isinstance(section, Mapping) or not {"from", "_target_"} <= set(section):
        raise refuse(path, where, f"is {section!r}", 'Write {"from": another modality, "_target_": a transform}')
    try:
        transform = component({key: value for key, value in section.items() if key != "from"})
    except Exception as error:
        raise refuse(
            path, where, f"cannot be built ({root_cause(error)})", "Check its _target_ and arguments"
        ) from error
    if not callable(transform):
        raise refuse(path, where, "is no transform", "Name one of medtrans.transforms, or your own")
    return Derived(section["from"], transform)


def _check_derived(path: Path, modalities: Mapping[str, Modality], reference: Any) -> None:
    """Refuse derived modalities that are also scanned, come from nothing, or are what others are aligned with."""
    for name, modality in modalities.items():
        if modality.derived is None:
            continue
        where, parent = f"modalities#{name}#derived", modality.derived.source
        if _known(path, parent, modalities, where) and modalities[parent].derived is not None:
            raise refuse(path, where, f"is from {parent!r}, which is derived itself", "Derive it from a scanned one")
        if modality.series or modality.file:
            raise refuse(path, where, 'stands beside "series" or "file"', "Keep one of them")
        if name == reference:
            raise refuse(path, "reference", f"is {name!r}, a derived modality", f"Take {parent!r}, where it lies too")


def _map(path: Path, where: str, entry: Mapping[str, Any] | None) -> Modality | None:
    """A label map or a mask as a modality that is never blurred or scaled."""
    if entry is None:
        return None
    return Modality(
        name=where, kind="MR", **_found_by(path, where, entry), optional=True, interpolation="nearest",
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
        "mask_map": _map(path, "mask", {"choose": "only", **mask}) if mask["file"] or mask["series"] else None,
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
