"""Does the score of a validation without pairs rank models as PSNR against pairs does? Healthy runs and broken ones.

    python benchmarks/unpaired_score.py RESULTS

Trains quick bundles on phantoms, whole and with a fault, and judges six states of each on the held-out heads, whose
pairs the score does not see. RESULTS gets a folder a run, and ``models.csv``. What lies there is not done again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from scipy.stats import spearmanr, wasserstein_distance
from torch import Tensor

from medtrans.cohorts import EpochDataset, slice_items
from medtrans.engines import FeatureVectors, FrechetDistance, unpaired_score
from medtrans.networks import RandomFeatures

BUNDLES = Path(__file__).parents[1] / "bundles"
LENGTH = {"cyclegan": (2, 60), "unit": (4, 75)}  # epochs, and steps of each
FAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "cyclegan": {
        "healthy": {},
        "no_adversary": {"losses::adversarial::weight": 0.0},
        "no_cycle": {"losses::cycle::weight": 0.0},
    },
    "unit": {
        "healthy": {},
        "no_adversary": {"losses::adversarial::weight": 0.0},
        "no_cycle": {f"losses::{n}::weight": 0.0 for n in ("cycle", "cycle_divergence", "divergence")},
        "unshared": {"network_def::shared_blocks": 0},
    },
}
STATES, JUDGED = 6, "judged.csv"
Translate = Callable[[Tensor], Tensor]


def begin(bundle: str, folder: Path, seed: int, steps: int | None, settings: dict[str, Any]) -> ConfigWorkflow:
    """The training of a quick bundle, validated without pairs, as it would be started by its command."""
    names = ("train.json", "quick.json", "unpaired_validation.json")
    epochs, length = LENGTH[bundle]
    brief: dict[str, Any] = {"max_epochs": epochs, "train::trainer::epoch_length": steps or length}
    brief |= {"seed": seed, "threads": 1}
    outputs = {"ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval")}
    files = [str(BUNDLES / bundle / "configs" / name) for name in names]
    flow = ConfigWorkflow(files, workflow_type="train", logging_file=False, **brief, **outputs, **settings)
    flow.initialize()
    return flow


def held_out(flow: ConfigWorkflow) -> tuple[Tensor, Tensor]:
    """Source and target slices of the test heads, ``(N, 1, *image_size)``, pair by pair."""
    cohort = flow.parser.get_parsed_content("cohort")
    items = slice_items(cohort, "T1", "T2", "test", minimum_foreground=0.05)
    read = EpochDataset(items, flow.parser.get_parsed_content("validate::preprocessing"))
    loaded = [read[index] for index in range(len(read))]
    source, target = (torch.stack([item[key] for item in loaded]) for key in ("source", "target"))
    return source, target


def psnr(synthetic: Tensor, target: Tensor) -> float:
    """Mean over slices, in dB, of the [-1, 1] range."""
    return float((10 * torch.log10(4 / (synthetic - target).square().mean((1, 2, 3)))).mean())


def judge(to_target: Translate, to_source: Translate, source: Tensor, target: Tensor) -> dict[str, float]:
    """PSNR against the pairs, and what does not need them, means of both ways."""

    def over(translate: Translate, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([translate(part) for part in images.split(16)])

    there, back = over(to_target, source), over(to_source, target)
    errors = [
        float((over(f, x) - y).abs().mean()) for f, x, y in ((to_source, there, source), (to_target, back, target))
    ]
    vectors = FeatureVectors(RandomFeatures())
    distance = lambda one, other: FrechetDistance.distance(vectors(list(one)), vectors(list(other)))  # noqa: E731
    frechet, between = (distance(there, target), distance(back, source)), distance(source, target)
    unrelated = float((source.roll(len(source) // 2, 0) - target).abs().mean())
    apart = wasserstein_distance(np.ravel(source), np.ravel(target))
    moved = [wasserstein_distance(np.ravel(a), np.ravel(b)) / apart for a, b in ((there, target), (back, source))]
    return {
        "psnr": (psnr(there, target) + psnr(back, source)) / 2,
        "score": unpaired_score(frechet[0], frechet[1], between, errors[0], errors[1], unrelated),
        "frechet": sum(math.sqrt(f / between) for f in frechet) / 2,
        "cycle": sum(errors) / 2,
        "intensities": sum(moved) / 2,
    }


def train_and_judge(bundle: str, folder: Path, seed: int, steps: int | None, settings: dict[str, Any]) -> pd.DataFrame:
    """The states of one run, a row each."""
    if (folder / JUDGED).is_file():
        return pd.read_csv(folder / JUDGED)
    flow = begin(bundle, folder, seed, steps, settings)
    source, target = held_out(flow)
    network, to_source = (flow.parser.get_parsed_content(name) for name in ("network", "to_source"))
    trainer = flow.parser.get_parsed_content("train::trainer")
    every = max(1, LENGTH[bundle][0] * (steps or LENGTH[bundle][1]) // STATES)
    rows: list[dict[str, float]] = []

    def look(engine: Any) -> None:
        trainer.method.eval()
        rows.append({"step": engine.state.iteration, **judge(network, to_source, source, target)})

    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), look)
    flow.run()
    found = pd.DataFrame(rows)
    found.to_csv(folder / JUDGED, index=False)
    return found


def report(models: pd.DataFrame) -> None:
    """The last state of each run; rank correlations of score and PSNR over the states of a run, and over the runs."""
    last = models.groupby(["bundle", "fault", "seed"], sort=False).last().drop(columns="step")
    typer.echo(last.round(3).to_string())
    for run, states in models.groupby(["bundle", "fault", "seed"], sort=False):
        if len(states) > 2:
            typer.echo(f"{' '.join(map(str, run))}, over {len(states)} states: {_correlation(states)}")
    for bundle, runs in last.groupby("bundle", sort=False):
        if len(runs) > 2:
            typer.echo(f"{bundle!s}, over the ends of {len(runs)} runs: {_correlation(runs)}")


def _correlation(states: pd.DataFrame) -> str:
    names = {"score": 1, "frechet": -1, "cycle": -1}
    return ", ".join(f"{n} {sign * spearmanr(states['psnr'], states[n]).statistic:.2f}" for n, sign in names.items())


def main(
    results: Annotated[Path, typer.Argument(help="Folder for the runs.")],
    seeds: Annotated[int, typer.Option(help="Runs of each kind.")] = 2,
    bundles: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(FAULTS),
    steps: Annotated[int | None, typer.Option(help="Of an epoch; those of the tests of learning otherwise.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value, other settings for all runs.")] = None,
) -> None:
    """Train the runs, judge their states and print how score and PSNR agree."""
    settings = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in set_ or [])}
    found = []
    for bundle in bundles.split(","):
        for fault, broken in FAULTS[bundle].items():
            for seed in range(seeds):
                folder = results / f"{bundle}-{fault}-{seed}"
                states = train_and_judge(bundle, folder, seed, steps, broken | settings)
                found.append(states.assign(bundle=bundle, fault=fault, seed=seed))
    models = pd.concat(found)
    models.to_csv(results / "models.csv", index=False)
    report(models)


if __name__ == "__main__":
    typer.run(main)
