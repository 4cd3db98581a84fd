"""One picture a case, to see at a glance whether the modalities fit: checkerboard and overlay in three planes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.cohorts.case_picture import PLANES, middle_of
from medtrans.files import written_whole
from medtrans.transforms.window import Window

TILE_MM = 32.0


def draw_case(
    path: Path,
    title: str,
    volumes: Mapping[str, np.ndarray],
    windows: Mapping[str, Window],
    mask: np.ndarray,
    spacing: tuple[float, ...],
) -> None:
    """Write the picture of one case as PNG.

    A row a plane through the middle of the body; in the columns the first modality with the outline of the mask,
    then for every other one: itself, a checkerboard of both, and itself in colour over the first.

    Args:
        path: where the picture goes.
        title: shown above it.
        volumes: modality -> ``(X, Y, Z)`` in RAS order, all of one shape.
        windows: modality -> what is black and what is white.
        mask: the body, of the same shape.
        spacing: millimetres a voxel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first, *others = volumes
    columns = 1 + 3 * len(others)
    figure = Figure(figsize=(2.4 * columns, 7.6), dpi=100, facecolor="black")
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.93, 0.02, 0.1)  # a layout engine takes longer than the pictures
    FigureCanvasAgg(figure)
    figure.suptitle(title, color="white", fontsize=9)
    axes = figure.subplots(3, columns, squeeze=False)
    middle = middle_of(mask)
    for axis in range(3):
        steps = [step for other, step in enumerate(spacing) if other != axis]
        cut = {name: windows[name].normalise(_cut(values, axis, middle[axis])) for name, values in volumes.items()}
        outline = _cut(mask, axis, middle[axis])
        pictures: list[tuple[str, np.ndarray, np.ndarray | None]] = [(first, cut[first], None)]
        for name in others:
            board = np.where(_checkerboard(cut[first].shape, steps), cut[first], cut[name])
            pictures += [
                (name, cut[name], None),
                (f"{first} | {name}", board, None),
                (f"{name} on {first}", cut[first], cut[name]),
            ]
        for column, (name, below, above) in enumerate(pictures):
            _show(axes[axis, column], below, above, outline if column == 0 else None, steps)
            axes[axis, column].set_title(f"{name}, {PLANES[axis]}", color="white", fontsize=7)
    with written_whole(path) as temporary:
        figure.savefig(temporary, facecolor="black")


def _cut(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A plane for the eye: rows from top to bottom, columns left to right as the axes grow."""
    return np.flipud(volume[(slice(None),) * axis + (index,)].T)


def _checkerboard(shape: tuple[int, ...], steps: list[float]) -> np.ndarray:
    rows, columns = np.indices(shape)
    return ((rows * steps[1] // TILE_MM).astype(int) + (columns * steps[0] // TILE_MM).astype(int)) % 2 == 0


def _show(
    axes: Any, below: np.ndarray, above: np.ndarray | None, outline: np.ndarray | None, steps: list[float]
) -> None:
    """One picture: grey, perhaps with colour over it or the outline of the mask."""
    aspect = steps[1] / steps[0]
    axes.imshow(below, cmap="gray", vmin=-1, vmax=1, aspect=aspect, interpolation="nearest")
    if above is not None:
        shown = np.clip((above + 1) / 2, 0, 1)
        axes.imshow(above, cmap="inferno", vmin=-1, vmax=1, alpha=0.6 * shown, aspect=aspect, interpolation="nearest")
    if outline is not None and 0 < outline.mean() < 1:
        axes.contour(outline, levels=[0.5], colors="yellow", linewidths=0.5)
    axes.axis("off")
