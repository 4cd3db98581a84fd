"""The volumes that a server shows: a folder of NIfTI files, however deep, and no path outside it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from medtrans.cohorts.cases import Cases
from medtrans.errors import InputError

VOLUMES = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha")
LABELS, LABELLED = "labels", "final"


def checked_name(name: str) -> str:
    """The id of an image, or a label's tag, where it cannot lead out of its folder.

    Raises:
        InputError: it is absolute, goes upwards, is hidden, or is no plain text.
    """
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and not any(sign in name for sign in ("\\", ":", "\0"))
    if not name or not plain or name.startswith("/") or any(part.startswith(".") for part in parts):
        raise InputError(f"the name {name!r}", "is none of a study", "Use a name that GET /datastore/?output=all lists")
    return name


class NamedWithin(LocalDatastore):
    """A datastore whose names cannot lead out of it; every method that takes a name checks it first."""

    def _filename(self, id: str, ext: str) -> str:  # noqa: A002  MONAI Label's name
        return super()._filename(checked_name(id), ext)

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image.

        Raises:
            ImageNotFoundException: there is none of this name.
        """
        path = super().get_image_uri(checked_name(image_id))
        if not path or not os.path.exists(path):
            raise ImageNotFoundException(f"There is no image {image_id} in these studies")
        return path

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label; empty where there is none."""
        return super().get_label_uri(checked_name(label_id), checked_name(label_tag))

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image under a name; one that is there already is never replaced.

        Raises:
            InputError: the name is taken or cannot be one, or the file is no volume.
        """
        self._checked_type(image_filename)
        if checked_name(image_id) in self._datastore.objects:
            raise InputError(f"the image {image_id}", "is there already", "Remove it first, or use another name")
        self._folder_of(self._datastore.image_path(), image_id)
        return super().add_image(image_id, image_filename, image_info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a target volume with an image.

        Raises:
            InputError: the tag cannot be one, or the file is no volume.
            ImageNotFoundException: there is no such image.
        """
        self._checked_type(label_filename)
        self._folder_of(self._datastore.label_path(checked_name(label_tag)), checked_name(image_id))
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Image and label of every study with a final label, and whose they are where a client said so."""
        found = super().datalist(full_path)
        for entry, (_, study) in zip(found, self._datastore.filter_by_tag(LABELLED).items(), strict=True):
            if subject := study.image.info.get("subject"):
                entry["subject"] = str(subject)
        return found

    def _checked_type(self, path: str) -> None:
        if not any(fnmatch.fnmatch(Path(path).name, pattern) for pattern in VOLUMES):
            known = ", ".join(pattern[1:] for pattern in VOLUMES)
            raise InputError(
                f"a file of type {''.join(Path(path).suffixes) or '(none)'}", "is no volume", f"Use {known}"
            )

    def _folder_of(self, root: str, name: str) -> None:
        Path(root, name).parent.mkdir(parents=True, exist_ok=True)


class StudiesFolder(NamedWithin):
    """A folder of volumes: flat, or as `medtrans convert` and `medtrans prepare` write them, in sub-folders.

    The id of a volume is its path in the folder, without its ending; of a data set its masks are left out. MONAI Label
    keeps its list in ``datastore_v2.json`` there, and targets in ``labels/final``.

    Args:
        folder: the studies.
        watch: look for new files all the time.
    """

    def __init__(self, folder: str | os.PathLike[str], watch: bool = True) -> None:
        super().__init__(str(folder), labels_dir=LABELS, extensions=VOLUMES, auto_reload=watch)

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """Volumes below ``path``, those of hidden folders and of other lists of this datastore left out."""
        found = {}
        wanted = data_set_volumes(Path(path))
        for folder, folders, files in os.walk(path):
            here = Path(folder).relative_to(path)
            skipped = {LABELS} if os.path.samefile(folder, self._datastore.image_path()) else set()
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in skipped)
            for name in sorted(files):
                if wanted is not None and (here / name).as_posix() not in wanted:
                    continue
                if not name.startswith(".") and any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                    found[(here / name).as_posix()] = (here / name).as_posix()
        return found


def data_set_volumes(folder: Path) -> set[str] | None:
    """The files of a prepared data set's modalities, as they lie in it; None where the folder is none."""
    if not (folder / "cases.csv").is_file():
        return None
    return {path.relative_to(folder).as_posix() for case in Cases.read(folder) for path in case.volumes.values()}


def check_studies(folder: Path) -> None:
    """Say what to do with a folder that holds a scanner's export and no volumes.

    Raises:
        InputError: it is no folder, or holds DICOM files only.
    """
    from pydicom.misc import is_dicom

    if not folder.is_dir():
        raise InputError(folder, "is no folder", "Give a folder of volumes, or the address of a DICOMweb server")
    files = [path for path in folder.rglob("*") if path.is_file()]
    volumes = any(fnmatch.fnmatch(path.name, pattern) for path in files for pattern in VOLUMES)
    if not volumes and any(is_dicom(path) for path in files[:50]):
        remedy = "Make volumes with `medtrans convert`, or give the address of the DICOMweb server that has them"
        raise InputError(folder, "holds DICOM files and no volumes", remedy)
