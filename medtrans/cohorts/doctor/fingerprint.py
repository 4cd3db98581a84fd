"""A small picture of a volume by which its anatomy is recognised: centred on the body, 8 mm voxels, free of scale."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medtrans.cohorts.doctor.case_volumes import CaseVolumes, centre_of
from medtrans.cohorts.grid import Grid
from medtrans.cohorts.registration import Coarse, search

VOXEL_MM = 8.0
SHAPE = (24, 28, 24)  # 192 x 224 x 192 mm about the body's centre
FINE = 1.5  # voxels; what is smoother than this all heads have in common
BODY = 0.15  # of the thumbnail's range


def thumbnail(case: CaseVolumes, name: str) -> np.ndarray:
    """``SHAPE`` float16 in [0, 1], from the 1st to the 99th percentile inside the body."""

    def make() -> np.ndarray:
        at = case.percentiles(name)
        lower, upper = at[1.0], max(at[99.0], at[1.0] + 1e-6)
        coarse = np.clip((case.coarse(name).values - lower) / (upper - lower), 0, 1)
        step = VOXEL_MM / (case.spacing * case.steps)
        # Blurred to the thumbnail's resolution first, so that its grid may fall anywhere between the voxels.
        blurred = ndimage.gaussian_filter(coarse, 0.5 * np.sqrt(np.maximum(step**2 - 1, 0)))
        start = centre_of(case.coarse_body) - step * (np.array(SHAPE) - 1) / 2
        return ndimage.affine_transform(
            blurred, step, start, SHAPE, order=1, mode="constant", cval=float(coarse.flat[0])
        ).astype(np.float16)

    return case.once(("thumbnail", name), make)


def detail(thumbnails: np.ndarray) -> np.ndarray:
    """``(N, *SHAPE)`` -> ``(N, voxels)`` float32: the fine structure, of mean 0 and length 1.

    The product of two rows is the correlation of two anatomies: above 0.9 for one head, noisy, rescaled or moved by
    less than a voxel; 0.5 to 0.75 for two.
    """
    images = thumbnails.astype(np.float32)
    fine = images - ndimage.gaussian_filter(images, (0, FINE, FINE, FINE))
    return normalised(fine.reshape(len(images), -1))


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Each row of mean 0 and length 1 (0 where a row is constant)."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def similarity_when_aligned(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the fine structure of two thumbnails after a rigid search: a head moved is the same head."""
    grid = Grid(SHAPE, np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0]))
    fixed, moving = (Coarse(t.astype(np.float32), grid, float(t.flat[0])) for t in (first, second))
    rigid = search(fixed, moving, fixed.values > BODY, np.eye(4), (1,), 32, 60, 1.0, 0, None, least_step=0.02)
    rows = detail(np.stack([first, moving.on(grid, rigid, threads=1)]))
    return float(rows[0] @ rows[1])
