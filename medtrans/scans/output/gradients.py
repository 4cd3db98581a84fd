"""Diffusion weightings as FSL reads them: b-values, and directions along the axes of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STRAIGHT = 1e-3  # largest cosine between two axes of an image whose axes can hold directions


@dataclass(frozen=True)
class Gradients:
    """One weighting a volume of a 4D image.

    Attributes:
        b_values: s/mm², shape (T,).
        directions: unit vectors, or zero where nothing is weighted; shape (T, 3), RAS.
    """

    b_values: np.ndarray
    directions: np.ndarray

    def along(self, affine: np.ndarray) -> np.ndarray:
        """Directions along the axes of an image as FSL wants them, (T, 3).

        FSL takes the first axis backwards where the axes are right-handed in RAS (its own are "radiological").
        """
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        along = self.directions @ axes
        if np.linalg.det(axes) > 0:
            along[:, 0] *= -1
        return along

    def files(self, affine: np.ndarray) -> dict[str, str]:
        """Suffix -> text of the files that lie beside the image."""
        rows = self.along(affine).T + 0.0  # no -0
        return {
            ".bval": " ".join(f"{value:g}" for value in self.b_values) + "\n",
            ".bvec": "".join(" ".join(f"{value:.8g}" for value in row) + "\n" for row in rows),
        }


def gradients_of(volumes: Sequence[dict[str, Any]], affine: np.ndarray) -> Gradients | None:
    """The weightings of a 4D image by its headers, None where they are not diffusion or not all known.

    A weighted volume without a direction (a trace image) leaves the whole image without; so does GE, whose private
    directions are not in the patient's axes.

    Args:
        volumes: DICOM tags of each time point.
        affine: of the image, RAS.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if len(volumes) < 2 or np.abs(axes.T @ axes - np.eye(3)).max() > STRAIGHT:
        return None
    weightings = [found for found in map(weighting, volumes) if found is not None]
    if len(weightings) < len(volumes) or not any(b for b, _ in weightings):
        return None
    return Gradients(np.array([b for b, _ in weightings], float), np.array([g for _, g in weightings], float))


def weighting(tags: dict[str, Any]) -> tuple[float, np.ndarray] | None:
    """b-value and direction (RAS) of one volume."""
    b_value, direction = tags.get("DiffusionBValue"), tags.get("DiffusionGradientOrientation")
    if not isinstance(b_value, (int, float)) or not 0 <= b_value < 1e6:
        return None
    if b_value == 0:
        return 0.0, np.zeros(3)
    if str(tags.get("Manufacturer", "")).upper().startswith("GE") or not isinstance(direction, tuple):
        return None
    if len(direction) != 3 or not all(isinstance(value, (int, float)) for value in direction):
        return None
    lps = np.array(direction, float)
    length = np.linalg.norm(lps)
    if not np.isfinite(length) or length < 1e-3:
        return None
    return float(b_value), lps / length * [-1, -1, 1]
