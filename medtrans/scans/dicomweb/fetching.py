"""A series read back from a DICOMweb server, image by image as it was stored (WADO-RS)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.errors import InvalidDicomError
from pydicom.uid import RE_VALID_UID

from medtrans.errors import InputError
from medtrans.files import folder_written_whole
from medtrans.progress import progress
from medtrans.scans.dicomweb.connection import Access, connect
from medtrans.scans.dicomweb.refusals import ROOT, ServerError, refusal

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

AS_STORED = (("application/dicom", "*"),)  # in the transfer syntax that the server has them in


def fetch_series(
    url: str, study_uid: str, series_uid: str, folder: str | Path, access: Access | None = None
) -> list[Path]:
    """Write every image of a series into the new ``folder``, as ``0001.dcm …`` in the order in which they come.

    Args:
        url: root of the DICOMweb service.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        folder: written whole or not at all.
        access: how the server lets us in.

    Raises:
        InputError: the server cannot be asked or has no such series; the folder is there already.
    """
    for uid in (study_uid, series_uid):
        if not re.fullmatch(RE_VALID_UID, uid):
            raise InputError(uid, "is no UID", "Give those of the study and of the series")
    client, folder = connect(url, access), Path(folder)
    with folder_written_whole(folder) as temporary:
        try:
            count = _written(client, study_uid, series_uid, temporary)
        except (InvalidDicomError, KeyError, ValueError) as error:  # no DICOM, no boundary, another kind of content
            raise ServerError(url, "does not answer as a DICOMweb service does", ROOT) from error
        except Exception as error:
            count = 0
            if getattr(getattr(error, "response", None), "status_code", 0) != 404:
                raise refusal(error, url) or error from error
        if not count:
            raise InputError(url, "has no images of this series", "Search for it: UIDs of study and series must match")
    return sorted(folder.iterdir())


def _written(client: DICOMwebClient, study: str, series: str, folder: Path) -> int:
    """How many images came, and were written."""
    count = 0
    images = client.iter_series(study, series, media_types=AS_STORED)
    for count, image in enumerate(progress(images, "fetching", unit="image"), 1):
        if image.SeriesInstanceUID != series:
            raise ValueError("of another series")
        image.save_as(folder / f"{count:04d}.dcm", enforce_file_format=True)
    return count
