"""What to translate: a file, several files, a folder, a scanner export or a data set become a list of cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtrans.cohorts.slices import volume_items
from medtrans.errors import InputError

VOLUMES = (".nii", ".nii.gz")
DICOM_MODALITY = {"CT": "CT", "MR": "MR", "PET": "PT"}


def translation_items(
    source: str | Sequence[str], modalities: Sequence[dict[str, Any]], split: str = "test", work: str | Path = "."
) -> list[dict[str, Any]]:
    """The cases behind ``--input``.

    Args:
        source: a NIfTI volume; one volume a source modality, separated by commas or as a list; a folder of volumes; a
            folder with one sub-folder a case and ``<modality>.nii[.gz]`` in it; a data set (cases.csv); what `medtrans
            convert` wrote (series.csv); or a scanner export, which is converted first.
        modalities: the entries of the bundle's source modalities, in the order of its channels.
        split: of a data set.
        work: folder for converted volumes.

    Returns:
        ``{"case": name, "source": [path a channel]}`` a case.

    Raises:
        InputError: there is nothing to translate.
    """
    names = [entry["modality"] for entry in modalities]
    paths = [Path(part).expanduser() for part in (source.split(",") if isinstance(source, str) else source)]
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise InputError(absent[0], "does not exist", "Give a NIfTI file, a folder of scans, or a data set")
    if len(paths) > 1 or (paths[0].is_file() and _is_volume(paths[0])):
        return [_one_case(paths, names)]
    (path,) = paths
    if (path / "cases.csv").is_file():
        return [{"case": i["case"], "source": i["source"]} for i in volume_items(path, names, split=split)]
    if (path / "series.csv").is_file():
        return _converted(path, modalities)
    items = _folder(path, names) if path.is_dir() else []
    return items or _exported(path, modalities, Path(work))


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(VOLUMES)


def stem(path: Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    return name[: -len(".nii")] if name.lower().endswith(".nii") else name


def _one_case(paths: Sequence[Path], names: Sequence[str]) -> dict[str, Any]:
    if len(paths) != len(names):
        wanted = ",".join(names)
        problem = f"is {len(paths)} volume(s), but the model translates {len(names)} ({wanted})"
        raise InputError(",".join(str(path) for path in paths), problem, f"Give {wanted} in this order, with commas")
    return {"case": stem(paths[0]), "source": [str(path) for path in paths]}


def _folder(path: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Volumes lying in a folder, or in one sub-folder a case."""
    cases = []
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        found = [next((f for f in sorted(folder.glob(f"{name}.nii*")) if _is_volume(f)), None) for name in names]
        if all(found):
            cases.append({"case": folder.name, "source": [str(file) for file in found]})
    if cases:
        return cases
    volumes = sorted(entry for entry in path.iterdir() if entry.is_file() and _is_volume(entry))
    return [_one_case([volume], names) for volume in volumes]


def _exported(path: Path, modalities: Sequence[dict[str, Any]], work: Path) -> list[dict[str, Any]]:
    """Convert a scanner export and take its series."""
    from medtrans.scans import convert_export

    convert_export(path, work / "converted")
    return _converted(work / "converted", modalities)


def _converted(path: Path, modalities: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every converted volume of the source's kind."""
    if len(modalities) > 1:
        names = ",".join(entry["modality"] for entry in modalities)
        raise InputError(
            path, f"does not say which series are {names}", "Prepare a data set, or give files with commas"
        )
    kind = DICOM_MODALITY.get(modalities[0].get("kind", ""), "")
    table = pd.read_csv(path / "series.csv", dtype=str, keep_default_na=False)
    chosen = table[(table["status"] == "converted") & (table["shape"].str.count("x") == 2)]
    chosen = chosen[chosen["modality"].isin([kind, ""])] if kind else chosen
    if chosen.empty:
        problem = f"holds no converted {kind or 'volume'} that could be {modalities[0]['modality']}"
        raise InputError(path, problem, "See the reasons in its series.csv")
    relative: list[str] = [str(entry) for entry in chosen["path"]]
    return [{"case": stem(Path(entry.replace("/", "_"))), "source": [str(path / entry)]} for entry in relative]
