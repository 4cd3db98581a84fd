"""A series read back from a DICOMweb server, image by image as it was stored (WADO-RS)."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.errors import InvalidDicomError
from pydicom.uid import RE_VALID_UID

from medtrans.errors import InputError
from medtrans.files import folder_written_whole
from medtrans.progress import progress
from medtrans.scans.dicomweb.completeness import is_incomplete
from medtrans.scans.dicomweb.connection import Access, connect
from medtrans.scans.dicomweb.refusals import ROOT, ServerError, refusal
from medtrans.scans.dicomweb.searching import instances_there

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

AS_STORED = (("application/dicom", "*"),)  # in the transfer syntax that the server has them in
UNREADABLE = (EOFError, NotImplementedError, struct.error, zlib.error)  # what pydicom says of files that are cut off


def fetch_series(
    url: str, study_uid: str, series_uid: str, folder: str | Path, access: Access | None = None
) -> list[Path]:
    """Write every image of a series into the new ``folder``, as ``0001.dcm …`` in the order in which they come.

    Args:
        url: root of the DICOMweb service.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        folder: written whole or not at all: every image that the server lists, with all of its pixels.
        access: how the server lets us in.

    Raises:
        InputError: the server cannot be asked, has no such series or does not give it whole; the folder is there
            already.
    """
    for uid in (study_uid, series_uid):
        if not re.fullmatch(RE_VALID_UID, uid):
            raise InputError(uid, "is no UID", "Give those of the study and of the series")
    client, folder = connect(url, access), Path(folder)
    with folder_written_whole(folder) as temporary:
        try:
            came = _written(client, study_uid, series_uid, temporary)
            there = instances_there(client, study_uid, series_uid) if came else set()
        except InputError:
            raise
        except (InvalidDicomError, KeyError, ValueError) as error:  # no DICOM, no boundary, another kind of content
            raise ServerError(url, "does not answer as a DICOMweb service does", ROOT) from error
        except UNREADABLE as error:
            raise _cut_off(url, "an image cannot be read") from error
        except Exception as error:
            came = set()
            if getattr(getattr(error, "response", None), "status_code", 0) != 404:
                raise refusal(error, url) or error from error
        if not came:
            raise InputError(url, "has no images of this series", "Search for it: UIDs of study and series must match")
        if not there or there - came:
            raise _cut_off(url, f"{len(there & came)} of the {len(there)} images that it lists came")
    return sorted(folder.iterdir())


def _written(client: DICOMwebClient, study: str, series: str, folder: Path) -> set[str]:
    """SOPInstanceUIDs of the images that came, all of them whole, and were written."""
    came = set()
    images = client.iter_series(study, series, media_types=AS_STORED)
    for number, image in enumerate(progress(images, "fetching", unit="image"), 1):
        if is_incomplete(image):
            raise _cut_off(client.base_url, f"image {number} lacks UIDs or pixels")
        if image.SeriesInstanceUID != series:
            raise ValueError("of another series")
        image.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
        came.add(str(image.SOPInstanceUID))
    return came


def _cut_off(url: str, how: str) -> InputError:
    """Without a length or chunks an answer that ends early looks like a whole one."""
    remedy = "Fetch it again; if it stays so, look into the logs of the server and of a proxy before it"
    return InputError(url, f"did not give the series whole: {how}", remedy)
