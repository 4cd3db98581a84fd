"""Slices or volumes of two modalities that do not belong together: beside every source a target of another subject."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose, CopyItemsd

from medtrans.cohorts.cases import Cases
from medtrans.cohorts.epochs import EpochDataset, seed_of
from medtrans.cohorts.slices import Modalities, slice_items, volume_items
from medtrans.errors import InputError

logger = logging.getLogger(__name__)


def domain_slice_items(
    dataset_dir: str | os.PathLike[str],
    modalities: Modalities,
    split: str = "train",
    axis: str | int = "axial",
    minimum_foreground: float = 0.02,
    every: int = 1,
) -> list[dict[str, Any]]:
    """The slices of one domain, for :class:`UnpairedDataset`: one modality of a data set, or several as channels.

    Cases that lack it are left out: in an unpaired study not everybody has every modality.

    Args:
        dataset_dir: the data set's folder, with cases.csv.
        modalities: name or names; every case that has them gives its slices.
        split, axis, minimum_foreground, every: as :func:`medtrans.cohorts.slice_items`.

    Returns:
        Items ``{"case", "subject", "paths", "windows", "spacing", "axis", "index", "height"}``; the height is that of
        the slice among the case's slices with enough body, from 0, the lowest (rearmost, leftmost), to 1.

    Raises:
        InputError: as :func:`medtrans.cohorts.slice_items`.
    """
    found = slice_items(dataset_dir, modalities, (), split, axis, minimum_foreground, every, missing="skip")
    ends: dict[str, tuple[int, int]] = {}
    for item in found:
        lowest, highest = ends.get(item["case"], (item["index"], item["index"]))
        ends[item["case"]] = (min(lowest, item["index"]), max(highest, item["index"]))
    places = (
        {"axis": item["axis"], "index": item["index"], "height": _between(item["index"], *ends[item["case"]])}
        for item in found
    )
    return [item | place for item, place in zip(_of_one_domain(dataset_dir, found), places, strict=True)]


def domain_volume_items(
    dataset_dir: str | os.PathLike[str], modalities: Modalities, split: str = "train"
) -> list[dict[str, Any]]:
    """The volumes of one domain, for :class:`UnpairedDataset`, as :func:`domain_slice_items` lists its slices.

    Args:
        dataset_dir: the data set's folder, with cases.csv.
        modalities: name or names; every case that has them gives its volume.
        split: as :func:`medtrans.cohorts.volume_items`.

    Returns:
        Items ``{"case", "subject", "paths", "windows", "spacing"}``.

    Raises:
        InputError: as :func:`medtrans.cohorts.volume_items`.
    """
    return _of_one_domain(dataset_dir, volume_items(dataset_dir, modalities, (), split, missing="skip"))


def _of_one_domain(dataset_dir: str | os.PathLike[str], items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whose the items' sources are, where they lie, and how they are scaled."""
    subjects = {case.name: case.subject for case in Cases.read(dataset_dir)}
    return [
        {
            "case": item["case"],
            "subject": subjects[item["case"]],
            "paths": item["source"],
            "windows": item["windows"]["source"],
            "spacing": item["spacing"],
        }
        for item in items
    ]


def _between(index: int, lowest: int, highest: int) -> float:
    return (index - lowest) / (highest - lowest) if highest > lowest else 0.5


