"""A cohort of head phantoms as a data set: different heads, one recipe, split by subject, restartable."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from filelock import FileLock, Timeout
from monai.bundle import ConfigParser
from nibabel.filebasedimages import ImageFileError

from medtrans.cohorts.case_picture import case_picture
from medtrans.cohorts.cases import Case, Cases
from medtrans.cohorts.nifti import write_nifti
from medtrans.cohorts.recipe_defaults import OF_KIND
from medtrans.cohorts.splits import SplitRule
from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.progress import progress
from medtrans.simulate.phantom import MODALITIES, VERSION, HeadPhantom
from medtrans.transforms.window import Window

logger = logging.getLogger(__name__)

SPACINGS = (0.4, 12.0)  # mm: finer needs more memory than a workstation has, coarser is no head any more
SEEDS_A_COHORT = 1_000_000  # subject i of a cohort is the head ``seed * SEEDS_A_COHORT + i``


def kind_of(modality: str) -> str:
    """``"CT"``, ``"PET"`` or ``"MR"``."""
    return modality if modality in ("CT", "PET") else "MR"


def write_phantom_cohort(
    dataset_dir: str | os.PathLike[str],
    subjects: int,
    modalities: Sequence[str] = ("T1", "T2"),
    spacing: float = 1.0,
    seed: int = 0,
    lesions: bool | None = None,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
) -> Cases:
    """Write a data set of phantoms, or finish one that was interrupted.

    Args:
        dataset_dir: where; empty, new, or holding a cohort of the same settings, whose finished cases are kept.
        subjects: how many heads.
        modalities: any of :data:`~medtrans.simulate.phantom.MODALITIES`.
        spacing: voxel size in mm, 0.4 to 12.
        seed: another cohort for every seed.
        lesions: in all (True), in none (False), or by chance in about a third of the heads (None).
        fractions: shares of training, validation and test subjects; each has at least one when there are three
            subjects or more and its share is not 0.

    Returns:
        The cases, in the order of their names.

    Raises:
        InputError: a setting is unusable, the folder holds something else, or it cannot be written.
    """
    root = Path(dataset_dir).expanduser().resolve()
    settings = _settings(subjects, modalities, spacing, seed, lesions, fractions)
    recipe = _recipe(settings)
    _claim(root, recipe)
    names = [f"head-{index:0{max(4, len(str(subjects - 1)))}d}" for index in range(subjects)]
    rule = SplitRule(validation=settings["fractions"][1], test=settings["fractions"][2], seed=settings["seed"])
    splits = rule.assign(names)
    cases = []
    for index, name in enumerate(progress(names, f"writing phantoms to {root}", unit="head")):
        cases.append(_case(root, name, splits[name], settings["seed"] * SEEDS_A_COHORT + index, recipe))
    cohort = Cases(root, tuple(cases))
    cohort.write()
    return cohort


def cache_folder() -> Path:
    """Where medtrans keeps what it can make again: ``$MEDTRANS_CACHE``, else ``$XDG_CACHE_HOME/medtrans``, else
    ``~/.cache/medtrans``.
    """
    if chosen := os.environ.get("MEDTRANS_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medtrans"


def default_phantom_dataset(
    subjects: int = 12, spacing: float = 3.5, modalities: Sequence[str] = ("T1", "T2"), seed: int = 0
) -> Path:
    """The phantom cohort of these settings in the user's cache, made the first time it is asked for.

    Several processes may ask at once: one makes it, the others wait for it. See :func:`cache_folder`.

    Returns:
        The data set folder.

    Raises:
        InputError: a setting is unusable, or the cache cannot be written.
    """
    settings = _settings(subjects, modalities, spacing, seed, None, (0.7, 0.15, 0.15))
    modalities = settings["modalities"]
    name = f"phantom{VERSION}-{'-'.join(modalities)}-{subjects}-heads-{settings['spacing']:g}mm-seed{settings['seed']}"
    folder = cache_folder() / name
    if _finished(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f"{name}.lock"))
        try:
            lock.acquire(timeout=0.1)
        except Timeout:
            logger.info("waiting for another process that is writing %s", folder)
            lock.acquire()
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise InputError(folder.parent, problem, "Set MEDTRANS_CACHE to a folder that you may write to") from error
    try:
        if not _finished(folder):
            write_phantom_cohort(folder, subjects, modalities, spacing, seed)
    finally:
        lock.release()
    return folder


def _settings(
    subjects: int,
    modalities: Sequence[str],
    spacing: float,
    seed: int,
    lesions: bool | None,
    fractions: Sequence[float],
) -> dict[str, Any]:
    """Everything that decides what the cohort looks like, checked, ready for JSON."""
    chosen = list(dict.fromkeys(modalities))
    unknown = [modality for modality in chosen if modality not in MODALITIES]
    if unknown or not chosen:
        problem = f"cannot be simulated: {', '.join(unknown)}" if unknown else "are none"
        raise InputError("modalities", problem, f"Choose from {', '.join(MODALITIES)}")
    if subjects < 1:
        raise InputError(f"subjects {subjects}", "is too few", "Ask for at least 1")
    if subjects > SEEDS_A_COHORT:
        raise InputError(f"subjects {subjects}", "is too many", f"Ask for at most {SEEDS_A_COHORT}")
    if not SPACINGS[0] <= spacing <= SPACINGS[1]:
        raise InputError(f"spacing {spacing} mm", "is out of range", f"Choose {SPACINGS[0]:g} to {SPACINGS[1]:g} mm")
    if seed < 0:
        raise InputError(f"seed {seed}", "is negative", "Use 0 or a positive integer")
    shares = [float(share) for share in fractions]
    if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        remedy = "Give the shares of training, validation and test, which add up to 1"
        raise InputError(f"fractions {tuple(fractions)}", "are unusable", remedy)
    return {
        "version": VERSION,
        "subjects": int(subjects),
        "modalities": chosen,
        "spacing": float(spacing),
        "seed": int(seed),
        "lesions": lesions,
        "fractions": shares,
    }


def _recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """What recipe.json says: the settings, and the intensity rules and background of every modality."""
    rules = {modality: OF_KIND[kind_of(modality)] for modality in settings["modalities"]}
    return {
        "title": "procedural head phantoms",
        "phantom": settings,
        "spacing": [settings["spacing"]] * 3,
        "modalities": {
            modality: {"kind": kind_of(modality), "unit": rule["unit"], "intensity": rule["intensity"]}
            | {"background": rule["background"]}
            for modality, rule in rules.items()
        },
    }


def _claim(root: Path, recipe: dict[str, Any]) -> None:
    """Write recipe.json into an empty folder; refuse a folder that holds anything but this cohort."""
    path = root / "recipe.json"
    remedy = "Choose another folder, or delete this one"
    if path.is_file():
        try:
            existing = json.loads(path.read_text(encoding="utf-8")).get("phantom")
        except (ValueError, AttributeError):
            existing = None
        if not isinstance(existing, dict):
            raise InputError(root, "holds another data set, not a phantom cohort", remedy)
        new = recipe["phantom"]
        differing = [key for key in new if existing.get(key) != new[key]]
        if differing:
            said = "; ".join(f"{key} {existing.get(key)} instead of {new[key]}" for key in differing)
            raise InputError(root, f"holds a phantom cohort of other settings ({said})", remedy)
        return
    if root.exists() and not root.is_dir():
        raise InputError(root, "is a file", "Choose a folder")
    if root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()):
        raise InputError(root, "is not empty, and holds no phantom cohort", remedy)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _case(root: Path, name: str, split: str, seed: int, recipe: dict[str, Any]) -> Case:
    """One head: written, unless all its files are there already."""
    modalities, spacing = recipe["phantom"]["modalities"], recipe["phantom"]["spacing"]
    paths = {part: root / name / f"{part}.nii" for part in (*modalities, "mask", "label")}
    picture = root / "qa" / f"{name}.png"
    images = _written(paths) if picture.is_file() else None
    if images is not None:
        windows = _windows(images, recipe)
    else:
        phantom = HeadPhantom(seed, spacing, lesion=recipe["phantom"]["lesions"])
        images = phantom.images(modalities)
        windows = _windows(images, recipe)
        for part, path in paths.items():
            write_nifti(path, images[part], phantom.affine)
        shown = {modality: images[modality] for modality in modalities}
        case_picture(picture, shown, windows, images["mask"], phantom.spacing, f"{name} ({split})")
    return Case(
        name=name,
        subject=name,
        split=split,
        volumes={modality: paths[modality] for modality in modalities},
        windows=windows,
        mask=paths["mask"],
        label=paths["label"],
        spacing=(spacing,) * 3,
        shape=images["mask"].shape,
    )


def _written(paths: dict[str, Path]) -> dict[str, np.ndarray] | None:
    """The images of an earlier run; None where one is absent or damaged."""
    try:
        return {part: np.array(nibabel.load(path).dataobj) for part, path in paths.items()}
    except (OSError, ValueError, ImageFileError):
        return None


def _windows(images: dict[str, np.ndarray], recipe: dict[str, Any]) -> dict[str, Window]:
    """The window of every modality, by the rule in the recipe."""
    rules = {modality: ConfigParser({"rule": entry["intensity"]}) for modality, entry in recipe["modalities"].items()}
    return {
        modality: rule.get_parsed_content("rule")(images[modality], images["mask"]) for modality, rule in rules.items()
    }


def _finished(folder: Path) -> bool:
    """Whether the cohort in ``folder`` is whole: cases.csv is written last, and every file it names is there."""
    try:
        Cases.read(folder)
    except InputError:
        return False
    return True
