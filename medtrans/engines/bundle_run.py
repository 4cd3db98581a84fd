"""Running a bundle's inference from Python: the same config, so the same voxels, as ``monai.bundle run``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrans.bundle import check_keys
from medtrans.engines.many_cases import Inference, InProcesses, translation_workers
from medtrans.engines.synthesis import Method, record, sources_of
from medtrans.errors import CasesFailedError, InputError, input_error_behind

logger = logging.getLogger(__name__)


def run_inference(
    bundle: str | Path,
    source: str,
    output_dir: str | Path,
    overlays: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    stop: bool = True,
    workers: int | None = None,
    scheduler: str | None = None,
) -> list[dict[str, Any]]:
    """Translate ``source`` with a bundle's ``inference.json``.

    Args:
        bundle: the bundle's folder.
        source: what ``--input`` takes, see :func:`medtrans.cohorts.translation_items`.
        output_dir: folder for the synthetic volumes.
        overlays: configs merged over inference.json; names are looked up in the bundle's configs too.
        overrides: config id -> value.
        stop: raise when any case failed; otherwise only the rows and the log say so, and what follows goes on, unless
            every case failed.
        workers: cases at a time, see :func:`medtrans.engines.many_cases.translation_workers`.
        scheduler: address of a Dask scheduler whose workers translate, and see the same files.

    Returns:
        The rows of ``translated.csv``.

    Raises:
        InputError: the folder is not a bundle, it is not trained, a key is misspelt, or cases failed.
    """
    configs = Path(bundle).expanduser().resolve() / "configs"
    if not (configs / "inference.json").is_file():
        raise InputError(bundle, "is not a bundle (it has no configs/inference.json)", "Give the bundle's folder")
    files = [str(file) for file in (configs / "inference.json", *(_found(Path(o), configs) for o in overlays))]
    options: dict[str, Any] = {"bundle_root": str(configs.parent), **(overrides or {})}
    options |= {"input": str(source), "output_dir": str(Path(output_dir).expanduser().resolve())}
    check_keys(files, options)
    workflow = Inference(tuple(files), json.dumps(options)).workflow()
    evaluator = workflow.parser.get_parsed_content("evaluator")
    wanted = translation_workers(len(evaluator.items), workers)
    if scheduler or wanted > 1:
        evaluator.elsewhere = InProcesses(Inference.of(files, options, evaluator), wanted, scheduler)
    try:
        workflow.run()
        _record(Path(bundle), workflow, output_dir)
    except Exception as error:
        known = input_error_behind(error)
        if isinstance(known, CasesFailedError):
            _record(Path(bundle), workflow, output_dir)
        if stop or not isinstance(known, CasesFailedError):
            raise
        if not any(row["status"] in ("ok", "kept") for row in _rows(workflow)):
            raise known from error  # nothing is left for what follows, which would only say that it found nothing
        logger.error("%s", known)
    return _rows(workflow)


def _record(bundle: Path, workflow: Any, output_dir: str | Path) -> None:
    """Say beside every volume what made it, and from which images."""
    evaluator = workflow.parser.get_parsed_content("evaluator")
    targets = workflow.parser.get_parsed_content("modalities")["target"]
    method = Method.of(bundle.expanduser(), evaluator.model_hash)
    folder = Path(output_dir).expanduser().resolve()
    for item in evaluator.items:
        row = evaluator.rows.get(item["case"], {"status": "failed"})
        if row["status"] in ("ok", "kept"):
            outputs = [folder / name for name in row["output"].split(";")]
            record(outputs, targets, sources_of(item["source"]), method)


def _rows(workflow: Any) -> list[dict[str, Any]]:
    return list(workflow.parser.get_parsed_content("evaluator").rows.values())


def _found(overlay: Path, configs: Path) -> Path:
    for path in (overlay, configs / overlay):
        if path.is_file():
            return path.resolve()
    raise InputError(overlay, "does not exist", f"Give the path of a config, or the name of one in {configs}")
