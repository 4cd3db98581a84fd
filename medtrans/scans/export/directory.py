"""The directory of a DICOM disc (DICOMDIR), and whether the images that it lists are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pydicom

from medtrans.scans.export.headers import ScanFile


def missing_images(directory: ScanFile, files: Sequence[ScanFile]) -> tuple[int, int]:
    """How many of the images that a directory lists are missing among ``files``, and how many it lists.

    An image is there when its SOPInstanceUID is, or when a file lies where the directory says, under a name in upper
    or lower case. Entries that name no image (reports, presentation states) do not count.
    """
    uids = {str(file.tags["SOPInstanceUID"]) for file in files if file.tags.get("SOPInstanceUID")}
    places = {file.place.upper() for file in files}
    try:
        records = pydicom.dcmread(directory.path, force=True).get("DirectoryRecordSequence") or ()
        listed = [record for record in records if record.get("DirectoryRecordType") == "IMAGE"]
        absent = [record for record in listed if str(record.get("ReferencedSOPInstanceUIDInFile")) not in uids]
        folder = PurePosixPath(directory.place.upper()).parent
        return sum(_place(folder, record.get("ReferencedFileID")) not in places for record in absent), len(listed)
    except Exception:  # pydicom raises many kinds on damaged files; no volume needs the directory
        return 0, 0


def _place(folder: PurePosixPath, components: Any) -> str:
    """Where the file of a record lies, from its list of path components."""
    names = [components] if isinstance(components, str) else components or ()
    return folder.joinpath(*(str(name).upper() for name in names)).as_posix()
