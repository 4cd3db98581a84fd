"""What a DICOMweb server has: series by their attributes, and the images of one series (QIDO-RS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from medtrans.scans.dicomweb.connection import Access, connect
from medtrans.scans.dicomweb.refusals import ROOT, ServerError, refusal

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

PAGE = 1000  # rows asked for at a time; servers may give fewer


def search_series(url: str, filters: Mapping[str, str] | None = None, access: Access | None = None) -> list[Dataset]:
    """The series of a server that match.

    Args:
        url: root of the DICOMweb service.
        filters: DICOM keyword -> value, such as ``{"StudyInstanceUID": "1.2.3", "Modality": "MR"}``.
        access: how the server lets us in.

    Returns:
        What the server tells of each; names of patients may be among it.

    Raises:
        InputError: the server cannot be asked.
    """
    client = connect(url, access)
    try:
        return _all(
            lambda **page: client.search_for_series(search_filters=dict(filters or {}), **page),
            "SeriesInstanceUID",
            url,
        )
    except Exception as error:
        raise refusal(error, url) or error from error


def instances_there(client: DICOMwebClient, study: str, series: str) -> set[str]:
    """SOPInstanceUIDs of the images that the server has of a series."""
    import requests

    def search(**page: Any) -> list[dict[str, Any]]:
        try:
            return client.search_for_instances(study, series, **page)
        except requests.HTTPError as error:
            if error.response.status_code == 404:  # how some say that there is no such series
                return []
            raise

    return {str(row.SOPInstanceUID) for row in _all(search, "SOPInstanceUID", client.base_url)}


def _all(search: Callable[..., list[dict[str, Any]]], unique: str, url: str) -> list[Dataset]:
    """Every row, page by page until one brings nothing new: servers limit pages, and some ignore the offset."""
    rows: dict[str, Dataset] = {}
    while True:
        page = search(limit=PAGE, offset=len(rows) or None)
        new = {}
        for row in page:
            try:
                found = Dataset.from_json(row)
                new[str(found[unique].value)] = found
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ServerError(url, "does not answer searches as a DICOMweb service does", ROOT) from error
        if new.keys() <= rows.keys():
            return list(rows.values())
        rows |= new
