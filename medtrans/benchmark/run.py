"""One run, a row with one seed: trained, translated and judged by the commands that users type."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.benchmark.children import Children, alone_in
from medtrans.benchmark.conditions import OWN, Conditions
from medtrans.benchmark.study import Row
from medtrans.cohorts import Cases, read_modalities
from medtrans.files import written_whole
from medtrans.transforms.mapped_nifti import axis_number

INTERRUPTED = (-signal.SIGINT, -signal.SIGTERM)  # by Ctrl-C, which reaches the commands too
CHECKPOINT_EVERY = 1000  # steps: an epoch of a large data set is hours; it changes no result
TAIL = 1 << 16  # bytes that hold at least one row
TRAINING_SHARE = 0.9  # of a run's time, for the progress line


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Args:
        row: what is trained.
        seed: of everything random.
        folder: for everything it writes; its name ends in the hash of what decides the result.
        conditions: what every row shares.
    """

    row: Row
    seed: int
    folder: Path
    conditions: Conditions

    @property
    def synthetic(self) -> Path:
        """Folder of the synthetic volumes."""
        return self.folder / "synthetic"

    @property
    def steps(self) -> Path:
        """What :class:`medtrans.engines.StepLog` writes."""
        return self.folder / "training" / "steps.csv"

    def result(self) -> dict[str, Any]:
        """What the run came to: ``status`` is ``done``, ``failed`` (with a ``reason``) or ``open``."""
        try:
            return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"status": "open"}

    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        result = self.result()
        return result["status"] == "done" and result.get("metrics") == self._judged_by()

    def share_done(self) -> float:
        """0 to 1, by the training steps written so far."""
        result = self.result()
        if result["status"] == "done":
            return 1.0
        if result.get("trained"):
            return (1 + TRAINING_SHARE) / 2 if result.get("translated") else TRAINING_SHARE
        try:
            total = json.loads(self.steps.with_suffix(".json").read_text())["total_steps"]
            last = last_row(self.steps)
            if minutes := self.conditions.budget.minutes:
                return TRAINING_SHARE * min(1.0, float(last["total_seconds"]) / (60 * minutes))
            return TRAINING_SHARE * min(1.0, int(last["iteration"]) / max(1, self.conditions.budget.steps or total))
        except (OSError, ValueError, KeyError):
            return 0.0

    def carry_out(self, children: Children, place: Mapping[str, str]) -> dict[str, Any]:
        """Do what is left: a killed training goes on from its checkpoint, finished parts are kept.

        Args:
            children: runs the commands.
            place: environment variables that say where, such as ``CUDA_VISIBLE_DEVICES``.

        Returns:
            As :meth:`result`; ``stopped`` when the benchmark is being ended.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone_in(self.folder) as lock, (self.folder / "log.txt").open("ab") as log:
            if self.is_done():  # by another benchmark, while this one waited
                return self.result()
            state = self._kept()
            for stage in ("trained", "translated", "evaluated"):
                if state.get(stage):
                    continue
                begin = log.tell()
                words = self._command(stage)
                log.write(f"$ {' '.join(words)}\n".encode())
                log.flush()
                code = children.run(words, log, os.environ | dict(place), lock)
                if code in INTERRUPTED or (code and children.stopped):
                    return {"status": "stopped"}
                if code:
                    return self._failed(code, begin, state)
                state |= {stage: True} | ({"seconds_a_slice": self._seconds_a_slice()} if stage == "translated" else {})
                self._write({"status": "open", **state})
            done = {"status": "done", "metrics": self._judged_by(), **state, **self._costs()}
            self._write(done)
            # it is three times the model; what is left of the run is all that tables and pictures need
            (self.folder / "models" / "checkpoint.pt").unlink(missing_ok=True)
            return done

    def _kept(self) -> dict[str, Any]:
        """The parts that are done and still there; an evaluation is made anew."""
        before = self.result()
        state: dict[str, Any] = {}
        if before.get("trained") and (self.folder / "models" / "model.pt").is_file():
            state["trained"] = True
            if before.get("translated") and (self.synthetic / "translated.csv").is_file():
                state |= {"translated": True, "seconds_a_slice": before.get("seconds_a_slice")}
        return state

    def _command(self, stage: str) -> list[str]:
        shared, models = self.conditions, self.folder / "models"
        if stage == "trained":
            files = [*shared.files(self.row), self._write_overlay()]
            config = "[" + ",".join(f"'{file}'" for file in files) + "]"
            return [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", config]
        medtrans = [sys.executable, "-m", "medtrans.cli"]
        if stage == "translated":
            where = ["--split", shared.split, "--set", f"ckpt_dir={models}"]
            return [*medtrans, "translate", str(self.row.bundle), str(shared.dataset), str(self.synthetic), *where]
        known = read_modalities(models / "modalities.json")
        names = ["--target", known["target"][0]["modality"], "--source", known["source"][0]["modality"]]
        output = ["--output", str(self.folder / "evaluation"), "--split", shared.split]
        metrics = ["--metrics", ",".join(shared.metrics)] if shared.metrics else []
        weights = ["--lpips-weights", str(shared.lpips_weights)] if shared.lpips_weights else []
        return [*medtrans, "evaluate", str(self.synthetic), str(shared.dataset), *names, *output, *metrics, *weights]

    def _write_overlay(self) -> Path:
        """The config that makes the bundle this run: data, places, seed, budget."""
        places = {"ckpt_dir": "models", "output_dir": "training"}
        content = {
            "dataset_dir": str(self.conditions.dataset),
            "checkpoint_every": CHECKPOINT_EVERY,
            **{key: str(self.folder / name) for key, name in places.items()},
            **self.conditions.values(self.row, self.seed),
            **self.conditions.budget.overlay(),
        }
        path = self.folder / OWN
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return path

    def _judged_by(self) -> list[str]:
        return [*self.conditions.metrics, str(self.conditions.lpips_weights or "")]

    def fail(self, reason: str, state: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write down that the run failed; the next benchmark tries again."""
        result = {"status": "failed", "reason": reason, **(state or {})}
        self._write(result)
        return result

    def _failed(self, code: int, begin: int, state: Mapping[str, Any]) -> dict[str, Any]:
        said = (self.folder / "log.txt").read_bytes()[begin:].decode(errors="replace")
        return self.fail(reason_in(said, code), state)

    def _write(self, result: Mapping[str, Any]) -> None:
        with written_whole(self.folder / "result.json") as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    def _costs(self) -> dict[str, Any]:
        """Time, memory and size, from what the training and the translation wrote down."""
        with self.steps.open(newline="") as file:
            rows = list(csv.DictReader(file))
        seconds = [float(row["seconds"]) for row in rows]
        facts = json.loads(self.steps.with_suffix(".json").read_text())
        return {
            "steps": len(rows),
            "images": sum(len(row["items"].split()) for row in rows),
            "batch_size": facts["batch_size"],
            "generator_steps": facts["generator_steps"],
            "parameters": facts["parameters"],
            "device": facts["device"],
            "threads": facts["threads"],
            "seconds_a_step": float(np.median(seconds[1:] or seconds)),  # the first one warms up
            "training_seconds": float(sum(seconds)),
            "memory_mib": max(float(row["memory_mib"]) for row in rows),
            "cuda_mib": max(float(row["cuda_mib"]) for row in rows),
        }

    def _seconds_a_slice(self) -> float | None:
        """From file to file, over the cases that were translated in one go; None where none was."""
        settings = read_modalities(self.folder / "models" / "modalities.json").get("settings", {})
        axis = axis_number(settings.get("axis", "axial"))
        with (self.synthetic / "translated.csv").open(newline="") as file:
            taken = {row["case"]: float(row["seconds"]) for row in csv.DictReader(file) if row["status"] == "ok"}
        shapes = {case.name: case.shape for case in Cases.read(self.conditions.dataset)}
        slices = sum(shapes[name][axis] for name in taken if shapes.get(name))
        return sum(taken.values()) / slices if slices else None


def last_row(path: Path) -> dict[str, str]:
    """The last whole row of a table that another process is writing, without reading the rest.

    Raises:
        ValueError: there is none yet.
    """
    with path.open("rb") as file:
        names = file.readline().decode().strip().split(",")
        file.seek(max(file.tell(), path.stat().st_size - TAIL))
        lines = file.read().decode(errors="replace").split("\n")[:-1]  # what follows the last line's end is half a row
    for line in reversed(lines):
        if len(values := line.strip().split(",")) == len(names):
            return dict(zip(names, values, strict=True))
    raise ValueError(f"{path} has no row yet")


def reason_in(said: str, code: int) -> str:
    """Why a command ended with ``code``, in one line: its own error line, or its last words."""
    lines = [line.strip() for line in said.splitlines()[1:] if line.strip()]
    if told := next((line for line in reversed(lines) if line.startswith("error: ")), ""):
        return told.removeprefix("error: ")
    if code < 0:
        return f"was ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    return lines[-1][:300] if lines else f"ended with exit code {code}"
