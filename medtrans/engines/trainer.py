"""The training engine of every method: MONAI's Trainer, with devices, precision, accumulation and exact resume."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer
from monai.engines.utils import IterationEvents
from torch import Tensor, nn

from medtrans.engines.checkpoints import Checkpoints, plain
from medtrans.engines.precision import autocast, autocast_type
from medtrans.errors import NotFiniteError, TrainingStoppedError
from medtrans.methods import Batch, Method
from medtrans.methods.method import Loss

logger = logging.getLogger(__name__)


class TranslationTrainer(Trainer):
    """Trains any :class:`medtrans.methods.Method`; one iteration is its ``update`` on one batch.

    Its output is ``[{"loss": …, <name>: …}]``, floats, which MONAI's handlers log by name. Randomness is a function of
    seed, epoch, iteration and rank; together with :class:`Checkpoints` a killed run that is started again ends
    bit-identical to an uninterrupted one (same machine, same number of threads).

    Args:
        device: where it trains.
        max_epochs: epochs in all, those of a resumed run included.
        train_data_loader: gives dictionaries with ``source`` and ``target``, ``(B, C, *spatial)`` in [-1, 1], perhaps
            ``mask``; its sampler should be an :class:`medtrans.cohorts.EpochSampler`.
        method: networks, optimisers, losses.
        train_handlers: MONAI or ignite handlers, attached in order.
        checkpoints: where the run is kept; None keeps nothing.
        precision: ``fp32``, ``bf16``, ``fp16`` (with loss scaling) or ``auto``.
        accumulation: parts a batch is processed in; the update is that of the whole batch, memory that of one part.
        channels_last: memory format of networks and images (2D), faster together with bf16 on most hardware.
        compile: compile the networks with torch.compile (minutes at the start).
        threads: CPU threads of PyTorch; None leaves its default. Results are bit-identical for equal numbers only.
        seed: of everything random.
        epoch_length: batches an epoch; None takes the loader's length.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: Iterable,
        method: Method,
        train_handlers: Sequence | None = None,
        checkpoints: Checkpoints | None = None,
        precision: str = "fp32",
        accumulation: int = 1,
        channels_last: bool = False,
        compile: bool = False,  # noqa: A002  (the option's name in torch and MONAI)
        threads: int | None = None,
        seed: int = 0,
        epoch_length: int | None = None,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        super().__init__(device, max_epochs, train_data_loader, epoch_length=epoch_length, decollate=False)
        batches = len(train_data_loader) if isinstance(train_data_loader, Sized) else None
        if epoch_length and batches is not None and epoch_length > batches:
            raise ValueError(f"epoch_length is {epoch_length}, but the data give {batches} batches an epoch")
        self.method = method.to(self.state.device)
        self.stepping = ""  # the optimiser whose gradients are there while BACKWARD_COMPLETED is fired
        self.dtype = autocast_type(precision, self.state.device)
        self.grad_scaler = torch.amp.GradScaler(self.state.device.type, enabled=self.dtype == torch.float16)
        self.accumulation, self.seed, self.checkpoints = max(1, int(accumulation)), int(seed), checkpoints
        self.memory_format = torch.channels_last if channels_last else torch.preserve_format
        for network in method.networks.values():
            _prepare(plain(network), channels_last, compiled=compile)
        self.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        self.add_event_handler(Events.ITERATION_STARTED, self._seed_iteration)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._step_schedulers)
        self._kept = _with_state(train_handlers or ())
        self._register_handlers(train_handlers or ())
        self.add_event_handler(Events.EPOCH_COMPLETED, self._validate_last_epoch)
        self._loaded = False
        self._failure: TrainingStoppedError | None = None
        self.add_event_handler(Events.EXCEPTION_RAISED, _raise)
        if checkpoints is not None:
            checkpoints.register(self)

    def stateful(self) -> dict[str, Any]:
        """What a checkpoint holds beside the position in the run."""
        return {"scaler": self.grad_scaler, **self.method.stateful()}

    def watchers(self) -> dict[str, Any]:
        """Handlers with a state of their own, which a checkpoint holds too; one without them starts them anew."""
        return self._kept

    def stop(self, problem: str) -> None:
        """End a run that is going wrong after this epoch: its checkpoint is kept, then :meth:`run` raises."""
        where = "The same command goes on from its checkpoint; docs/watching-a-gan.md says what to do"
        self._failure = TrainingStoppedError(f"training, epoch {self.state.epoch}", f"was stopped: {problem}", where)
        self.terminate()

    def load(self) -> None:
        """Go to where the checkpoint was written, if there is one; :meth:`run` does it where it was not done before.

        Raises:
            InputError: the checkpoint is damaged, or of another run.
        """
        if self.checkpoints is not None and not self._loaded:
            self.checkpoints.load(self)
        self._loaded = True

    def run(self) -> None:  # type: ignore[override]
        """Train to ``max_epochs``, from the checkpoint where there is one.

        Raises:
            TrainingStoppedError: a stop rule ended the run (:meth:`stop`).
            NotFiniteError: a loss was not finite; the last checkpoint is from before.
        """
        self.load()
        if self.state.epoch >= self.state.max_epochs:
            logger.info("already trained for %d epochs; raise --max_epochs to go on", self.state.epoch)
            return
        super().run()
        if self._failure is not None:
            raise self._failure

    def optimize(self, name: str, loss: Loss, parts: list[Batch]) -> dict[str, Tensor]:
        """One step of optimiser ``name``, see :class:`medtrans.methods.Stepper`."""
        optimizer, sizes = self.method.optimizers[name], [len(part["source"]) for part in parts]
        optimizer.zero_grad(set_to_none=True)
        averaged: dict[str, Tensor] = {}
        for part, size in zip(parts, sizes, strict=True):
            share = size / sum(sizes)
            with autocast(self.dtype, self.state.device):
                total, values = loss(part)
            self.grad_scaler.scale(total * share).backward()
            for key, value in {"total": total, **values}.items():
                averaged[key] = averaged.get(key, 0.0) + value.detach().float() * share  # type: ignore[assignment]
        self.grad_scaler.unscale_(optimizer)
        self.stepping = name
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.grad_scaler.step(optimizer)
        self.grad_scaler.update()
        return averaged

    def _iteration(self, engine: Engine, batchdata: Batch) -> list[dict[str, float]]:  # type: ignore[override]
        self.method.train()
        batch = {key: self._on_device(value) for key, value in batchdata.items()}
        losses = self.method.update(_split(batch, self.accumulation), self)
        values = dict(zip(losses, torch.stack([v.detach() for v in losses.values()]).tolist(), strict=True))
        wrong = [key for key, value in values.items() if not math.isfinite(value)]
        # With fp16 the scaler skips such a step and halves its scale; below 1 it is not the scale that is too large.
        if wrong and (not self.grad_scaler.is_enabled() or self.grad_scaler.get_scale() < 1):
            where = f"epoch {self.state.epoch}, iteration {self.state.iteration}"
            remedy = "Lower the learning rate, or train with --precision fp32; the last checkpoint is from before"
            raise NotFiniteError("training", f"the loss {wrong[0]} is not finite in {where}", remedy)
        return [values]

    def _on_device(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.as_tensor() if hasattr(value, "as_tensor") else value
        memory_format = self.memory_format if value.dim() == 4 else torch.preserve_format
        return value.to(self.state.device, non_blocking=True, memory_format=memory_format)

    def _begin_epoch(self, _: Engine) -> None:
        """Order and augmentation of the epoch follow from its number; a resumed epoch starts where it was left."""
        sampler = getattr(self.data_loader, "sampler", None)
        if sampler is not None and hasattr(sampler, "set_epoch"):
            done = self.state.iteration % self.state.epoch_length
            skipped = {"start": done * getattr(self.data_loader, "batch_size", 1)} if done else {}
            sampler.set_epoch(self.state.epoch, **skipped)
        self._dataloader_iter = None  # a fresh iterator, also where epoch_length is not the loader's length

    def _seed_iteration(self, _: Engine) -> None:
        key = (self.seed, self.state.iteration, self.state.rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1)

    def _validate_last_epoch(self, _: Engine) -> None:
        """The last epoch is judged whatever the validation interval, so that no run ends without a model."""
        evaluator = self.checkpoints.evaluator if self.checkpoints is not None else None
        if isinstance(evaluator, Evaluator) and self.state.epoch == self.state.max_epochs != evaluator.state.epoch:
            evaluator.run(self.state.epoch)

    def _step_schedulers(self, _: Engine) -> None:
        for scheduler in self.method.schedulers.values():
            scheduler.step()


def _raise(_: Engine, error: BaseException) -> None:
    """End the run. ignite takes an exception for dealt with as soon as any handler listens to it, and goes on."""
    raise error


def _with_state(handlers: Sequence) -> dict[str, Any]:
    """The handlers that have something to resume, by a name for each."""
    stateful = [h for h in handlers if hasattr(h, "state_dict") and hasattr(h, "load_state_dict")]
    return {f"handler_{place}_{type(handler).__name__}": handler for place, handler in enumerate(stateful)}


def _prepare(network: nn.Module, channels_last: bool, compiled: bool) -> None:
    """Memory format and compilation of one network, in place, so that its state keeps its names."""
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()


def _split(batch: Batch, parts: int) -> list[Batch]:
    """The batch cut along its first axis into at most ``parts`` batches; values without that axis go with each."""
    if parts == 1:
        return [batch]
    length = len(batch["source"])
    cut = {k: v.chunk(parts) for k, v in batch.items() if isinstance(v, Tensor) and v.dim() and len(v) == length}
    rest = {key: value for key, value in batch.items() if key not in cut}
    return [rest | {k: v[i] for k, v in cut.items()} for i in range(len(cut["source"]))]
