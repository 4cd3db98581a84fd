"""A healthy CycleGAN and two that fail, on phantoms: what their pictures, columns and warnings look like.

    python benchmarks/gan_failures.py RESULTS

Each run is ``monai.bundle run training`` on the bundle cyclegan, small enough for a minute or two of one CPU core, with
the settings below. RESULTS gets a folder a run with its log, a picture of its last validation, and the curves of all.
A run whose folder holds a finished log is not trained again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import matplotlib
import pandas as pd
import typer
from PIL import Image

matplotlib.use("Agg")
BUNDLE = Path(__file__).parents[1] / "bundles/cyclegan"
SMALL = {
    "phantom": {"subjects": 12, "spacing": 4.5, "modalities": ["T1", "T2"]},
    "image_size": [48, 48],
    "network_def::channels": 16,
    "network_def::blocks": 3,
    "discriminator_def::channels": 32,
    "discriminator_def::layers": 2,
    "batch_size": 4,
    "val_every": 1,
    "num_workers": 0,
    "threads": 1,
}
RUNS: dict[str, dict[str, object]] = {
    "healthy": {},
    "no_cycle": {"losses::cycle::weight": 0, "losses::identity::weight": 0},
    "flipped": {"losses::adversarial::weight": -1},
}
TITLES = {
    "healthy": "healthy",
    "no_cycle": "without cycle and identity loss",
    "flipped": "adversarial loss with the wrong sign",
}
COLOURS = {"healthy": "#2364aa", "no_cycle": "#d1495b", "flipped": "#e8a33d"}
FINISHED = "finished.txt"


def train(name: str, folder: Path, epochs: int, settings: dict[str, object]) -> None:
    """One run, with its log in ``folder/log.txt``."""
    if (folder / FINISHED).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.json").write_text(json.dumps(SMALL | RUNS[name] | settings | {"max_epochs": epochs}, indent=2))
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file"]
    words += [f"['{BUNDLE / 'train.json'}','{folder / 'small.json'}']"]
    words += ["--ckpt_dir", str(folder / "models"), "--output_dir", str(folder / "eval")]
    with (folder / "log.txt").open("w") as log:
        subprocess.run(words, stdout=log, stderr=log, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (folder / FINISHED).touch()


def warnings_of(folder: Path) -> list[str]:
    """The lines of the log that warn, from their epoch on."""
    lines = (folder / "log.txt").read_text().splitlines()
    return [line.split("warning: ", 1)[1].split(" (docs")[0] for line in lines if "warning: epoch" in line]


def draw_picture(folder: Path, path: Path, samples: int = 2) -> None:
    """The first samples of the last validation, twice as large."""
    last = sorted((folder / "eval/pictures").glob("epoch_*.png"))[-1]
    grid = Image.open(last).convert("L")
    height = 2 + (grid.height - 2) // 4 * samples
    grid = grid.crop((0, 0, grid.width, height))
    grid.resize((2 * grid.width, 2 * grid.height), Image.Resampling.BICUBIC).save(path, optimize=True)


def draw_curves(folders: dict[str, Path], path: Path) -> None:
    """What the columns of all runs look like: an epoch a point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), dpi=100, layout="constrained")
    accuracy, information, diversity = figure.subplots(1, 3)
    for name, folder in folders.items():
        steps = pd.read_csv(folder / "eval/losses.csv").groupby("epoch").mean()
        epochs = pd.read_csv(folder / "eval/validation.csv").set_index("epoch")
        of_target = [f"discriminator_of_target_accuracy_{what}" for what in ("real", "synthetic")]
        accuracy.plot(steps[of_target].mean(axis=1), color=COLOURS[name], label=TITLES[name])
        information.plot(epochs["source_information"], color=COLOURS[name])
        diversity.plot(epochs["diversity"], color=COLOURS[name])
    accuracy.set_title("accuracy of discriminator_of_target", fontsize=9)
    information.set_title("source_information, nats", fontsize=9)
    diversity.set_title("diversity", fontsize=9)
    for panel in (accuracy, information, diversity):
        panel.set_xlabel("epoch", fontsize=8)
        panel.tick_params(labelsize=8)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path)


def main(
    results: Annotated[Path, typer.Argument(help="Folder for runs and pictures.")],
    epochs: Annotated[int, typer.Option(help="Of each run.")] = 6,
    runs: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(RUNS),
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value, other settings for all runs.")] = None,
) -> None:
    """Train the runs and draw what became of them."""
    settings = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in set_ or [])}
    folders = {name: results / name for name in runs.split(",")}
    for name, folder in folders.items():
        train(name, folder, epochs, settings)
        draw_picture(folder, results / f"watching-{name.replace('_', '-')}.png")
        last = pd.read_csv(folder / "eval/validation.csv").iloc[-1]
        typer.echo(f"{name}: " + ", ".join(f"{c} {last[c]:.2f}" for c in ("psnr", "diversity", "source_information")))
        for line in warnings_of(folder):
            typer.echo(f"    {line}")
    draw_curves(folders, results / "watching-curves.png")


if __name__ == "__main__":
    typer.run(main)
