"""Distribution of every metric over the cases: a box and a dot per case, synthetic beside the untranslated source."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medtrans.metrics import ImageMetric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"synthetic": "#2364aa", "source": "#9aa5b1"}
INK, FAINT = "#1d2733", "#6b7785"
PER_ROW = 4


def distribution_plot(cases: pd.DataFrame, metrics: Sequence[ImageMetric], unit: str) -> str:
    """One panel a metric, as inline SVG; metrics without a finite value are left out.

    Args:
        cases: rows of one level and region of the case table.
        metrics: what to show.
        unit: the target's unit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [metric for metric in metrics if np.isfinite(cases[metric.name]).any()]
    if not shown:
        return ""
    rows = -(-len(shown) // PER_ROW)
    figure = Figure(figsize=(2.75 * PER_ROW, 2.35 * rows), facecolor="none")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, PER_ROW, squeeze=False).flatten()
    for axes, metric in zip(panels, shown, strict=False):
        _panel(axes, cases, metric, unit)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.tight_layout(h_pad=1.6, w_pad=1.4)
    return svg(figure)


def _panel(axes: Axes, cases: pd.DataFrame, metric: ImageMetric, unit: str) -> None:
    images = [image for image in COLOURS if image in set(cases["image"])]
    wide = cases.pivot(index="case", columns="image", values=metric.name).replace([np.inf, -np.inf], np.nan)
    spread = np.random.default_rng(0).uniform(-0.09, 0.09, size=len(wide))  # so that dots do not hide each other
    if len(images) == 2:
        for offset, (_, row) in zip(spread, wide.iterrows(), strict=True):
            axes.plot([offset, 1 + offset], row[images], color="#d5dbe1", linewidth=0.6, zorder=1)
    for place, image in enumerate(images):
        values = wide[image].to_numpy()
        finite = values[np.isfinite(values)]
        if len(finite) >= 5:
            axes.boxplot(finite, positions=[place], widths=0.46, showfliers=False, zorder=2, **_box(COLOURS[image]))
        axes.scatter(place + spread, values, s=13, color=COLOURS[image], alpha=0.75, linewidths=0, zorder=3)
    axes.set_xlim(-0.55, len(images) - 0.45)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}")
    axes.set_xticks(range(len(images)), images, fontsize=8.5, color=INK)
    axes.tick_params(axis="y", labelsize=8, colors=FAINT, length=0)
    axes.tick_params(axis="x", length=0, pad=5)
    axes.grid(axis="y", color="#e8ecf0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#c9d1da")
    in_unit = metric.unit_in(unit)
    axes.set_title(
        f"{metric.title}{f' [{in_unit}]' if in_unit else ''} {metric.arrow}", fontsize=9.5, color=INK, loc="left", pad=7
    )


def _box(colour: str) -> dict[str, Any]:
    line = {"color": colour, "linewidth": 1.1}
    return {"boxprops": line, "whiskerprops": line, "capprops": line, "medianprops": line | {"linewidth": 2.0}}


def svg(figure: Any) -> str:
    """The figure as an ``<svg>`` element that scales with the page and keeps its text as text."""
    import matplotlib

    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "medtrans", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
