"""Checkpoints: the whole run, written whole, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.weights import read_weights

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer

logger = logging.getLogger(__name__)


def save_whole(content: Any, path: Path) -> None:
    """``torch.save`` that leaves either the old file or the new one, even when the machine dies."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def plain(network: nn.Module) -> nn.Module:
    """The network inside a DistributedDataParallel wrapper, or itself."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def load_network(network: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Read ``model.pt`` into ``network``.

    Raises:
        InputError: the file is absent, damaged, holds code, was changed since it was packed, or is of another
            architecture.
    """
    state = read_weights(path)
    try:
        plain(network).load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        first = " ".join(str(error).split())[:300]
        remedy = "Use the config it was trained with (channels, blocks, image size)"
        raise InputError(path, f"does not fit the network ({first})", remedy) from error
    return network


class Checkpoints:
    """Keeps ``checkpoint.pt``: networks, optimisers, schedules, scaler, best validation, position in the epoch.

    The trainer reads it before it starts and writes it after every epoch and every ``every`` iterations, last of all
    handlers. Randomness needs no state: it is a function of seed, epoch and iteration.

    Args:
        folder: where it lies.
        every: iterations between two checkpoints inside an epoch; 0 saves at the end of epochs only.
        evaluator: the validation engine, whose best metric so far is kept too.
        resume: go on from an existing file; False starts anew and overwrites it.
        identity: settings, JSON-ready, without which going on would not be the same run; a file with others is refused.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 0,
        evaluator: Engine | None = None,
        resume: bool = True,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.identity = json.loads(json.dumps(dict(identity or {})))
        self.path = Path(folder) / "checkpoint.pt"
        self.every, self.evaluator, self.resume = int(every), evaluator, resume

    def register(self, trainer: TranslationTrainer) -> None:
        """Save at the right moments; called by the trainer after all other handlers."""
        if trainer.state.rank != 0:
            return
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        if self.every:
            trainer.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self._save_inside_epoch)

    def _save_inside_epoch(self, trainer: TranslationTrainer) -> None:
        if trainer.state.iteration % trainer.state.epoch_length:  # the end of an epoch is saved after its validation
            self.save(trainer)

    def save(self, trainer: TranslationTrainer) -> None:
        """Write the file."""
        parts = {**_unwrapped(trainer.stateful()), **trainer.watchers()}
        state = {name: part.state_dict() for name, part in parts.items()}
        save_whole({"run": self._position(trainer), **state}, self.path)

    def _position(self, trainer: TranslationTrainer) -> dict[str, Any]:
        best = getattr(self.evaluator, "state", None)
        return {
            "iteration": trainer.state.iteration,
            "epoch_length": trainer.state.epoch_length,
            "seed": trainer.seed,
            "identity": self.identity,
            "best_metric": float(best.best_metric) if best is not None else None,
            "best_metric_epoch": int(best.best_metric_epoch) if best is not None else None,
        }

    def load(self, trainer: TranslationTrainer) -> None:
        """Bring ``trainer`` to where the file was written; does nothing where there is none.

        Raises:
            InputError: the file is damaged, of another configuration, or of a data set of another size.
        """
        for name in (self.path.name, "model.pt"):
            for abandoned in self.path.parent.glob(f".partial-*-{name}"):  # a killed writer's
                abandoned.unlink(missing_ok=True)
        if not (self.resume and self.path.is_file()):
            return
        saved = read_weights(self.path)
        run = self._checked(saved, trainer)
        for name, part in _unwrapped(trainer.stateful()).items():
            try:
                part.load_state_dict(saved[name])
            except (RuntimeError, ValueError, KeyError) as error:
                reason = " ".join(str(error).split())[:200]
                raise self._foreign(f"its {name} does not fit ({reason})") from error
        for name, handler in trainer.watchers().items():
            if name in saved:
                handler.load_state_dict(saved[name])
        trainer.state.iteration = run["iteration"]
        trainer.state.epoch = run["iteration"] // run["epoch_length"]
        if self.evaluator is not None and run["best_metric_epoch"] is not None:
            self.evaluator.state.best_metric = run["best_metric"]
            self.evaluator.state.best_metric_epoch = run["best_metric_epoch"]
        logger.info("resuming from %s: epoch %d, iteration %d", self.path, trainer.state.epoch, trainer.state.iteration)

    def _checked(self, saved: dict[str, Any], trainer: TranslationTrainer) -> dict[str, Any]:
        """The position in the run, refused where going on would not give the uninterrupted run's result."""
        run = saved.get("run")
        if not isinstance(run, dict):
            raise self._foreign("it is not a checkpoint of medtrans")
        if run["epoch_length"] != trainer.state.epoch_length:
            here = trainer.state.epoch_length
            raise self._foreign(f"its epochs have {run['epoch_length']} batches, these have {here}")
        if run["seed"] != trainer.seed:
            raise self._foreign(f"its seed is {run['seed']}, here it is {trainer.seed}")
        before = run.get("identity", {})
        changed = [key for key, value in self.identity.items() if key in before and before[key] != value]
        if changed:
            key = changed[0]
            raise self._foreign(f"it was made with {key} {before[key]}, here it is {self.identity[key]}")
        return run

    def _foreign(self, problem: str) -> InputError:
        remedy = "Use the settings it was made with, or another --ckpt_dir, or delete it to start anew"
        return InputError(self.path, f"cannot be resumed: {problem}", remedy)


def _unwrapped(parts: dict[str, Any]) -> dict[str, Any]:
    """Networks without their wrapper, so that a checkpoint does not depend on the number of GPUs."""
    return {name: plain(part) if isinstance(part, nn.Module) else part for name, part in parts.items()}


class BestModel:
    """Writes the generator to ``model.pt`` whenever validation finds it better than ever before.

    Attach to the evaluator. The file holds the bare state dict, as the bundle specification wants.

    Args:
        path: ``<bundle>/models/model.pt``.
        network: the generator.
    """

    def __init__(self, path: str | os.PathLike[str], network: nn.Module) -> None:
        self.path, self.network = Path(path), network

    def attach(self, engine: Engine) -> None:
        """Act after each validation run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if this validation was the best."""
        if engine.state.rank == 0 and engine.state.best_metric_epoch == engine.state.epoch:
            save_whole(plain(self.network).state_dict(), self.path)
