"""What every training step took and was given: seconds, peak memory, and a checksum of each image."""

from __future__ import annotations

import csv
import json
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from medtrans.engines.checkpoints import plain
from medtrans.engines.csv_log import CsvLog
from medtrans.files import written_whole

MIB = 2**20


class StepLog(CsvLog):
    """Writes ``epoch, iteration, seconds, total_seconds, memory_mib, cuda_mib, items`` an iteration. Attach it last.

    ``seconds`` is the update with its logging, without loading the data and without validation, ``total_seconds`` the
    sum so far, over resumes; the memories are the peaks of this process so far; ``items`` has a checksum of source and
    target for every image of the batch, as it came from the loader: two runs with equal columns saw the same augmented
    images in the same order. Beside the table a JSON file of the same name says what the run is: ``total_steps``,
    ``batch_size``, ``parameters`` of each network, ``generator_steps``, ``device``.

    Args:
        path: the CSV file; rows that a killed run wrote beyond its last checkpoint are dropped when it goes on.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.seconds = 0.0
        self._began = 0.0
        self._items = ""

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        super().attach(engine)
        if engine.state.rank == 0:
            engine.add_event_handler(Events.STARTED, self._describe)
            engine.add_event_handler(Events.ITERATION_STARTED, self._begin)

    def _describe(self, trainer: Any) -> None:
        """Write what the run is, and count the seconds of the steps that are kept from before."""
        self.seconds = sum(float(row["seconds"]) for row in _rows(self.path))
        networks = trainer.method.networks.items()
        device = torch.device(trainer.state.device)
        facts = {
            "total_steps": int(trainer.state.epoch_length * trainer.state.max_epochs),
            "batch_size": getattr(trainer.data_loader, "batch_size", None),
            "generator_steps": int(getattr(trainer.method, "generator_steps", 1)),
            "parameters": {name: sum(p.numel() for p in plain(network).parameters()) for name, network in networks},
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            "threads": torch.get_num_threads(),
        }
        with written_whole(self.path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _begin(self, engine: Engine) -> None:
        self._items = checksums(engine.state.batch) if isinstance(engine.state.batch, Mapping) else ""
        self._began = time.perf_counter()

    def _write_losses(self, engine: Engine) -> None:
        seconds = time.perf_counter() - self._began
        self.seconds += seconds
        cuda = torch.cuda.max_memory_allocated() / MIB if torch.cuda.is_initialized() else 0.0
        state = engine.state
        row = {"epoch": state.epoch, "iteration": state.iteration, "seconds": seconds, "total_seconds": self.seconds}
        self._write({**row, "memory_mib": peak_memory() / MIB, "cuda_mib": cuda, "items": self._items})  # type: ignore[dict-item]


def checksums(batch: Mapping[str, Any]) -> str:
    """CRC-32 of source and target of every image of a batch, in hexadecimal, with spaces between."""
    images = [batch[key] for key in ("source", "target") if isinstance(batch.get(key), Tensor)]
    sums = [0] * (len(images[0]) if images else 0)
    for image in images:
        for place, values in enumerate(image):
            sums[place] = zlib.crc32(values.detach().cpu().contiguous().numpy().tobytes(), sums[place])
    return " ".join(f"{value:08x}" for value in sums)


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the parent's memory at the time of the fork, too
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
