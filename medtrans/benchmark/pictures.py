"""The grid of pictures (the paper's figure 5): a line a method between source and target, with details and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medtrans.benchmark.figures import blank_figure
from medtrans.benchmark.results import SOURCE
from medtrans.benchmark.run import Run
from medtrans.cohorts import Cases, read_modalities
from medtrans.metrics import ImageMetric
from medtrans.reports.measuring import Volumes, read_volumes
from medtrans.reports.pairing import Pair, pairs_from_cases
from medtrans.reports.pictures import ERROR_SHARE, cut, draw_plane, error_map, extent, middle_planes
from medtrans.reports.plots import FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROP = 0.4  # sides of the enlarged detail, as a share of the slice's
SUBJECTS = 2  # the median one and the worst
CELL, MARGIN, HEAD = 1.25, 1.4, 0.42  # inches: width of a picture, for the names of the lines, for the headings


def pictures_figure(runs: Sequence[Run], subjects: pd.DataFrame, metric: ImageMetric) -> Figure | None:
    """The paper's figure 5: a line a method between source and target; slice, detail and error of two subjects.

    The subjects are the median and the worst one by ``metric``, averaged over the methods, and the detail is where the
    methods together err most: neither is chosen by eye. With several seeds the first one is shown.

    Args:
        runs: of one study.
        subjects: of one level and region.
        metric: ranks the subjects.

    Returns:
        None where no run is done.
    """
    first: dict[str, Run] = {}
    for run in (run for run in runs if run.result()["status"] == "done"):
        first.setdefault(run.row.name, run)
    if not first:
        return None
    chosen = _cases(first, subjects, metric)
    seen = {case: {name: _volumes(run, case) for name, run in first.items()} for case in chosen}
    lines = [SOURCE, *first, "target"]
    figure = blank_figure(3 * CELL * len(chosen) + MARGIN, CELL * _ratio(seen, chosen) * len(lines) + HEAD)
    width, height = figure.get_figwidth(), figure.get_figheight()
    grid = figure.add_gridspec(
        len(lines), 3 * len(chosen), left=MARGIN / width, right=0.995, top=1 - HEAD / height, bottom=0.005,
        hspace=0.03, wspace=0.03,
    )  # fmt: skip
    for block, (case, why) in enumerate(chosen.items()):
        _block(figure, grid, 3 * block, lines, seen[case])
        x, y = (MARGIN + block * 3 * CELL) / width, 1 - 0.05 / height
        figure.text(x, y, f"{case}: {why}", fontsize=8.5, color=INK, va="top")
    return figure


def _block(
    figure: Figure, grid: Any, column: int, lines: Sequence[str], seen: Mapping[str, tuple[Pair, Volumes]]
) -> None:
    """Slice, detail and error of one subject, a line a method."""
    pair, volumes = next(iter(seen.values()))
    plane, index = next(iter(middle_planes(volumes.reference.shape, volumes.mask).items()))
    size = extent(volumes.reference.shape, volumes.spacing, plane)
    images = {name: cut(found.prediction, plane, index) for name, (_, found) in seen.items()}
    target = cut(volumes.reference, plane, index)
    source = None if volumes.source is None else cut(volumes.source, plane, index)
    inside = 1.0 if volumes.mask is None else cut(volumes.mask, plane, index)
    detail = worst_part([(image - target) * inside for image in images.values()], CROP)
    limits, reach = pair.data_range, ERROR_SHARE * (pair.data_range[1] - pair.data_range[0])
    for row, name in enumerate(lines):
        image = {SOURCE: source, "target": target}.get(name, images.get(name))
        axes = [figure.add_subplot(grid[row, column + n]) for n in range(3)]
        if column == 0:
            axes[0].set_ylabel(name, fontsize=8, color=INK, rotation=0, ha="right", va="center", labelpad=6)
        if row == 0:
            for one, title in zip(axes, ("slice", "detail", "error"), strict=True):
                one.set_title(title, fontsize=7.5, color=FAINT, pad=2)
        if image is None:
            for one in axes:
                one.set_axis_off()
            continue
        grey = (pair.source_range or limits) if name == SOURCE else limits
        draw_plane(axes[0], image, grey, "gray", size)
        draw_plane(axes[1], image[detail], grey, "gray", _size(image[detail], size, image))
        _outline(axes[0], detail, image.shape, size)
        if name in images:
            draw_plane(axes[2], error_map(image, target), (-reach, reach), "RdBu_r", size)
        else:
            axes[2].set_axis_off()


def worst_part(differences: Sequence[np.ndarray], share: float) -> tuple[slice, slice]:
    """The rectangle in which the mean absolute difference over several images is largest.

    Args:
        differences: images of one shape.
        share: its sides as a share of the images'.
    """
    together = np.mean(np.abs(np.asarray(differences, float)), axis=0)
    rows, columns = (max(1, round(share * length)) for length in together.shape)
    sums = np.pad(together.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    return slice(int(row), int(row) + rows), slice(int(column), int(column) + columns)


def _cases(first: Mapping[str, Run], subjects: pd.DataFrame, metric: ImageMetric) -> dict[str, str]:
    """Case -> why it is shown."""
    methods = subjects[subjects["row"].isin(list(first))]
    ranked = methods.groupby("subject")[metric.name].mean().sort_values(ascending=not metric.higher_is_better)
    places = {(len(ranked) - 1) // 2: "median", len(ranked) - 1: "worst"} if len(ranked) > 1 else {0: "the only one"}
    cases = list(Cases.read(next(iter(first.values())).conditions.dataset))
    members = {case.name: case.name for case in cases} | {case.subject: case.name for case in reversed(cases)}
    chosen = list(places.items())[:SUBJECTS]
    return {members[str(ranked.index[place])]: f"{why} by {metric.title}" for place, why in chosen}


def _volumes(run: Run, case: str) -> tuple[Pair, Volumes]:
    known = read_modalities(run.folder / "models" / "modalities.json")
    names = {"target": known["target"][0]["modality"], "source": known["source"][0]["modality"]}
    members = [member for member in Cases.read(run.conditions.dataset) if member.name == case]
    (pair,) = pairs_from_cases(run.synthetic, members, **names)
    return pair, read_volumes(pair)


def _ratio(seen: Mapping[str, Mapping[str, tuple[Pair, Volumes]]], chosen: Mapping[str, str]) -> float:
    """Height of the tallest slice in units of its width."""
    sizes = []
    for case in chosen:
        _, volumes = next(iter(seen[case].values()))
        plane = next(iter(middle_planes(volumes.reference.shape, volumes.mask)))
        sizes.append(extent(volumes.reference.shape, volumes.spacing, plane))
    return max(height / width for width, height in sizes)


def _size(part: np.ndarray, size: tuple[float, float], whole: np.ndarray) -> tuple[float, float]:
    return size[0] * part.shape[1] / whole.shape[1], size[1] * part.shape[0] / whole.shape[0]


def _outline(axes: Axes, detail: tuple[slice, slice], shape: Sequence[int], size: tuple[float, float]) -> None:
    """The detail's place in the slice, whose rows run from the top down."""
    from matplotlib.patches import Rectangle

    rows, columns = detail
    step = size[0] / shape[1], size[1] / shape[0]
    corner = columns.start * step[0], size[1] - rows.stop * step[1]
    width, height = (columns.stop - columns.start) * step[0], (rows.stop - rows.start) * step[1]
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#ffd166", linewidth=0.8))
