"""``medtrans push``: derived series stored on a DICOMweb server (STOW-RS), and a table of what became of each."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom

from medtrans.errors import CasesFailedError, InputError
from medtrans.files import check_writable, remove_abandoned
from medtrans.progress import progress
from medtrans.run_table import RunTable
from medtrans.scans.dicomweb.connection import Access, connect
from medtrans.scans.dicomweb.derived_files import DerivedSeries, Instance, derived_series
from medtrans.scans.dicomweb.refusals import ServerError, answer_in, failure, refusal
from medtrans.scans.dicomweb.searching import instances_there

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

COLUMNS = ("server", "folder", "status", "reason", "modality", "instances", "series")
TABLE = "pushed.csv"
PUSHED = RunTable(COLUMNS, "series sent", "Move it away")
REQUEST = 16 << 20  # bytes of images in a request, or a single image
WHOLE = 1 << 40  # chunks so large that none is made: proxies refuse them, and a repeated request would send nothing
INDEXING = (0.5, 2)  # s to wait for a server that lists images only a while after it took them
Row = dict[str, str]
logger = logging.getLogger(__name__)


def send_series(folder: str | Path, url: str, access: Access | None = None) -> list[Row]:
    """Store every derived series below ``folder`` on a server.

    Images that the server has already are not sent again, so that a killed run goes on where it was. One series that
    fails never stops the others. ``folder/pushed.csv`` has a row a series and server: ``ok``, ``kept`` where the server
    had it, or ``failed`` with the reason; and how many of its images the server has.

    Args:
        folder: what `medtrans export` or `medtrans translate --dicom` wrote, or a part of it.
        url: root of the DICOMweb service.
        access: how the server lets us in.

    Raises:
        InputError: the folder holds no derived series, or something else; the server cannot be reached or lets us
            not in.
        CasesFailedError: some series failed; they are in the table.
    """
    folder, shown = Path(folder), url.rstrip("/")
    client = connect(url, access)
    client.set_chunk_size(WHOLE)
    everything = derived_series(folder)
    table = (folder if folder.is_dir() else folder.parent) / TABLE
    check_writable(table.parent)
    remove_abandoned(table.parent)
    rows = {(row["server"], row["series"]): row for row in PUSHED.read(table)}
    for series in everything:
        try:
            rows[shown, series.uid] = row = _sent(series, client, shown)
        except ServerError as error:
            rows[shown, series.uid] = _row(series, shown, "failed", 0, str(error))
            PUSHED.write(table, rows.values())
            raise
        PUSHED.write(table, rows.values())
        logger.log(logging.ERROR if row["status"] == "failed" else logging.INFO, "%s: %s", series.folder, _shown(row))
    done = [rows[shown, series.uid] for series in everything]
    failed = [row for row in done if row["status"] == "failed"]
    if failed:
        problem = f"{len(failed)} of {len(done)} series failed, the first: {failed[0]['folder']}: {failed[0]['reason']}"
        raise CasesFailedError(table, problem, "Mend them and run again; what the server has is kept")
    return done


def _sent(series: DerivedSeries, client: DICOMwebClient, url: str) -> Row:
    """The row of one series, once the server has it.

    Raises:
        ServerError: the server does not serve at all.
    """
    count, there = len(series.instances), set[str]()
    refused: dict[str, int | None] = {}
    try:
        there = instances_there(client, series.study, series.uid)
        missing = [instance for instance in series.instances if instance.uid not in there]
        if not missing:
            return _row(series, url, "kept", count)
        requests = list(_requests(missing))
        shown = progress(requests, f"sending {series.folder}", unit="request") if len(requests) > 1 else requests
        for images in shown:
            refused |= _store(client, images)
        there = _listed(client, series, refused)
        lacking = [instance for instance in missing if instance.uid not in there]
        if lacking:
            return _row(series, url, "failed", count - len(lacking), _why(lacking, refused, url))
        return _row(series, url, "ok", count)
    except ServerError:
        raise
    except Exception as error:  # one broken series must not stop the others
        known = refusal(error, url)
        if isinstance(known, ServerError):
            raise known from error
        with suppress(Exception):  # it may have stored some before
            there = instances_there(client, series.study, series.uid)
        logger.debug("sending failed: %s", type(error).__name__)  # its text may quote header values
        reason = str(known) if known else f"unexpected {type(error).__name__} while sending"
        return _row(series, url, "failed", len(there), reason)


def _requests(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """The images, as many at a time as go into one request."""
    images: list[Instance] = []
    size = 0
    for instance in instances:
        own = instance.path.stat().st_size
        if images and size + own > REQUEST:
            yield images
            images, size = [], 0
        images.append(instance)
        size += own
    yield images


def _store(client: DICOMwebClient, images: Sequence[Instance]) -> dict[str, int | None]:
    """Store images by one request, or by several where the server calls it too large.

    Returns:
        SOPInstanceUIDs of those that it refused, with its reasons.
    """
    import requests

    try:
        answer = client.store_instances([pydicom.dcmread(image.path) for image in images])
    except requests.HTTPError as error:
        if error.response.status_code == 413 and len(images) > 1:
            half = len(images) // 2
            return _store(client, images[:half]) | _store(client, images[half:])
        told = answer_in(error)
        if told is None:
            raise
        answer = told
    failed = answer.get("FailedSOPSequence") or ()
    return {str(item.get("ReferencedSOPInstanceUID", "")): item.get("FailureReason") for item in failed}


def _listed(client: DICOMwebClient, series: DerivedSeries, refused: Collection[str]) -> set[str]:
    """SOPInstanceUIDs that the server lists, after a while for those that it should.

    Its word that it stored an image is not enough: some say so of images that a filter drops.
    """
    expected = {instance.uid for instance in series.instances} - set(refused)
    there = instances_there(client, series.study, series.uid)
    for pause in INDEXING:
        if there >= expected:
            break
        time.sleep(pause)
        there = instances_there(client, series.study, series.uid)
    return there


def _why(lacking: Sequence[Instance], refused: Mapping[str, int | None], url: str) -> str:
    """Why the server has not got these images: the reason it gave for most of them."""
    count = f"{len(lacking)} image" + ("s" if len(lacking) > 1 else "")
    codes = Counter(refused[image.uid] for image in lacking if image.uid in refused)
    if not codes:
        remedy = "Look for a filter there that drops them, or run again later"
        return str(InputError(url, f"took {count} and does not list them", remedy))
    (code, _), *_ = codes.most_common(1)
    meaning, remedy = failure(code)
    return str(InputError(url, f"did not store {count}: {meaning}", remedy))


def _row(series: DerivedSeries, url: str, status: str, there: int, reason: str = "") -> Row:
    values = (url, series.folder, status, reason, series.modality, str(there), series.uid)
    return dict(zip(COLUMNS, values, strict=True))


def _shown(row: Row) -> str:
    if row["status"] == "failed":
        return row["reason"]
    return f"{row['instances']} {row['modality']} images" + (" (kept)" if row["status"] == "kept" else " sent")
