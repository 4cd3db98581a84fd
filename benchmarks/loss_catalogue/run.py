"""What each loss does when it is added to pix2pix: the same heads, the same order, the same budget.

    python benchmarks/loss_catalogue/run.py LOSSES

Trains pix2pix on the phantom cohort, measures how strongly every loss pulls at its output, gives each the weight that
pulls a given share as hard as pix2pix's own L1, and trains on from the same pix2pix with each, and with none (also in
other orders of the slices and with a nudge to L1's weight, to see what chance does). Writes LOSSES/losses.md and a
picture; a loss that is done is kept, so an interrupted run goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from catalogue import AGAIN, NUDGED, PLAIN
from pull import weights_of
from reading import draw, effects, table
from segmenter import train_segmenter
from study import Study, train_start
from training import run_entry


def main(
    folder: Annotated[Path, typer.Argument(help="Where results go; a finished loss is not trained again.")],
    bundle: Annotated[Path, typer.Option(help="A pix2pix bundle.")] = Path("bundles/pix2pix"),
    losses: Annotated[str, typer.Option(help="Names, separated by commas; all by default.")] = "",
    start: Annotated[int, typer.Option(help="Epochs of the pix2pix that all go on from.")] = 8,
    epochs: Annotated[int, typer.Option(help="Epochs that each goes on for.")] = 2,
    share: Annotated[float, typer.Option(help="How hard an added loss pulls, relative to 100·L1.")] = 0.5,
    repeats: Annotated[int, typer.Option(help="Timed steps.")] = 12,
    settings: Annotated[list[str] | None, typer.Option("--set", help="id=value of the bundle; repeatable.")] = None,
) -> None:
    """Train, measure, print a table, draw."""
    small: dict[str, Any] = {
        "image_size": [64, 64], "network_def::channels": [16, 32, 64, 64], "discriminator_def::channels": 16,
        "learning_rate": 1e-3, "precision": "fp32", "device": "$torch.device('cpu')", "num_workers": 0,
        "phantom": {"subjects": 40, "spacing": 3.5, "modalities": ["T1", "T2"]},
    }  # fmt: skip
    for setting in settings or []:
        key, _, value = setting.partition("=")
        small[key] = json.loads(value) if value[:1] in "[{0123456789" else value
    torch.set_num_threads(1)
    study = Study(folder, bundle, small, start, epochs)
    chosen = [name.strip() for name in losses.split(",") if name.strip()] or list(study.entries)
    if unknown := set(chosen) - set(study.entries):
        raise typer.BadParameter(f"no loss {sorted(unknown)}: choose from {', '.join(study.entries)}")
    train_segmenter(study, steps=40 * start)
    train_start(study)
    weights = weights_of(study, [n for n in chosen if study.entries[n].config and n not in NUDGED], share)
    records = {name: run_entry(study, name, NUDGED.get(name, 0.0), repeats) for name in (PLAIN, *AGAIN, *NUDGED)}
    for name, found in weights.items():
        records[name] = run_entry(study, name, found["weight"], repeats)
        typer.echo(f"{name}: weight {found['weight']:g}, {'trained' if study.entries[name].trained else 'measured'}")
    text = f"{effects(study, records)}\n\n{table(study, weights, records)}"
    (folder / "losses.md").write_text(text + "\n", encoding="utf-8")
    typer.echo(f"\n{start} epochs of pix2pix, then {epochs} ({records['pix2pix']['steps']} steps) each\n\n{text}")
    shown = [name for name in records if study.entries[name].trained and name not in (AGAIN[1], [*NUDGED][1])]
    draw(study, shown, folder / "losses_added.png")


if __name__ == "__main__":
    typer.run(main)
