"""What made a synthetic volume, and from which images: a JSON beside it, without patient data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.files import written_whole

ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
CASE_RECORD = "case.json"  # of a prepared case, see medtrans.cohorts.aligned_case
DICOM_MODALITY = {"CT": "CT", "MR": "MR", "PET": "PT"}
OF_UNIT = {"HU": "CT", "SUV": "PT", "BQ/ML": "PT"}


@dataclass(frozen=True)
class Method:
    """A trained bundle.

    Attributes:
        name: as its metadata.json has it.
        version: likewise.
        model: SHA-256 of its weights.
    """

    name: str
    version: str
    model: str

    @classmethod
    def of(cls, bundle: Path, model: str) -> Method:
        """The method of the bundle in a folder."""
        metadata = _json(bundle / "configs" / "metadata.json")
        return cls(str(metadata.get("name") or bundle.name), str(metadata.get("version") or ""), model)


@dataclass(frozen=True)
class Sources:
    """What is recorded of the volumes a case was translated from.

    Attributes:
        images: names of the DICOM images of each, see :mod:`medtrans.scans.series.naming`; empty where unknown.
        frame: short hash of the frame of reference; empty where unknown or not the same.
    """

    images: tuple[str, ...] = ()
    frame: str = ""


def sidecar_of(path: Path) -> Path:
    """``x.json`` for ``x.nii.gz`` or ``x.nii``."""
    return path.with_name(ENDING.sub("", path.name) + ".json")


def sources_of(paths: str | Sequence[str]) -> Sources:
    """What the sidecars of volumes say, or of a data set's the records of their cases."""
    listed = [Path(paths)] if isinstance(paths, str) else [Path(path) for path in paths]
    known = [_converted(_json(sidecar_of(path))) or _prepared(path) for path in listed]
    frames = {fields.get("frame_of_reference", "") for fields in known}
    images = tuple(str(fields["images"]) for fields in known if fields.get("images"))
    return Sources(images, str(frames.pop()) if len(frames) == 1 else "")


def _converted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of a converted volume, or of a synthetic one, its own sources."""
    made = fields.get("synthesis")
    images = made.get("images") if isinstance(made, dict) else fields.get("images")
    return {"images": images, "frame_of_reference": fields.get("frame_of_reference", "")} if images else {}


def _prepared(path: Path) -> dict[str, Any]:
    """The images of a prepared volume; of one that was moved onto another by registration, that other's."""
    sources = _json(path.with_name(CASE_RECORD)).get("sources")
    if not isinstance(sources, dict):
        return {}
    own = sources.get(ENDING.sub("", path.name), {})
    for source in (own, *sources.values()):
        rigid = source.get("rigid")
        if rigid is not None and np.allclose(rigid, np.eye(4)) and source.get("images"):
            return {"images": source["images"]}
    return {}


def record(outputs: Sequence[Path], targets: Sequence[Mapping[str, Any]], sources: Sources, method: Method) -> None:
    """Write the sidecar of every output of one case.

    Args:
        outputs: the volumes, one a target.
        targets: their entries in models/modalities.json.
        sources: what they were made from.
        method: what made them.
    """
    for path, target in zip(outputs, targets, strict=True):
        fields: dict[str, Any] = {
            "Modality": dicom_modality(target),
            "SeriesDescription": f"synthetic {target['modality']}",
            "unit": target.get("unit", ""),
            **({"frame_of_reference": sources.frame} if sources.frame else {}),
            "synthesis": {
                "target": target["modality"],
                "algorithm": method.name,
                "version": method.version,
                "model_sha256": method.model,
                **({"images": sources.images[0]} if sources.images else {}),
            },
        }
        text = json.dumps(fields, indent=2) + "\n"
        if not sidecar_of(path).is_file() or sidecar_of(path).read_text(encoding="utf-8") != text:
            with written_whole(sidecar_of(path)) as temporary:
                temporary.write_text(text, encoding="utf-8")


def dicom_modality(target: Mapping[str, Any]) -> str:
    """CT, MR or PT: by the recipe's kind, else by the unit, else MR, whose units are arbitrary."""
    kind = DICOM_MODALITY.get(str(target.get("kind", "")).upper())
    unit = str(target.get("unit") or "").upper()
    return kind or OF_UNIT.get("SUV" if unit.startswith("SUV") else unit, "MR")


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
