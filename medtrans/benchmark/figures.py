"""Figures of numbers: means with intervals beside the subjects, and the curve over depth (the paper's figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medtrans.benchmark.results import SOURCE, by_subject
from medtrans.benchmark.study import Study
from medtrans.files import written_whole
from medtrans.metrics import ImageMetric
from medtrans.reports.plots import FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY = "#2364aa", "#9aa5b1"
PALE = {BLUE: "#b9cbe0", GREY: "#dbe0e5"}
CURVE = ("ssim", "psnr", "mse_255", "lpips")  # the four of the paper's figure 6


def intervals_figure(
    subjects: pd.DataFrame, summary: pd.DataFrame, study: Study, metrics: Sequence[ImageMetric]
) -> Figure:
    """A panel a metric: mean and 95 % interval of every row, a dot a subject; the baseline's mean as a line.

    Args:
        subjects: of one level and region.
        summary: of the same level and region.
        study: what is compared.
        metrics: those to show.
    """
    shown = [metric for metric in metrics if metric.name in set(summary["metric"])]
    names = list(dict.fromkeys(summary["row"]))
    columns = min(4, max(1, len(shown)))
    rows = -(-len(shown) // columns) or 1
    figure = blank_figure(2.9 * columns + 1.2, (0.27 * len(names) + 0.75) * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, metric in zip(panels, shown, strict=False):
        _interval_panel(
            axes, subjects, summary[summary["metric"] == metric.name].set_index("row"), names, study, metric
        )
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.tight_layout(h_pad=1.2, w_pad=1.0)
    return figure


def _interval_panel(
    axes: Axes, subjects: pd.DataFrame, summary: pd.DataFrame, names: Sequence[str], study: Study, metric: ImageMetric
) -> None:
    for place, name in enumerate(names):
        values = np.array(list(by_subject(subjects, name, metric.name).values()), float)
        line = summary.loc[name]
        colour = GREY if name == SOURCE else BLUE
        axes.scatter(values, np.full(len(values), place + 0.16), s=7, color=PALE[colour], zorder=2)
        if np.isfinite([line["low"], line["high"]]).all():
            axes.plot([line["low"], line["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.scatter([line["mean"]], [place], s=22, color=colour, zorder=4)
    means = summary["mean"].to_dict()
    if np.isfinite(baseline := float(means.get(study.baseline, np.nan))):
        axes.axvline(baseline, color="#c9d1da", linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    axes.set_yticks(range(len(names)), names, fontsize=8.5, color=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(f"{metric.title} {metric.arrow}", fontsize=9.5, color=INK, loc="left", pad=5)
    _plain(axes)


def curve_figure(
    subjects: pd.DataFrame, summary: pd.DataFrame, study: Study, metrics: Sequence[ImageMetric]
) -> Figure | None:
    """The paper's figure 6: the mean over the subjects against the rows' places, with 95 % intervals.

    Args:
        subjects: of one level and region; each is a faint line.
        summary: of the same level and region.
        study: whose rows have places.
        metrics: those measured; the paper's four are shown, or the first four.

    Returns:
        None where the study has no axis, or fewer than two rows with a place have values.
    """
    there = {row.name: row.place for row in study.rows if row.place is not None and row.name in set(summary["row"])}
    measured = [metric for metric in metrics if metric.name in set(summary["metric"])]
    shown = [metric for metric in measured if metric.name in CURVE] or measured[:4]
    if not study.axis or len(there) < 2 or not shown:
        return None
    figure = blank_figure(2.9 * len(shown), 2.6)
    names = sorted(there, key=lambda name: there[name])
    places = [there[name] for name in names]
    for axes, metric in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        lines = summary[summary["metric"] == metric.name].set_index("row").loc[names]
        values = pd.DataFrame({name: by_subject(subjects, name, metric.name) for name in names})
        axes.plot(places, values.to_numpy().T, color="#dfe5eb", linewidth=0.7, zorder=1)
        arms = np.abs(lines[["low", "high"]].to_numpy().T - lines["mean"].to_numpy())
        axes.errorbar(
            places, lines["mean"], arms, color=BLUE, marker="o", markersize=4, linewidth=1.4, capsize=3, zorder=3
        )
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set_xlabel(study.axis, fontsize=8.5, color=INK)
        axes.set_title(f"{metric.title} {metric.arrow}", fontsize=9.5, color=INK, loc="left", pad=5)
        _plain(axes)
    figure.tight_layout(w_pad=1.4)
    return figure


def write_png(figure: Figure, path: Path, dpi: int = 130) -> Path:
    """The figure as PNG with a palette of 256 colours, a third of its size."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    with written_whole(path) as temporary:
        Image.open(buffer).convert("RGB").quantize(256).save(temporary, "PNG", optimize=True)
    return path


def blank_figure(width: float, height: float) -> Figure:
    """A white figure without a window, sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes) -> None:
    axes.tick_params(axis="both", labelsize=8, colors=FAINT, length=0)
    axes.grid(color="#eef1f4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#c9d1da")
