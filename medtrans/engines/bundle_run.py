"""Running a bundle's inference from Python: the same config, so the same voxels, as ``monai.bundle run``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrans.errors import InputError

logger = logging.getLogger(__name__)


def run_inference(
    bundle: str | Path,
    source: str,
    output_dir: str | Path,
    overlays: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Translate ``source`` with a bundle's ``inference.json``.

    Args:
        bundle: the bundle's folder.
        source: what ``--input`` takes, see :func:`medtrans.cohorts.translation_items`.
        output_dir: folder for the synthetic volumes.
        overlays: configs merged over inference.json; names are looked up in the bundle's configs too.
        overrides: config id -> value.

    Returns:
        The rows of ``translated.csv``.

    Raises:
        InputError: the folder is not a bundle, it is not trained, or cases failed.
    """
    from monai.bundle import ConfigWorkflow

    configs = Path(bundle) / "configs"
    if not (configs / "inference.json").is_file():
        raise InputError(bundle, "is not a bundle (it has no configs/inference.json)", "Give the bundle's folder")
    files = [configs / "inference.json", *(_found(Path(overlay), configs) for overlay in overlays)]
    workflow = ConfigWorkflow(
        config_file=[str(file) for file in files],
        workflow_type="inference",
        logging_file=False,
        input=str(source),
        output_dir=str(Path(output_dir).expanduser().resolve()),
        **(overrides or {}),
    )
    workflow.initialize()
    workflow.run()
    return list(workflow.parser.get_parsed_content("evaluator").rows.values())


def _found(overlay: Path, configs: Path) -> Path:
    for path in (overlay, configs / overlay):
        if path.is_file():
            return path
    raise InputError(overlay, "does not exist", f"Give the path of a config, or the name of one in {configs}")
