"""Translating many volumes: one case at a time, failures recorded and the rest done, finished ones kept."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import Evaluator
from torch import nn

from medtrans.engines.checkpoints import load_network
from medtrans.engines.precision import autocast, autocast_type
from medtrans.engines.synthesis import sidecar_of
from medtrans.errors import CasesFailedError, InputError, input_error_behind
from medtrans.files import file_hash, remove_abandoned
from medtrans.run_table import RunTable

logger = logging.getLogger(__name__)

COLUMNS = ("case", "status", "reason", "seconds", "output", "fingerprint")
TRANSLATED = RunTable(COLUMNS, "translated cases")
Row = dict[str, Any]
Item = dict[str, Any]
Elsewhere = Callable[[Sequence[Item]], Iterable[tuple[Item, Row]]]  # cases -> each with its outcome, as they finish


class VolumeTranslator(Evaluator):
    """An evaluator over cases: read, translate, restore, write; a case that fails does not stop the others.

    ``translated.csv`` in ``output_dir`` has a row a case: case, status (``ok``, ``kept`` or ``failed``), reason,
    seconds, output. A case whose output was written by the same model with the same settings from the same files is
    kept, so that a killed run goes on where it was. Of a case that fails the earlier output is removed: it is of
    another model, other settings or another scan, and must not be taken for this one's.

    Args:
        device: where windows are computed.
        items: the cases, ``{"case": name, "source": [paths], …}``, see :func:`medtrans.cohorts.translation_items`; one
            with a ``"problem"`` fails with it.
        preprocessing: item -> item with ``source`` ``(C, X, Y, Z)`` in [-1, 1].
        network: the generator.
        inferer: called with ``(1, C, X, Y, Z)`` and the network.
        postprocessing: item with ``pred`` -> item with ``pred_paths``, writes the files.
        output_dir: where the table goes.
        model: path of ``model.pt``, read into ``network`` first.
        precision: see :class:`medtrans.engines.TranslationTrainer`.
        overwrite: translate finished cases again.
        settings: what else decides the voxels, JSON-ready; when it changes, cases are translated again.

    Raises:
        InputError: the model is absent, damaged or of another architecture.
    """

    def __init__(
        self,
        device: torch.device | str,
        items: Sequence[Item],
        preprocessing: Callable,
        network: nn.Module,
        inferer: Callable,
        postprocessing: Callable,
        output_dir: str | Path,
        model: str | Path,
        precision: str = "fp32",
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(device, [[item] for item in items], decollate=False)
        self.items = list(items)
        self.network, self.model = load_network(network, model).to(device).eval(), Path(model)
        self.preprocessing, self.inferer, self.postprocess = preprocessing, inferer, postprocessing
        self.table, self.overwrite = Path(output_dir) / "translated.csv", overwrite
        self.dtype = autocast_type(precision, torch.device(device))
        self.settings = [precision, dict(settings or {})]
        self.rows: dict[str, Row] = {}
        self.earlier: dict[str, Row] = {}
        self.elsewhere: Elsewhere | None = None  # what translates cases in other processes, if any
        self.finished = 0
        # ignite tells of every start and end, in terms of epochs, and prints the first failure a second time
        self.logger.setLevel(logging.CRITICAL)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Translate every case.

        Raises:
            InputError: the output folder cannot be written.
            CasesFailedError: some cases failed; they are in the table.
        """
        done = {row["case"]: row for row in TRANSLATED.read(self.table) if row["status"] != "failed"}
        self.rows, self.earlier = {} if self.overwrite else dict(done), done
        self.model_hash = file_hash(self.model)
        TRANSLATED.write(
            self.table, list(self.rows.values())
        )  # a folder that cannot be written is told before the work
        remove_abandoned(self.table.parent)
        if self.elsewhere is None:
            super().run(global_epoch)
        else:
            self._run_elsewhere(self.elsewhere)
        failed = [row for row in self.rows.values() if row["status"] == "failed"]
        if failed:
            problem = f"{len(failed)} of {len(self.rows)} cases failed, the first: {failed[0]['reason']}"
            raise CasesFailedError(self.table, problem, "Mend them and run again; finished cases are kept")

    def outcome(self, item: Item) -> Row:
        """Translate one case: the columns status, reason, seconds and output of its row."""
        start = time.monotonic()
        row = {"status": "ok", "reason": "", "output": ""} | self._attempt(item)
        return row | {"seconds": f"{time.monotonic() - start:.2f}"}

    def _iteration(self, engine: Engine, batchdata: list[Item]) -> Row:  # type: ignore[override]
        (item,) = batchdata
        fingerprint = self._fingerprint(item)  # of the files that are about to be read
        self._record(item, self._kept(item, fingerprint) or self.outcome(item), fingerprint)
        return {}

    def _run_elsewhere(self, elsewhere: Elsewhere) -> None:
        """The cases that are not finished, in other processes; the table is in the order of the cases in the end."""
        fingerprints = {item["case"]: self._fingerprint(item) for item in self.items}
        left = []
        for item in self.items:
            if row := self._kept(item, fingerprints[item["case"]]):
                self._record(item, row, fingerprints[item["case"]])
            else:
                left.append(item)
        for item, row in elsewhere(left):
            self._record(item, row, fingerprints[item["case"]])
        places = {item["case"]: place for place, item in enumerate(self.items)}
        self.rows = dict(sorted(self.rows.items(), key=lambda named: places.get(named[0], -1)))
        TRANSLATED.write(self.table, self.rows.values())

    def _kept(self, item: Item, fingerprint: str) -> Row | None:
        """What the row of a finished case says; None where it is to be translated."""
        known = self.rows.get(item["case"])
        if known is None or known["fingerprint"] != fingerprint:
            return None
        if not _outputs_exist(self.table.parent, known["output"]):
            return None
        return {"status": "kept", "reason": "", "output": known["output"], "seconds": "0.00"}

    def _record(self, item: Item, outcome: Row, fingerprint: str) -> None:
        """Note what became of a case: in the table, in the log, and an outdated output is removed."""
        if outcome["status"] == "failed" and (outdated := self.earlier.get(item["case"])):
            _remove_outputs(self.table.parent, outdated["output"])
        self.rows[item["case"]] = {"case": item["case"], **outcome, "fingerprint": fingerprint}
        TRANSLATED.write(self.table, self.rows.values())
        self.finished += 1
        logger.log(
            logging.ERROR if outcome["status"] == "failed" else logging.INFO,
            "%s (%s of %s): %s", item["case"], self.finished, len(self.items),
            outcome["reason"] or outcome["output"] + " kept" * (outcome["status"] == "kept"),
        )  # fmt: skip

    def _attempt(self, item: Item) -> Row:
        """What the row says of a case that is translated now."""
        if item.get("problem"):
            return {"status": "failed", "reason": item["problem"]}
        try:
            paths = self._translate(item)
        except Exception as error:
            logger.debug("%s", item["case"], exc_info=True)
            known = input_error_behind(error)
            remedy = "Run it alone with `medtrans --verbose translate` to see where"
            return {
                "status": "failed",
                "reason": str(known or InputError(item["case"], f"{type(error).__name__}: {error}", remedy)),
            }
        return {"output": ";".join(Path(path).relative_to(self.table.parent).as_posix() for path in paths)}

    def _translate(self, item: Item) -> list[Path]:
        """One case from file to file."""
        prepared = self.preprocessing(item)
        source = prepared["source"]
        with torch.no_grad(), autocast(self.dtype, torch.device(self.state.device)):
            output = self.inferer(source.unsqueeze(0), self.network)[0]
        prepared["pred"] = MetaTensor(output.as_tensor() if isinstance(output, MetaTensor) else output)
        prepared["pred"].affine = source.affine
        return self.postprocess(prepared)["pred_paths"]

    def _fingerprint(self, item: Item) -> str:
        """Changes with the model, the settings and any of the case's source files."""
        sources = [item["source"]] if isinstance(item["source"], str) else item["source"]
        stats = [(Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in sources if Path(path).exists()]
        key = json.dumps([self.model_hash, self.settings, item.get("windows"), [str(path) for path in sources], stats])
        return hashlib.sha256(key.encode()).hexdigest()[:16]


def _outputs_exist(folder: Path, outputs: str) -> bool:
    return bool(outputs) and all((folder / name).is_file() for name in outputs.split(";"))


def _remove_outputs(folder: Path, outputs: str) -> None:
    for name in outputs.split(";"):
        if name and Path(name).name == name:  # outputs lie in the folder itself
            (folder / name).unlink(missing_ok=True)
            sidecar_of(folder / name).unlink(missing_ok=True)
