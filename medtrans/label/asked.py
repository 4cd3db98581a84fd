"""What a DICOMweb server lists, asked for now and then: clients want to know far more often than it changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from pydicom.dataset import Dataset

from medtrans.errors import InputError
from medtrans.scans.derived.provenance import MANUFACTURER, NOTICE
from medtrans.scans.derived.sources import MARK
from medtrans.scans.dicomweb import Access, search_series

FRESH = 30.0  # seconds until the server is asked again
logger = logging.getLogger(__name__)


class SeriesListing:
    """The series of some modalities on a DICOMweb server, those that medtrans itself made left out.

    Args:
        url: root of the service.
        modalities: DICOM's codes, such as MR.
        access: how the server lets us in.
    """

    def __init__(self, url: str, modalities: Iterable[str], access: Access) -> None:
        self.url, self.modalities, self.access = url, sorted(set(modalities)), access
        self._found: list[Dataset] = []
        self._asked, self._failed, self._asking = float("-inf"), False, threading.Lock()

    def now(self) -> list[Dataset]:
        """What the server tells of the series, not older than :data:`FRESH`.

        Raises:
            InputError: the server cannot be reached, or lets us not in.
        """
        with self._asking:
            if self._failed or self._old():
                self._ask()
            return list(self._found)

    def lately(self) -> list[Dataset]:
        """The same, but of the last time that it answered, if ever, where it does not: that is no error here."""
        with self._asking:
            if self._old():
                known = self._failed
                try:
                    self._ask()
                except InputError as error:
                    if not known:
                        logger.warning("its series are not listed: %s", error)
            return list(self._found)

    def _old(self) -> bool:
        return time.monotonic() - self._asked > FRESH

    def _ask(self) -> None:
        self._failed = True
        try:
            of_each = [search_series(self.url, {"Modality": name}, self.access) for name in self.modalities]
            self._found = [series for of_one in of_each for series in of_one if not made_by_medtrans(series)]
            self._failed = False
        finally:
            self._asked = time.monotonic()


def made_by_medtrans(series: Dataset) -> bool:
    """Whether what a server tells of a series, which is little, says that it is a derived one of ours.

    Scanners make "synthetic" contrasts, too; what ours are not for is said by ours alone.
    """
    described = str(series.get("SeriesDescription") or "")
    maker = str(series.get("Manufacturer") or MANUFACTURER)  # most servers do not tell it of a series
    return described.startswith(MARK) and NOTICE in described and maker == MANUFACTURER
