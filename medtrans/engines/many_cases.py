"""The cases of one inference in several processes, local ones or those of a Dask cluster."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from medtrans.engines.translation import Item, Row, VolumeTranslator
from medtrans.errors import InputError
from medtrans.files import file_hash
from medtrans.jobs import reason, run_jobs
from medtrans.progress import progress

_one_at_a_time = threading.Lock()  # a Dask worker may have several threads; a network and its windows are one


@dataclass(frozen=True)
class Inference:
    """What a process needs to build a bundle's inference: picklable, hashable.

    Attributes:
        files: configs, merged in this order.
        options: config id -> value, as JSON.
        version: of what lies behind the names: a cluster's process outlives this run, and a model is trained anew.
    """

    files: tuple[str, ...]
    options: str
    version: str = ""

    @classmethod
    def of(cls, files: Sequence[str], options: Mapping[str, Any], here: VolumeTranslator) -> Inference:
        """What others run as ``here`` does; cases are handed out one by one, so that no process looks for them."""
        behind = [here.settings, file_hash(here.model), *map(file_hash, files)]
        version = hashlib.sha256(json.dumps(behind, sort_keys=True).encode()).hexdigest()
        return cls(tuple(files), json.dumps({**options, "dataset#data": []}), version)

    def workflow(self, **options: Any) -> Any:
        """The inference, set up."""
        from monai.bundle import ConfigWorkflow

        # it would warn that the caller's logging is kept
        logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
        workflow = ConfigWorkflow(
            config_file=list(self.files),
            workflow_type="inference",
            logging_file=False,
            **json.loads(self.options),
            **options,
        )
        workflow.initialize()
        return workflow


@dataclass(frozen=True)
class InProcesses:
    """Translates cases in other processes, of which each reads the model once.

    Args:
        inference: what they run.
        workers: local processes.
        scheduler: address of a Dask scheduler instead, whose workers see the same files under the same names.

    Raises (when called):
        InputError: the scheduler does not answer.
    """

    inference: Inference
    workers: int
    scheduler: str | None = None

    def __call__(self, items: Sequence[Item]) -> Iterator[tuple[Item, Row]]:
        """Each case with the outcome of :meth:`VolumeTranslator.outcome`, as they finish."""
        if not items:
            return
        given = {item["case"]: item for item in items}
        done = run_jobs(_Work(self.inference), [_everywhere(item) for item in items], self.workers, self.scheduler)
        for sent, outcome in progress(done, "translating", total=len(items)):
            item = given[sent["case"]]
            yield item, _failure(item, outcome) if isinstance(outcome, Exception) else outcome


def translation_workers(cases: int, wanted: int | None) -> int:
    """How many local processes: what is wanted, else one a GPU, without any a single one, which uses all cores."""
    return max(1, min(wanted or max(1, torch.cuda.device_count()), cases))


def device_of(worker: Any, devices: int) -> dict[str, str]:
    """The option that gives a numbered local worker its own GPU; nothing to say where there is one GPU or none."""
    return {"device": f"cuda:{worker % devices}"} if isinstance(worker, int) and devices > 1 else {}


@dataclass(frozen=True)
class _Work:
    """One case, in a worker; an object and not a closure, so that it can be sent there."""

    inference: Inference

    def __call__(self, item: Item) -> Row:
        with _one_at_a_time:
            return _translator(self.inference).outcome(item)


@lru_cache(maxsize=1)
def _translator(inference: Inference) -> VolumeTranslator:
    """The translator of this process, built with its first case.

    Raises:
        InputError: a file is another one here: a stale network drive, or a path that leads elsewhere.
    """
    workflow = inference.workflow(**device_of(_worker_name(), torch.cuda.device_count()))
    translator = workflow.parser.get_parsed_content("evaluator")
    if Inference.of(inference.files, json.loads(inference.options), translator) != inference:
        problem = "is not the same for this worker as where the run was started"
        raise InputError(translator.model, problem, "Let all workers see the same files under the same absolute paths")
    return translator


def _everywhere(item: Item) -> Item:
    """The case with paths that do not depend on where a process was started."""
    sources = [item["source"]] if isinstance(item["source"], str) else item["source"]
    return {**item, "source": [os.path.abspath(path) for path in sources]}


def _worker_name() -> Any:
    """Number of a local Dask worker; None outside."""
    from distributed import get_worker

    try:
        return get_worker().name
    except ValueError:
        return None


def _failure(item: Item, error: Exception) -> Row:
    """The outcome of a case whose process ended with it."""
    known = error if isinstance(error, InputError) else None
    told = known or InputError(item["case"], reason(error), "Try fewer --workers: each needs memory of its own")
    return {"status": "failed", "reason": str(told), "output": "", "seconds": "0.00"}
