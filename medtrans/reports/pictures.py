"""Pictures of a translation: source, synthetic, target and error map in three planes, in physical units."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtrans.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR_SHARE = 0.25  # the error map's colours span this share of the data range to either side
PLANES = ("axial", "coronal", "sagittal")
INK, FAINT = "#1d2733", "#6b7785"


def error_map(synthetic: np.ndarray, target: np.ndarray, kind: str = "difference", largest: float = 2.0) -> np.ndarray:
    """Where a synthetic image is wrong.

    Args:
        synthetic: any shape, in the target's unit.
        target: the same shape.
        kind: ``"difference"`` (synthetic − target), ``"absolute"``, or ``"relative"``: |difference| / |target| after
            each image is z-scored (Welander et al. 2018), clipped at ``largest`` because it grows without bound where
            the target is near its mean.
        largest: limit of the relative map.

    Raises:
        ValueError: there is no such kind.
    """
    difference = np.asarray(synthetic, float) - np.asarray(target, float)
    if kind == "difference":
        return difference
    if kind == "absolute":
        return np.abs(difference)
    if kind == "relative":
        scored = [(image - image.mean()) / (image.std() or 1.0) for image in (np.asarray(synthetic, float), target)]
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.abs(scored[0] - scored[1]) / np.abs(scored[1])
        return np.clip(np.nan_to_num(relative, nan=0.0, posinf=largest), 0, largest)
    raise ValueError(f"error map {kind!r} does not exist, choose difference, absolute or relative")


def translation_figure(
    source: np.ndarray | None,
    synthetic: np.ndarray,
    target: np.ndarray,
    path: str | os.PathLike[str] | None = None,
    *,
    target_range: tuple[float, float],
    source_range: tuple[float, float] | None = None,
    mask: np.ndarray | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    unit: str = "",
    source_unit: str = "",
    title: str = "",
    names: tuple[str, str, str] = ("source", "synthetic", "target"),
) -> Figure:
    """Draw source | synthetic | target | error map, one row a plane (one row alone for a single slice).

    Planes go through the middle of the mask (else of the volume), as seen from the feet and from the front: the
    patient's right is on the left of the picture.

    Args:
        source: ``(X, Y, Z)``, RAS axes, in its own unit; None leaves the column out.
        synthetic: the same shape, in the target's unit.
        target: the same shape.
        path: PNG to write; None: only the figure is returned.
        target_range: grey values of synthetic and target; the error map spans a quarter of it to either side.
        source_range: grey values of the source; None: the same as the target.
        mask: body mask; its outline is not drawn, it only places the planes.
        spacing: millimetres per voxel.
        unit: of the target, for the colour bars.
        source_unit: of the source.
        title: printed above.
        names: headings of the image columns.

    Returns:
        A matplotlib figure without a window; call ``savefig``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    difference = error_map(synthetic, target).astype(np.float32)
    reach = ERROR_SHARE * (target_range[1] - target_range[0])
    columns: list[tuple[str, np.ndarray, tuple[float, float], str, str]] = [
        (names[1], synthetic, target_range, "gray", unit),
        (names[2], target, target_range, "gray", unit),
        ("error: synthetic − target", difference, (-reach, reach), "RdBu_r", unit),
    ]
    if source is not None:
        columns.insert(0, (names[0], source, source_range or target_range, "gray", source_unit))
    planes = middle_planes(target.shape, mask)
    sizes = [extent(target.shape, spacing, plane) for plane in planes]
    heights = [height / width for width, height in sizes]
    width = 2.6
    figure = Figure(figsize=(width * len(columns), width * sum(heights) + 1.0), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    top = 1 - 0.5 / figure.get_figheight()
    grid = figure.add_gridspec(
        len(planes) + 1, len(columns), height_ratios=[*heights, 0.06], left=0.03, right=0.99, top=top,
        bottom=0.38 / figure.get_figheight(), hspace=0.03, wspace=0.03,
    )  # fmt: skip
    for column, (name, volume, limits, colours, in_unit) in enumerate(columns):
        drawn: Any = None
        for row, (plane, index) in enumerate(planes.items()):
            axes = figure.add_subplot(grid[row, column])
            drawn = draw_plane(axes, cut(volume, plane, index), limits, colours, sizes[row])
            if row == 0:
                axes.set_title(name, fontsize=10, color=INK, pad=4)
            if column == 0:
                axes.set_ylabel(f"{plane} {index}", fontsize=8, color=FAINT, labelpad=3)
                _mark_sides(axes, plane)
        _colour_bar(figure, grid[len(planes), column], drawn, volume, limits, in_unit)
    if title:
        figure.suptitle(title, x=0.03, y=1 - 0.08 / figure.get_figheight(), ha="left", va="top", fontsize=10, color=INK)
    if path is not None:
        with written_whole(path) as temporary:
            figure.savefig(temporary, format=Path(path).suffix.removeprefix(".") or "png")
    return figure


def middle_planes(shape: Sequence[int], mask: np.ndarray | None) -> dict[str, int]:
    """Plane -> index of its slice, through the middle of the mask."""
    inside = np.argwhere(mask) if mask is not None and mask.any() else None
    centre = [length // 2 for length in shape] if inside is None else np.round(np.median(inside, axis=0)).astype(int)
    indices = {"axial": int(centre[2]), "coronal": int(centre[1]), "sagittal": int(centre[0])}
    return indices if shape[2] > 1 else {"axial": indices["axial"]}


def cut(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """The slice with the eye's axes: rows from the top down, patient's right (or front) on the left."""
    across = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    return np.take(volume, index, axis=across)[::-1, ::-1].T


def extent(shape: Sequence[int], spacing: Sequence[float], plane: str) -> tuple[float, float]:
    """Width and height of the plane in millimetres."""
    across, up = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    return shape[across] * spacing[across], shape[up] * spacing[up]


def draw_plane(
    axes: Axes, image: np.ndarray, limits: tuple[float, float], colours: str, size: tuple[float, float]
) -> Any:
    """Draw one slice of :func:`cut` without ticks or frame, ``size`` millimetres wide and high."""
    drawn = axes.imshow(
        image, cmap=colours, vmin=limits[0], vmax=limits[1], extent=(0, size[0], 0, size[1]), interpolation="nearest"
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return drawn


def _mark_sides(axes: Axes, plane: str) -> None:
    left, right = ("A", "P") if plane == "sagittal" else ("R", "L")
    for x, side in ((0.02, left), (0.98, right)):
        axes.text(
            x, 0.5, side, transform=axes.transAxes, color="#ffd166", fontsize=8, weight="bold", va="center",
            ha="left" if x < 0.5 else "right",
        )  # fmt: skip


def _colour_bar(
    figure: Figure, place: Any, drawn: Any, volume: np.ndarray, limits: tuple[float, float], unit: str
) -> None:
    beyond = (bool(volume.min() < limits[0]), bool(volume.max() > limits[1]))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    inner = place.subgridspec(1, 3, width_ratios=[0.06, 0.88, 0.06])
    bar = figure.colorbar(drawn, cax=figure.add_subplot(inner[0, 1]), orientation="horizontal", extend=extend)
    bar.ax.tick_params(labelsize=7, colors=FAINT, length=2, pad=2)
    bar.ax.locator_params(nbins=5)
    bar.outline.set(edgecolor="#c9d1da", linewidth=0.6)
    bar.set_label(unit or "arbitrary units", fontsize=7, color=FAINT, labelpad=1)
