"""``medtrans export``: synthetic volumes as derived DICOM series, one folder each, and a table."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medtrans.errors import CasesFailedError, InputError
from medtrans.files import check_writable, file_hash, remove_abandoned
from medtrans.progress import progress
from medtrans.run_table import RunTable
from medtrans.scans.conversion import Conversion
from medtrans.scans.deidentify.headers import Deidentifier
from medtrans.scans.deidentify.key import refuse_inside
from medtrans.scans.derived.deidentified import deidentified_sources
from medtrans.scans.derived.images import KINDS
from medtrans.scans.derived.matching import source_of
from medtrans.scans.derived.provenance import Algorithm
from medtrans.scans.derived.series import Synthetic, Writing, write_series
from medtrans.scans.derived.sources import SourceSeries, source_series
from medtrans.scans.export.finding import found_scans
from medtrans.scans.output.volume import file_beside, suffix_of

COLUMNS = ("case", "status", "reason", "modality", "like", "images", "folder", "fingerprint")
TABLE = RunTable(COLUMNS, "exported series")
VOLUMES = (".nii", ".nii.gz")
MODALITIES = {"CT": "CT", "MR": "MR", "PET": "PT", "PT": "PT"}
UNITS = {"CT": "HU", "MR": ""}  # where nothing else is said
Row = dict[str, str]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """What the user says of the volumes, before their sidecars are asked; empty where the user says nothing.

    Attributes:
        modality: CT, MR or PET.
        unit: of the values.
        algorithm: its name.
        version: of the algorithm.
        model: file of the weights, of which the hash is written.
    """

    modality: str = ""
    unit: str = ""
    algorithm: str = ""
    version: str = ""
    model: Path | None = None

    def __post_init__(self) -> None:
        if self.modality and self.modality.upper() not in MODALITIES:
            raise InputError("--modality", f"is {self.modality!r}", "Choose CT, MR or PET")
        if self.model is not None and not self.model.is_file():
            raise InputError(self.model, "does not exist", "Give the file of the model's weights")


def export_series(
    volumes: str | Path | Sequence[Path],
    output: str | Path,
    like: str | Path,
    told: Told | None = None,
    writing: Writing | None = None,
    rules: Deidentifier | None = None,
) -> list[Row]:
    """Write every synthetic volume as ``output/<name>/0001.dcm …``, laid over the series it was made from.

    One bad volume never stops the others. ``output/exported.csv`` has a row a volume: ``ok``, ``kept`` from an earlier
    run of the same, or ``failed`` with the reason. A folder that is there and is not kept is never written over.

    Args:
        volumes: NIfTI files: one, a folder of them, or a list; a sidecar beside each says modality, unit, algorithm and
            source.
        output: folder to write to.
        like: the source series, or an export that holds them all: folder, zip, tar or file.
        told: what the sidecars do not say, or should have said.
        writing: choices; default :class:`Writing` as it stands.
        rules: by which the series are de-identified; default not at all.

    Raises:
        InputError: there is nothing to write, or nowhere to write it.
        CasesFailedError: some volumes failed; they are in the table.
    """
    told, writing, output = told or Told(), writing or Writing(), Path(output)
    if writing.pet_unit:
        Conversion(pet_unit=writing.pet_unit)  # refuses an unknown one
    paths = _listed(Path(volumes)) if isinstance(volumes, (str, Path)) else list(volumes)
    _refuse_equal_names(paths)
    check_writable(output)
    if rules is not None:
        refuse_inside(rules.key.path, output)
    table = output / "exported.csv"
    rows = {row["case"]: row for row in TABLE.read(table)}
    with found_scans(like, leave_out=output) as files:
        sources, refused = source_series(files)
        if not sources:
            if not refused:
                raise InputError(like, "holds no series", "Give the scanner's DICOM files")
            raise InputError(like, f"{refused[0].subject}: {refused[0].problem}", refused[0].remedy)
        if rules is not None:
            sources = deidentified_sources(sources, files, rules)
        for one in refused:
            logger.warning("left out of --like: %s: %s", one.subject, one.problem)
        remove_abandoned(output)
        for path in progress(paths, "writing DICOM", unit="series"):
            name = path.name.removesuffix(suffix_of(path))
            row = _exported(path, output / name, sources, told, (writing, rules), rows.get(name, {}))
            rows[name] = row
            TABLE.write(table, rows.values())
            logger.log(logging.ERROR if row["status"] == "failed" else logging.INFO, "%s: %s", name, _shown(row))
    done = [rows[path.name.removesuffix(suffix_of(path))] for path in paths]
    failed = [row for row in done if row["status"] == "failed"]
    if failed:
        problem = f"{len(failed)} of {len(done)} volumes failed, the first: {failed[0]['reason']}"
        raise CasesFailedError(table, problem, "Mend them and run again; finished ones are kept")
    return done


def _listed(volumes: Path) -> list[Path]:
    if not volumes.exists():
        raise InputError(volumes, "does not exist", "Give a NIfTI file, or a folder of them")
    if volumes.is_file():
        return [volumes]
    paths = sorted(p for p in volumes.iterdir() if p.name.endswith(VOLUMES) and not p.name.startswith("."))
    if not paths:
        raise InputError(volumes, "holds no NIfTI files", "Give a NIfTI file, or a folder of them")
    return paths


def _refuse_equal_names(paths: Sequence[Path]) -> None:
    """Two volumes of one name would share a folder."""
    seen: dict[str, Path] = {}
    for path in paths:
        name = path.name.removesuffix(suffix_of(path)).casefold()
        if name in seen:
            problem = f"and {seen[name].name} would have one folder"
            raise InputError(path, problem, "Give volumes names that differ, not only by case or ending")
        seen[name] = path


def _exported(
    path: Path,
    folder: Path,
    sources: Sequence[SourceSeries],
    told: Told,
    how: tuple[Writing, Deidentifier | None],
    earlier: Mapping[str, str],
) -> Row:
    """The row of one volume, once it is written."""
    row = dict.fromkeys(COLUMNS, "") | {"case": folder.name, "status": "failed"}
    try:
        volume, images = _synthetic(path, told)
        source = source_of(path.name, volume.array.shape, volume.affine, images, sources)
        row |= {"modality": KINDS[volume.modality].name, "like": source.name, "folder": folder.name}
        row["fingerprint"] = _fingerprint(path, volume, source, *how)
        if earlier.get("fingerprint") == row["fingerprint"] and _count(folder) == earlier["images"]:
            return row | {"status": "kept", "images": earlier["images"]}
        return row | {"status": "ok", "images": str(len(write_series(volume, source, folder, how[0])))}
    except InputError as error:
        reason = str(error)
    except Exception as error:  # one broken volume must not stop the others
        logger.debug("export failed: %s", type(error).__name__)  # its text may quote header values
        reason = f"{path.name}: unexpected {type(error).__name__} while exporting"
    still = {name: earlier.get(name, "") for name in ("fingerprint", "images")}  # of what lies there from before
    return row | {"reason": reason} | still


def _synthetic(path: Path, told: Told) -> tuple[Synthetic, str]:
    """The volume in a file with what is known of it, and the name of the images it was made from, if recorded."""
    fields = _sidecar(path)
    made = fields.get("synthesis") if isinstance(fields.get("synthesis"), dict) else {}
    modality = MODALITIES.get((told.modality or str(fields.get("Modality") or "")).upper(), "")
    if not modality:
        raise InputError(path.name, "does not say what modality it is", "Name it with --modality: CT, MR or PET")
    name = told.algorithm or str(made.get("algorithm") or "")
    if not name:
        problem = "does not say what made it, which a derived series must"
        raise InputError(path.name, problem, "Name the method with --algorithm")
    model = file_hash(told.model) if told.model else str(made.get("model_sha256") or "")
    algorithm = Algorithm(name, told.version or str(made.get("version") or ""), model)
    unit = told.unit or str(fields.get("unit") or UNITS.get(modality, ""))
    array, affine = _loaded(path)
    shows = "" if told.modality else str(made.get("target") or "")
    volume = Synthetic(array, affine, modality, unit, algorithm, path.name, shows)
    return volume, str(made.get("images") or fields.get("images") or "")


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file_beside(path, ".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _loaded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        image: Any = nib.load(path)
        array = np.asarray(image.dataobj, np.float32)
    except Exception as error:  # nibabel raises many kinds on damaged files
        raise InputError(path.name, "is not a readable NIfTI file", "Make it again") from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 4:
        problem = f"has 4 dimensions ({array.shape[3]} volumes), and a DICOM series is written of one volume"
        raise InputError(path.name, problem, "Split it into a file a volume")
    if array.ndim != 3:
        raise InputError(path.name, f"has {array.ndim} dimensions", "Give a volume of three")
    if int(image.header.get("sform_code", 1)) == 0 and int(image.header.get("qform_code", 1)) == 0:
        raise InputError(path.name, "does not say where it lies (no sform, no qform)", "Give it its affine")
    return array, np.asarray(image.affine, float)


def _fingerprint(
    path: Path, volume: Synthetic, source: SourceSeries, writing: Writing, rules: Deidentifier | None
) -> str:
    """Changes with the voxels, with what is said of them, with the source and with the choices."""
    said = [volume.modality, volume.unit, asdict(volume.algorithm), source.images, asdict(writing)]
    said += [] if rules is None else [rules.key.mark("export"), *sorted(rules.choices.retain)]
    return hashlib.sha256(json.dumps([file_hash(path), said]).encode()).hexdigest()[:16]


def _count(folder: Path) -> str:
    return str(len(list(folder.glob("*.dcm")))) if folder.is_dir() else ""


def _shown(row: Row) -> str:
    if row["status"] == "failed":
        return row["reason"]
    kept = " (kept)" if row["status"] == "kept" else ""
    return f"{row['images']} {row['modality']} images like series {row['like']}{kept}"
