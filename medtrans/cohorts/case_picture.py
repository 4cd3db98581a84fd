"""A picture of one case for the eye: every modality side by side, in three planes through the middle of the body."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medtrans.files import written_whole
from medtrans.transforms.window import Window

PLANES = ("sagittal", "coronal", "axial")


def middle_of(mask: np.ndarray) -> tuple[int, int, int]:
    """The middle of the mask's extent along each axis (of the volume's, where the mask is empty)."""
    middle = []
    for axis in range(3):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        middle.append(int(occupied[0] + occupied[-1]) // 2 if occupied.size else mask.shape[axis] // 2)
    return tuple(middle)  # type: ignore[return-value]


def case_picture(
    path: str | os.PathLike[str],
    volumes: Mapping[str, np.ndarray],
    windows: Mapping[str, Window],
    mask: np.ndarray,
    spacing: Sequence[float],
    title: str = "",
) -> Path:
    """Draw a case: a column a modality, a row a plane, grey values from black (window's lower end) to white.

    Args:
        path: the PNG file.
        volumes: modality -> (X, Y, Z) in RAS order, physical units; all of one shape.
        windows: modality -> its window.
        mask: (X, Y, Z), > 0 in the body, whose border is drawn.
        spacing: voxel size in mm.
        title: what is written above.
    """
    from matplotlib.figure import Figure

    at = middle_of(mask > 0)
    figure = Figure(figsize=(2.4 * len(volumes), 7.6), dpi=100, layout="constrained")
    axes = figure.subplots(3, len(volumes), squeeze=False)
    for column, (modality, volume) in enumerate(volumes.items()):
        window = windows[modality]
        unit = f" {window.unit}" if window.unit else ""
        axes[0, column].set_title(f"{modality}\n{window.lower:.4g} … {window.upper:.4g}{unit}", fontsize=8)
        for axis in range(3):
            across, up = (other for other in range(3) if other != axis)
            panel = axes[axis, column]
            panel.imshow(
                np.take(volume, at[axis], axis).T, cmap="gray", vmin=window.lower, vmax=window.upper,
                origin="lower", aspect=spacing[up] / spacing[across],
            )  # fmt: skip
            body = np.take(mask, at[axis], axis).T > 0
            if body.any() and not body.all():
                panel.contour(body, levels=[0.5], colors="tab:orange", linewidths=0.4)
            panel.set_xticks([])
            panel.set_yticks([])
            if column == 0:
                panel.set_ylabel(PLANES[axis], fontsize=8)
    figure.suptitle(title, fontsize=9)
    with written_whole(path) as temporary:
        figure.savefig(temporary)
    return Path(path)