class UnpairedDataset(EpochDataset):
    """Each source slice, or volume, with a target of another subject, drawn anew in every epoch.

    Both domains may come from one data set or from two, with other subjects, numbers and sizes of volumes. No subject
    ever meets itself: subjects of the same name count as the same person, also in two data sets. An epoch is as long
    as the larger domain; the other one is repeated. The draw is a function of (seed, epoch, index).

    Items become ``{"source": [paths], "target": [paths], "axis", "index": {"source", "target"}, "windows": {"source",
    "target"}, "case": {"source", "target"}, "spacing": the source's}`` before ``transform``, those of volumes without
    ``axis`` and ``index``. There is no mask, as a body's does not fit another.

    Args:
        data: the sources, of :func:`domain_slice_items` or :func:`domain_volume_items`.
        targets: the targets, of the same function.
        transform: a MONAI transform, or several.
        seed: of the whole run.
        position: greatest difference of the two slices' heights, 0 to 1, so that neck meets neck and crown meets crown;
            None or 1 draws from all heights, and is all that volumes can have.
        halved: a subject with both modalities gives only one of them, drawn once for the whole run: the stricter study,
            with half of the slices.
        track_meta: see :class:`EpochDataset`.

    Raises:
        InputError: the domains have no two different subjects, or are cut across different axes, or no slice of
            another subject is as near as ``position``, or volumes shall have a position, or the transform makes the
            target from the source, or wants companions, which are not read here.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        targets: Sequence[Mapping[str, Any]],
        transform: Any = None,
        seed: int = 0,
        position: float | None = None,
        halved: bool = False,
        track_meta: bool = False,
    ) -> None:
        if halved:
            data, targets = _halves(data, targets, seed)
        super().__init__(data, transform, seed, track_meta)
        _check_transform(transform)
        self.targets, self.position = list(targets), position
        if position is not None and not 0 <= position <= 1:
            raise InputError(f"position {position}", "is out of range", "Choose a share of the height, 0 to 1, or null")
        volumes = any("height" not in item for item in (*data, *targets))
        if volumes and position not in (None, 1):
            raise InputError(f"position {position}", "is for slices, not for volumes", "Leave it at 1")
        _check_axes(data, targets)
        names = sorted({item["subject"] for item in self.targets})
        numbers = {name: number for number, name in enumerate(names)}
        self._subjects = np.array([numbers[item["subject"]] for item in self.targets])
        self._heights = np.array([item.get("height", 0.0) for item in self.targets])
        self._numbers = numbers
        for item in self.data:
            if not self._partners(item).any():
                what = "subject" if position is None else f"subject within {position} of its height"
                of = f"case {item['case']}" + (f", slice {item['index']}" if "index" in item else "")
                problem = f"has no target of another {what} ({of})"
                raise InputError("a source", problem, "Add subjects, or allow a larger position")
        logger.info("unpaired: %d sources and %d targets", len(self.data), len(self.targets))

    def __len__(self) -> int:
        return max(len(self.data), len(self.targets))

    def entry(self, epoch: int, index: int) -> dict[str, Any]:
        """The source slice ``index`` with the target drawn for it in ``epoch``."""
        source = self.data[index % len(self.data)]
        candidates = np.flatnonzero(self._partners(source))
        drawn = np.random.default_rng(seed_of(self.seed, epoch, index, 1)).integers(len(candidates))
        return _joined(source, self.targets[candidates[drawn]])

    def _partners(self, source: Mapping[str, Any]) -> np.ndarray:
        """Which targets may stand beside this source."""
        others = self._subjects != self._numbers.get(source["subject"], -1)
        if self.position is None:
            return others
        return others & (np.abs(self._heights - source.get("height", 0.0)) <= self.position + 1e-9)


class SideBySide(EpochDataset):
    """Slices, or volumes, of two domains beside each other, always the same ones: to validate on without pairs.

    As many as the smaller domain has, so that no image counts twice; of the larger one an even selection. Targets begin
    in the middle of their list, so that a data set that holds both modalities does not give a slice its own pair.
    Items are those of :class:`UnpairedDataset`.

    Args:
        data: the sources, of :func:`domain_slice_items` or :func:`domain_volume_items`.
        targets: the targets, of the same function.
        transform: a MONAI transform, or several.
        seed: of the whole run.

    Raises:
        InputError: the domains are cut across different axes, or one is of slices and the other of volumes, or items
            are those of a paired data set, or the transform is refused as :class:`UnpairedDataset` does.
    """

    def __init__(
        self, data: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]], transform: Any, seed: int = 0
    ) -> None:
        if not all("paths" in item for item in (*data, *targets)):
            remedy = "Name unpaired_validation.json after three_d.json in --config_file"
            raise InputError("the validation without pairs", "was given pairs", remedy)
        count = min(len(data), len(targets))
        super().__init__(_evenly(data, count), transform, seed)
        _check_transform(transform)
        self.targets = _evenly(targets, count)
        _check_axes(data, targets)
        logger.info("unpaired validation: %d source and as many target images", count)

    def entry(self, epoch: int, index: int) -> dict[str, Any]:
        """The same in every epoch."""
        count = len(self.targets)
        return _joined(self.data[index], self.targets[(index + count // 2) % count])


def _evenly(items: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    return [items[index * len(items) // count] for index in range(count)]


def _joined(source: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """One item of two slices or volumes."""
    pair = {"source": source, "target": target}
    names = [name for name in ("case", "index", "windows") if name in source]
    joined = {name: {key: item[name] for key, item in pair.items()} for name in names}
    alike = {name: source[name] for name in ("axis", "spacing") if name in source}
    return {key: item["paths"] for key, item in pair.items()} | joined | alike


def _check_axes(data: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> None:
    if {item.get("axis") for item in data} != {item.get("axis") for item in targets}:
        raise InputError("the slices of the two domains", "are not cut across the same axis", "Choose one axis")


def _check_transform(transform: Any) -> None:
    """Refuse steps that would give a source its own target, and readers of companions, of which items say nothing."""
    for step in _steps(transform):
        copies = isinstance(step, CopyItemsd) and any(
            name == "target" != key for key, name in zip(step.keys * step.times, step.names, strict=True)
        )
        if copies or getattr(step, "reference_key", None) == "target":
            problem = f"makes the target from the source, which is a pair ({type(step).__name__})"
            remedy = "Take a paired bundle, or targets as they are (set reference_key to null)"
            raise InputError("a degradation without pairs", problem, remedy)
        if optional := getattr(step, "optional", ()):
            remedy = "Set --companions [], or take a paired bundle"
            raise InputError(f"companion {', '.join(map(str, optional))}", "is not read without pairs", remedy)


def _steps(transform: Any) -> list[Any]:
    """The single transforms of what may be lists in lists."""
    parts = transform.transforms if isinstance(transform, Compose) else transform
    return [step for part in parts for step in _steps(part)] if isinstance(parts, list | tuple) else [parts]


def _halves(
    sources: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]], seed: int
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Sources and targets with subjects that are in both left to one of them, half here and half there."""
    both = sorted({item["subject"] for item in sources} & {item["subject"] for item in targets})
    order = np.random.default_rng(seed_of(seed, 2)).permutation(len(both))
    of_sources, of_targets = ({both[place] for place in order[part::2]} for part in (0, 1))
    kept = [item for item in sources if item["subject"] not in of_targets]
    others = [item for item in targets if item["subject"] not in of_sources]
    if not kept or not others:
        raise InputError("halved", "leaves one domain without a subject", "Add subjects, or train without it")
    return kept, others
