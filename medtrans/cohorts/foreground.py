"""How much of each slice is body, measured once per data set and remembered beside it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from medtrans.cohorts.cases import Case
from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.progress import progress
from medtrans.transforms.mapped_nifti import MappedNifti

CACHE_NAME = "foreground.npz"
# Without a mask, body is what lies above the lowest twentieth of the source window: -873 HU for CT, 5 % of full scale
# for MR, above the noise of air in both.
SHARE_OF_WINDOW = 0.05

Profile = tuple[np.ndarray, np.ndarray, np.ndarray]
logger = logging.getLogger(__name__)


def slice_foreground(path: Path, threshold: float) -> Profile:
    """The share of voxels above ``threshold`` in every slice of a volume, for sagittal, coronal and axial slices."""
    volume = MappedNifti.open(path).volume(order="F")
    counts = [np.zeros(length, dtype=np.int64) for length in volume.shape]
    for k in range(volume.shape[2]):  # one slice fits the cache, which is faster than sums over the volume
        inside = volume[:, :, k] > threshold
        counts[0] += inside.sum(axis=1)
        counts[1] += inside.sum(axis=0)
        counts[2][k] = np.count_nonzero(inside)
    x, y, z = (count * (len(count) / volume.size) for count in counts)
    return x, y, z


def _measured_volume(case: Case, source: str) -> tuple[Path, float]:
    """The volume that tells where the body is, and the value above which it is."""
    if case.mask is not None:
        return case.mask, 0.0
    window = case.windows[source]
    return case.volumes[source], window.lower + SHARE_OF_WINDOW * (window.upper - window.lower)


def foreground_profiles(root: Path, cases: Iterable[Case], source: str) -> dict[str, Profile]:
    """Case name -> the share of foreground in every slice, from the mask or, without one, from the source.

    Profiles are kept in ``root/foreground.npz`` (if it may be written) and used again as long as the volume they were
    measured on has not changed.

    Raises:
        InputError: a mask or volume cannot be read.
    """
    known = _remembered(root / CACHE_NAME)
    wanted: dict[str, str] = {}
    new: dict[str, tuple[Path, float]] = {}
    for case in cases:
        path, threshold = _measured_volume(case, source)
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(path, f"cannot be read ({error.strerror})", "Restore it") from error
        key = f"{os.path.relpath(path, root)}|{threshold:g}|{status.st_size}|{status.st_mtime_ns}"
        wanted[case.name] = key
        if key not in known:
            new[key] = path, threshold
    for key, (path, threshold) in progress(new.items(), "measuring the foreground") if new else ():
        known[key] = slice_foreground(path, threshold)
    if new:
        _remember(root / CACHE_NAME, known)
    return {name: known[key] for name, key in wanted.items()}


def _remembered(cache: Path) -> dict[str, Profile]:
    """The profiles in ``cache``; none if there is no such file, or it is not one of ours."""
    try:
        with np.load(cache, allow_pickle=False) as file:
            keys, shapes, shares = json.loads(str(file["keys"])), file["shapes"], file["shares"]
        pieces = np.split(shares, np.cumsum(shapes.ravel())[:-1])
        return {key: tuple(pieces[3 * i : 3 * i + 3]) for i, key in enumerate(keys)}  # type: ignore[misc]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        logger.info("%s is not readable (%s): measuring the foreground again", cache, error)
        return {}


def _remember(cache: Path, profiles: dict[str, Profile]) -> None:
    """Write ``profiles`` to ``cache``: one long array, so that thousands of cases load at once."""
    shapes = np.array([[len(piece) for piece in profile] for profile in profiles.values()], dtype=np.int64)
    shares = np.concatenate([piece for profile in profiles.values() for piece in profile]).astype(np.float32)
    try:
        with written_whole(cache) as temporary:
            np.savez(temporary, keys=json.dumps(list(profiles)), shapes=shapes, shares=shares)
    except (InputError, OSError) as error:  # a data set that may only be read is fine
        logger.info("the foreground profile is not kept: %s", error)
