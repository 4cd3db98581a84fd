"""The tables and the picture of what came of all trainings."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from catalogue import AGAIN, NUDGED, PLAIN
from loss_effects import change
from matplotlib.figure import Figure
from PIL import Image
from pull import L1_WEIGHT
from study import Study

from medtrans.files import written_whole

TABLE = {
    "PSNR": ".2f",
    "SSIM": ".3f",
    "MAE": ".4f",
    "sharpness": ".2f",
    "tissue Dice": ".3f",
    "histogram distance": ".3f",
}


def table(study: Study, weights: dict[str, dict[str, float]], records: dict[str, dict[str, Any]]) -> str:
    """Markdown: weight, gradient, time of a step, and means over the held-out heads."""
    lines = ["| " + " | ".join(["loss", "weight", "pull at weight 1", "pull here", "step", *TABLE]) + " |"]
    lines.append("|---|" + "---:|" * (4 + len(TABLE)))
    for name, record in records.items():
        found, ratio = weights.get(name), record["step_ratio"]
        two_digits = float(f"{found['ratio'] if found else 0:.2g}")
        pull = ("", "", "") if found is None else (
            f"{found['weight']:g}", f"{two_digits:g}", f"{found['weight'] * found['ratio'] / L1_WEIGHT:.0%}"
        )  # fmt: skip
        heads = record.get("heads")
        quality = [format(np.nanmean([*heads[key].values()]), how) if heads else "–" for key, how in TABLE.items()]
        lines.append(f"| {' | '.join([name, *pull, f'×{ratio:.2f}', *quality])} |")
    return "\n".join(lines)


def effects(study: Study, records: dict[str, dict[str, Any]]) -> str:
    """Markdown: the property that each loss is meant to change and its own value, against plain pix2pix."""
    plain = records[PLAIN]["heads"]
    controls = [[records[name]["heads"] for name in names] for names in (NUDGED, AGAIN)]
    head = ["loss", "meant to change", "pix2pix", "with it", "difference [95 %]", "nudge", "order", "visible"]
    lines = [f"| {' | '.join([*head, 'own value', 'visible'])} |", "|---|---|---:|---:|---|---:|---:|---|---|---|"]
    for name, record in records.items():
        meant, heads = study.entries[name].meant, record.get("heads")
        if not meant or not heads:
            continue
        found, own = (
            change(heads[key], plain[key], *([run[key] for run in runs] for runs in controls)) if key in heads else None
            for key in (meant, f"own {name}")
        )
        assert found is not None
        moved = found.difference
        cells = [name, meant, f"{found.plain:.4g}", f"{found.plain + moved.mean:.4g}"]
        cells += [
            f"{moved.mean:+.2g} [{moved.low:+.2g}, {moved.high:+.2g}]",
            f"{found.nudge:.2g}",
            f"{found.order:.2g}",
        ]
        cells.append(found.visible)
        cells += ["–", "–"] if own is None else [
            f"{own.difference.mean / own.plain:+.1%} [{own.difference.low / own.plain:+.1%}, "
            f"{own.difference.high / own.plain:+.1%}]", own.visible
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(study: Study, names: list[str], path: Path, columns: int = 8) -> None:
    """Output, a detail of it, and what the loss changed, five times as strong; source and target first."""
    slices = {name: np.load(study.folder / name.replace(" ", "_") / "slice.npz") for name in names}
    plain = slices[PLAIN]
    corner = [slice(max(0, at.min() - 1), at.max() + 2) for at in np.nonzero(plain["target"] > -0.9)]
    detail = [slice(at.start + (at.stop - at.start) // 3, at.stop - (at.stop - at.start) // 4) for at in corner]
    panels = [("source", plain["source"], None), ("target", plain["target"], None)]
    panels += [
        (n, arrays["found"], None if n == PLAIN else arrays["found"] - plain["found"]) for n, arrays in slices.items()
    ]
    rows = math.ceil(len(panels) / columns)
    height, width = (place.stop - place.start for place in reversed(corner))
    figure = Figure(figsize=(1.2 * columns, 3 * rows * 1.2 * height / width + 0.25 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(3 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, (name, output, changed) in enumerate(panels):
        row, column = divmod(index, columns)
        for below, (image, place, limit) in enumerate(
            ((output, corner, 1.0), (output, detail, 1.0), (changed, corner, 0.2))
        ):
            if image is None:
                continue
            shown = image[tuple(place)].T[::-1]
            axis, colours = axes[3 * row + below][column], "RdBu_r" if below == 2 else "gray"
            axis.imshow(shown, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
        axes[3 * row][column].set_title(name, fontsize=8, pad=2)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=85, facecolor="white")
    with written_whole(path) as temporary:  # 96 colours do, and make a small file
        Image.open(drawn).convert("RGB").quantize(96).save(temporary, format="png", optimize=True)
