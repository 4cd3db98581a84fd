"""The synthetic volume as a derived DICOM series, sent to the server that its source series is from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medtrans.errors import InputError
from medtrans.scans.derived.exporting import export_series

UIDS = ("StudyInstanceUID", "SeriesInstanceUID")


def send_derived(volume: Path, like: Path, send: Callable[[Path], Any] | None) -> dict[str, Any]:
    """Write and send the series of one volume.

    Args:
        volume: with its sidecar beside it; the series is written beside it, too.
        like: folder of the source series.
        send: called with the folder of the series.

    Returns:
        The UIDs of study and series, and how many images it has.

    Raises:
        InputError: the series cannot be written or sent, or there is nowhere to send it.
    """
    from pydicom import dcmread

    if send is None:
        raise InputError("push", "has nowhere to send to", "Start the server with a DICOMweb server's studies")
    folder = volume.parent / "dicom"
    export_series([volume], folder, like)
    send(folder)
    images = sorted(folder.glob("*/*.dcm"))
    header = dcmread(images[0], stop_before_pixels=True)
    return {"dicom": {uid: str(header[uid].value) for uid in UIDS} | {"images": len(images)}}
