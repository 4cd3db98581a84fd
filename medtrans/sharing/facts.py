"""What is known of a trained bundle: its data, its training, how good it was, its weights; no case, subject or path."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medtrans.cohorts import read_modalities
from medtrans.errors import InputError
from medtrans.files import file_hash
from medtrans.sharing.contents import refuse_private_paths
from medtrans.weights import read_weights

PRIVATE = ("dataset_dir", "target_dataset_dir", "val_dataset_dir")
PACKAGES = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}


@dataclass(frozen=True)
class Facts:
    """See :func:`facts_of`.

    Attributes:
        modalities: models/modalities.json without paths, with the hashes of the weights.
        weights: file name -> SHA-256.
        training: what the checkpoint says of the run; empty without one.
        validation: the kept epoch's row of validation.csv; empty without one.
        evaluation: rows of an evaluation's summary.csv over whole volumes; empty without one.
    """

    modalities: dict[str, Any]
    weights: dict[str, str]
    training: dict[str, Any]
    validation: dict[str, float]
    evaluation: tuple[dict[str, str], ...]

    @property
    def settings(self) -> dict[str, Any]:
        """Of images and network, as trained."""
        return self.modalities.get("settings") or {}


def facts_of(models: Path, files: list[str], training: Path, report: Path | None) -> Facts:
    """Gather what is known.

    Args:
        models: folder of the weights and modalities.json.
        files: names of the weights in it.
        training: folder with validation.csv, if there is one.
        report: folder of `medtrans evaluate`, if there is one.

    Raises:
        InputError: the bundle is not trained, or the report is of other weights.
    """
    for name in files:
        if not (models / name).is_file():
            raise InputError(models / name, "does not exist: the bundle is not trained", "Train it, then pack it")
    weights = {name: file_hash(models / name) for name in files}
    run = _run(models / "checkpoint.pt")
    return Facts(
        _modalities(models / "modalities.json", weights),
        weights,
        run,
        _validation(training / "validation.csv", run),
        _evaluation(report, weights) if report else (),
    )


def _modalities(path: Path, weights: Mapping[str, str]) -> dict[str, Any]:
    """The contract between training and inference, fit to be shown."""
    known = read_modalities(path)
    settings = {key: value for key, value in (known.get("settings") or {}).items() if key not in PRIVATE}
    known = {**known, "settings": settings, "weights": dict(weights)}
    refuse_private_paths(json.dumps(known), path)
    return known


def _run(checkpoint: Path) -> dict[str, Any]:
    """Identity, length and best epoch of the run that a checkpoint tells of."""
    if not checkpoint.is_file():
        return {}
    run = read_weights(checkpoint, mapped=True).get("run", {})
    refuse_private_paths(json.dumps(run.get("identity", {})), checkpoint)
    return dict(run)


def _validation(table: Path, run: Mapping[str, Any]) -> dict[str, float]:
    """The row of the epoch whose weights were kept: the checkpoint's best, else the best of the first metric."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    if not rows:
        return {}
    best = run.get("best_metric_epoch")
    kept = [row for row in rows if row.get("epoch") == best]
    first = next((key for key in rows[0] if key != "epoch"), "epoch")
    return kept[-1] if kept else max(rows, key=lambda row: row.get(first, float("-inf")))


def _evaluation(report: Path, weights: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    """Means over whole volumes of the synthetic images, inside the body mask where there is one."""
    table = report / "summary.csv"
    if not table.is_file():
        raise InputError(report, "is no report (it has no summary.csv)", "Give what `medtrans evaluate` wrote")
    for sidecar in sorted(report.glob("synthetic/*.json")):
        made = json.loads(sidecar.read_text(encoding="utf-8")).get("synthesis", {})
        if made.get("model_sha256") not in (None, *weights.values()):
            raise InputError(report, "is of volumes that other weights made", "Evaluate these weights")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["level"] == "volume" and row["image"] == "synthetic"]
    masked = [row for row in rows if row["region"] == "mask"]
    return tuple(row for row in masked or rows if row["mean"])


def installed(package: str) -> str:
    """Version of a package; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
