"""A bundle trained on pairs of volumes: prepared, trained beside the bundle's own model, gone on with when killed."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medtrans.bundle import check_keys
from medtrans.cohorts.modalities import read_modalities, recorded_settings
from medtrans.errors import InputError, input_error_behind
from medtrans.files import check_writable, file_hash, written_whole
from medtrans.label.beginning import chosen_overlays, config_files, from_weights, of_images, overruled, said_in
from medtrans.label.options import TrainingOptions
from medtrans.label.pair_data import DATA_SET, prepare_pairs
from medtrans.label.pair_recipe import PairRecipe, given_recipe, trained_recipe
from medtrans.label.pairs import PairedCase, paired_cases

CHECKPOINT_EVERY = 1000  # steps: an epoch of a large data set is hours; it changes no result
LATEST = "latest.json"
DEFAULTS = TrainingOptions()
logger = logging.getLogger(__name__)


def train_on_pairs(
    bundle: str | Path,
    models: str | Path,
    pairs: Sequence[Mapping[str, Any]],
    work: str | Path,
    options: TrainingOptions = DEFAULTS,
) -> dict[str, Any]:
    """Prepare pairs of volumes as a data set and train a bundle on it, in this process.

    Everything is written below ``work``, in a folder named by a hash of what decides the result: the same call goes on
    where a killed one stopped, another one begins anew. The bundle's own folder and models are only read.

    Args:
        bundle: the bundle's folder.
        models: its ``ckpt_dir``, which may be empty.
        pairs: see :func:`medtrans.label.pairs.paired_cases`.
        work: folder of this bundle's trainings.
        options: see :class:`TrainingOptions`.

    Returns:
        JSON-ready: ``model`` and ``models`` (path and folder of the weights, the inference's ``ckpt_dir``), ``epochs``,
        ``best_epoch``, ``metrics`` (of its validation, on [-1, 1]; null where undefined), ``key_metric``,
        ``pretrained`` (whether it began with the bundle's weights), ``metrics_before`` (of these weights, on the same
        subjects; null where it did not), ``training_subjects``, ``validation_subjects``,
        ``failed`` (``[{"case", "reason"}]``: pairs that could not be used), ``overruled`` (config ids that overlays or
        settings choose, but for which the bundle's weights need another value: ``{"chosen", "taken"}`` of each),
        ``seconds`` of this call.

    Raises:
        InputError: there is no recipe for the pairs, too few of them can be used, a setting is refused, another
            training is running in its folder, or a rule of the config stopped the training.
    """
    start = time.perf_counter()
    training = _Training.planned(Path(bundle), Path(models), paired_cases(pairs), Path(work), options)
    check_writable(training.folder)
    training.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(training.folder / ".lock", timeout=0):
            stats = training.run() | {"seconds": round(time.perf_counter() - start, 1)}
            _write(training.folder / "stats.json", stats)
    except Timeout as error:
        problem = "is being trained by another process"
        raise InputError(training.folder, problem, "Wait for it, or stop it") from error
    _write(Path(work) / LATEST, {"training": training.folder.name, "models": Path(stats["models"]).name})
    return stats


def latest_models(work: str | Path) -> Path | None:
    """The ``ckpt_dir`` of the training that ended last; None before one did."""
    latest = _latest(Path(work))
    models = latest and latest[1]
    return models if models and all((models / name).is_file() for name in ("model.pt", "modalities.json")) else None


def latest_stats(work: str | Path) -> dict[str, Any] | None:
    """What :func:`train_on_pairs` returned for that training; None before one ended."""
    latest = _latest(Path(work))
    return latest and _read(latest[0] / "stats.json")


def _latest(work: Path) -> tuple[Path, Path] | None:
    """The folder of the training that ended last, and that of its models."""
    record = _read(work / LATEST) or {}
    names = str(record.get("training") or ""), str(record.get("models") or "models")
    plain = all(name and Path(name).name == name for name in names)
    return (work / names[0], work / names[0] / names[1]) if plain else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Training:
    """One training, planned: what goes in, and the folder that its hash names."""

    recipe: PairRecipe
    cases: Sequence[PairedCase]
    files: Sequence[str]
    settings: Mapping[str, Any]
    pretrained: bool
    overruled: Mapping[str, Any]
    options: TrainingOptions
    folder: Path

    @classmethod
    def planned(
        cls, bundle: Path, models: Path, cases: Sequence[PairedCase], work: Path, options: TrainingOptions
    ) -> _Training:
        """Find out what is to be done, and whether it can be."""
        bundle, models, contract = bundle.resolve(), models.resolve(), models.resolve() / "modalities.json"
        recorded = recorded_settings(contract)
        overlays = chosen_overlays(bundle, options.overlays)
        files = config_files(bundle, overlays, recorded)
        chosen = said_in(overlays) | dict(options.settings)
        recipe = _recipe(bundle, contract, files, options, chosen)
        pretrained = options.pretrained and contract.is_file() and (models / "model.pt").is_file()
        trained = of_images(recorded, () if pretrained else overlays)
        settings = {"checkpoint_every": CHECKPOINT_EVERY, **(trained if pretrained or not options.recipe else {})}
        settings |= {**options.settings, **(from_weights(files, models, recorded) if pretrained else {})}
        unheard = overruled(chosen, settings, recorded) if pretrained else {}
        settings |= {"source": recipe.source, "target": recipe.target, "bundle_root": str(bundle)}
        if options.max_epochs is not None:
            settings["max_epochs"] = options.max_epochs
        check_keys(files, settings)
        weights = [file_hash(path) for path in settings.get("pretrained", {}).values()]
        decides = [recipe.record, [case.stamp() for case in cases], [file_hash(file) for file in files]]
        text = json.dumps([decides, weights, settings, options.val_split], sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        return cls(recipe, cases, files, settings, pretrained, unheard, options, work.expanduser().resolve() / name)

    def run(self) -> dict[str, Any]:
        """Prepare and train; returns the stats."""
        for key, values in self.overruled.items():
            told = key, values["chosen"], values["taken"]
            logger.warning("%s %s is not taken, the weights need %s: to choose it, train with pretrained false", *told)
        data = prepare_pairs(self.cases, self.recipe, self.folder, self.options.val_split, self.options.workers)
        of_this = data.training_subjects, data.validation_subjects, self.folder.name
        logger.info("%d subjects train, %d validate; training %s", *of_this)
        counts = {"training_subjects": data.training_subjects, "validation_subjects": data.validation_subjects}
        before = self._metrics_before(data.root) if self.pretrained else None
        stats = self._stats(self._carried_out(self._workflow(data.root)))
        return stats | {"metrics_before": before} | counts | {"failed": data.failed, "overruled": dict(self.overruled)}

    def _place(self, kind: str) -> Path:
        """The folder of ``"models"`` or ``"eval"`` for the pairs that could be prepared.

        A pair that failed in passing may be among them when the training goes on: it then is another training.
        """
        with (self.folder / DATA_SET / "cases.csv").open(newline="", encoding="utf-8") as file:
            sides = sorted((row["case"], row["split"]) for row in csv.DictReader(file))
        return self.folder / f"{kind}-{hashlib.sha256(json.dumps(sides).encode()).hexdigest()[:8]}"

    def _workflow(self, data_set: Path, **settings: Any) -> Any:
        """The bundle's training by monai.bundle, in this process."""
        from monai.bundle import ConfigWorkflow

        # it would warn that the caller's logging is kept; of the engines' lines a bundle's own logging shows as little
        logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
        logging.getLogger("ignite").setLevel(logging.WARNING)
        places = {"ckpt_dir": str(self._place("models")), "output_dir": str(self._place("eval"))}
        device = {"device": f"$torch.device({self.options.device!r})"} if self.options.device else {}
        overrides = {**self.settings, "dataset_dir": str(data_set), **places, **device, **settings}
        return ConfigWorkflow(config_file=list(self.files), workflow_type="train", logging_file=False, **overrides)

    def _carried_out(self, workflow: Any) -> Any:
        """The workflow, run to its end; bad input as what it is, not as an error of the parser."""
        try:
            workflow.initialize()
            workflow.run()
            workflow.finalize()
        except Exception as error:
            if known := input_error_behind(error):
                raise known from error
            raise
        return workflow

    def _metrics_before(self, data_set: Path) -> dict[str, float | None]:
        """How good the bundle's own model is on the subjects that validate; writes nothing."""
        judging = {"validate::handlers": [], "run": ["$@validate::evaluator.run()"]}
        workflow = self._carried_out(self._workflow(data_set, **judging))
        metrics = _finite(workflow.parser.get_parsed_content("validate::evaluator").state.metrics)
        logger.info("before training: %s", ", ".join(f"{key} {value}" for key, value in metrics.items()))
        return metrics

    def _stats(self, workflow: Any) -> dict[str, Any]:
        """What the training came to."""
        model = self._place("models") / "model.pt"
        evaluator = workflow.parser.get_parsed_content("validate::evaluator")
        best = int(evaluator.state.best_metric_epoch)
        if not model.is_file():
            problem = f"ended without a model: its {evaluator.state.key_metric_name} was never defined"
            raise InputError(self.folder, problem, "Look at the pictures and validation.csv in its folder eval-…")
        return {
            "model": str(model),
            "models": str(model.parent),
            "epochs": int(workflow.parser.get_parsed_content("train::trainer").state.epoch),
            "best_epoch": best,
            "key_metric": evaluator.state.key_metric_name,
            "metrics": _metrics(self._place("eval") / "validation.csv", best),
            "pretrained": self.pretrained,
        }


def _metrics(table: Path, epoch: int) -> dict[str, float | None]:
    """The row of one epoch in validation.csv; None for what is not finite, which JSON cannot say."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("epoch") == str(epoch)]
    return _finite({key: float(value) for key, value in (rows[-1] if rows else {}).items() if key != "epoch" and value})


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics to six digits, as :class:`medtrans.engines.CsvLog` writes them."""
    return {key: float(f"{value:.6g}") if math.isfinite(value) else None for key, value in metrics.items()}


def _recipe(
    bundle: Path, contract: Path, files: Sequence[str], options: TrainingOptions, chosen: Mapping[str, Any]
) -> PairRecipe:
    """The recipe that is given, or the trained bundle's, of the source and target that are chosen."""
    from monai.bundle import ConfigParser

    known = read_modalities(contract) if contract.is_file() else None
    if options.recipe is None:
        if known is None:
            problem = "is not trained, so that nothing says how its images are to be prepared"
            raise InputError(bundle, problem, "Start the server with --recipe, such as data_prep/t1_t2.json")
        recipe = trained_recipe(contract, known)
        for side, name in (("source", recipe.source), ("target", recipe.target)):
            if chosen.get(side, name) != name:
                problem = f"is {chosen[side]!r}, the trained bundle's is {name!r}"
                raise InputError(f"the setting {side}", problem, "Drop it, or start the server with --recipe")
        return recipe
    config = ConfigParser.load_config_file(files[0])
    trained = [(known["source"][0]["modality"], known["target"][0]["modality"])] if known and known["target"] else []
    usual = [*trained, (config.get("source"), config.get("target"))]
    return given_recipe(Path(options.recipe), usual, (chosen.get("source"), chosen.get("target")))
