"""What is the same for every row: data, budget, modalities, metrics; and the hash of what decides a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrans import __version__
from medtrans.benchmark.study import Row, find_overlay
from medtrans.bundle import check_keys
from medtrans.cohorts import Cases, default_phantom_dataset
from medtrans.cohorts.exclusion import FILE as EXCLUDED
from medtrans.errors import InputError
from medtrans.files import file_hash

PHANTOMS = 40  # heads of the cohort that is made where no data set is given: 28 train, 6 validate, 6 test
OWN = "benchmark.json"  # the overlay that a run writes for itself


@dataclass(frozen=True)
class Budget:
    """How long each row trains; exactly one of the three.

    Args:
        epochs: passes through the training data.
        steps: batches.
        minutes: of training steps, without data loading and validation.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1 or min(given.values()) <= 0:
            problem = "is not given" if not given else f"is {' and '.join(f'{v:g} {k}' for k, v in given.items())}"
            raise InputError("the budget", problem, "Give one of --epochs, --steps and --minutes, more than 0")

    def __str__(self) -> str:
        name, value = next((name, value) for name, value in vars(self).items() if value is not None)
        return f"{value:g} {name if value != 1 else name.removesuffix('s')}"

    def overlay(self) -> dict[str, Any]:
        """The config entries that give a training this budget."""
        log = {"_target_": "medtrans.engines.StepLog", "path": "$@output_dir + '/steps.csv'"}
        handlers: list[Any] = ["@step_log"]
        if self.epochs is None:
            limit = {"steps": self.steps} if self.steps else {"minutes": self.minutes}
            handlers.append({"_target_": "medtrans.engines.StepBudget", "log": "@step_log", **limit})
        # without a number of epochs, more than enough of them: the budget ends the run
        epochs = self.epochs or (f"$-(-{self.steps} // len(@train::dataloader))" if self.steps else 1_000_000)
        return {"max_epochs": epochs, "step_log": log, "+train::handlers": handlers}


@dataclass(frozen=True)
class Conditions:
    """What every row shares.

    Args:
        dataset: the data set's folder.
        budget: how long each row trains.
        source, target: modality; None leaves the bundles' own.
        overlays: names of configs merged over each bundle's ``train.json``, before the row's own.
        settings: config id -> value, before the row's own.
        metrics: names, see :mod:`medtrans.metrics`.
        lpips_weights: file of the AlexNet weights.
        split: whose subjects are judged.
    """

    dataset: Path
    budget: Budget
    source: str | None = None
    target: str | None = None
    overlays: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    lpips_weights: Path | None = None
    split: str = "test"

    def files(self, row: Row) -> list[Path]:
        """The row's configs: ``train.json``, those of every row, its own.

        Raises:
            InputError: the bundle has no config of a name that every row takes.
        """
        shared = [find_overlay(name, row.bundle) for name in self.overlays]
        return [row.bundle / "configs" / "train.json", *shared, *row.overlays]

    def values(self, row: Row, seed: int) -> dict[str, Any]:
        """The settings of one run, without the places of its files; ids are written as configs write them."""
        modalities = {k: v for k, v in (("source", self.source), ("target", self.target)) if v is not None}
        given = {**self.settings, **row.settings}
        return {**modalities, **{k.replace("#", "::"): v for k, v in given.items()}, "seed": seed}

    def check(self, row: Row) -> None:
        """Refuse, before anything is trained, what a bundle would refuse.

        Raises:
            InputError: an overlay is absent, or a key is misspelt.
        """
        check_keys([str(file) for file in self.files(row)], self.values(row, 0))


def merged_config(files: list[Path], values: Mapping[str, Any]) -> dict[str, Any]:
    """The config that ``monai.bundle`` makes of the files and settings, references not yet resolved."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(ConfigParser.load_config_files([str(file) for file in files]))
    for key, value in values.items():
        parser[key] = value
    return json.loads(json.dumps(parser.get(), default=str))


def dataset_key(dataset: Path) -> str:
    """Changes with the tables of a data set, and with size or date of any volume.

    Raises:
        InputError: it is no data set.
    """
    digest = hashlib.sha256()
    for name in ("cases.csv", "recipe.json", EXCLUDED):
        if (dataset / name).is_file():
            digest.update(file_hash(dataset / name).encode())
    for case in Cases.read(dataset):
        for path in [*case.volumes.values(), *([case.mask] if case.mask else [])]:
            digest.update(f"{path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def run_key(conditions: Conditions, row: Row, seed: int, data: str) -> str:
    """Changes with all that decides a trained model: config, settings, seed, budget and data; not with names."""
    config = merged_config(conditions.files(row), conditions.values(row, seed))
    inference = file_hash(row.bundle / "configs" / "inference.json")
    text = json.dumps([__version__, config, inference, vars(conditions.budget), data, conditions.split], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def phantom_dataset(row: Row, overlays: tuple[str, ...], source: str | None, target: str | None) -> Path:
    """The cohort of phantoms that ``row`` would train on by itself, with :data:`PHANTOMS` heads."""
    files = Conditions(Path(), Budget(epochs=1), overlays=overlays).files(row)
    config = merged_config(files, {})
    settings = dict(config.get("phantom") or {})
    wanted = [source or config.get("source", "T1"), target or config.get("target", "T2")]
    names = [name for entry in wanted for name in ([entry] if isinstance(entry, str) else entry)]
    return default_phantom_dataset(
        PHANTOMS, float(settings.get("spacing", 1.0)), list(dict.fromkeys(names)), int(settings.get("seed", 0))
    )
