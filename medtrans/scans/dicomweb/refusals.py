"""What a DICOMweb server refuses and why, in words: HTTP statuses, failure reasons, and no answer at all."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydicom.dataset import Dataset

from medtrans.errors import InputError
from medtrans.scans.dicomweb.connection import EXAMPLE, PASSWORD

ROOT = f"Give the root of its DICOMweb service, such as {EXAMPLE}"
LOG = "Its log says more"
# status -> problem, remedy, whether nothing else will fare better
STATUSES: dict[int, tuple[str, str, bool]] = {
    401: ("lets nobody in without the right credentials",
          f"Give --user, with the password in {PASSWORD}, or --token-file", True),
    403: ("does not allow this", "Ask its administrator for the right to search and store", False),
    404: ("has no DICOMweb service there", ROOT, True),
    405: ("has no DICOMweb service there", ROOT, True),
    409: ("stored none of the images", LOG, False),
    413: ("takes no image of this size", "Raise the limit of it, or of the proxy before it", False),
    415: ("does not take DICOM images", ROOT, False),
    429: ("is too busy", "Run again later", False),
    503: ("is too busy", "Run again later", False),
    507: ("is full", "Make room there", False),
}  # fmt: skip
# Failure Reason (0008,1197), PS3.18 table I.2-2, and "not authorized" of PS3.7
REASONS: dict[int, tuple[str, str]] = {
    0x0110: ("it failed while processing them", LOG),
    0x0122: ("it does not store this kind of image (SOP class)", "Allow the SOP class there"),
    0x0124: ("the user may not store them", "Ask its administrator for the right to store"),
    0xC122: ("it does not take their transfer syntax, explicit little endian", "Allow it there"),
}
RANGES: dict[int, tuple[str, str]] = {  # first hexadecimal digits
    0xA7: ("it is out of resources", "Make room there, or run again later"),
    0xA9: ("they do not match their SOP class", LOG),
    0xC: ("it cannot understand elements of them", LOG),
}


class ServerError(InputError):
    """The server as a whole does not serve: no series will fare better."""


def refusal(error: Exception, url: str) -> InputError | None:
    """What to tell of an error that a request ended with; None where it has nothing to do with the server."""
    import requests
    import retrying

    if isinstance(error, InputError):
        return error
    if isinstance(error, retrying.RetryError):  # the status of the last attempt is one to try again
        return _of_status(error.last_attempt.value.status_code, url)
    if isinstance(error, requests.TooManyRedirects):
        remedy = "Give the address that it leads to, if you trust it"
        return ServerError(url, "leads to another address, where patient data are not sent", remedy)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _of_status(error.response.status_code, url)
    if isinstance(error, requests.exceptions.SSLError):
        return _of_encryption(error, url)
    if isinstance(error, requests.Timeout):
        return ServerError(url, "did not answer in time", "Check that the server is well, and run again")
    if isinstance(error, requests.ConnectionError):
        return ServerError(url, "cannot be reached", "Check the address, and that the server runs")
    if isinstance(error, requests.RequestException):  # JSON that is none among them
        return ServerError(url, "does not answer as a DICOMweb service does", ROOT)
    return None


def _of_status(status: int, url: str) -> InputError:
    known = status in HTTPStatus.__members__.values()
    problem, remedy, whole = STATUSES.get(
        status, (f"answers with {HTTPStatus(status).phrase}" if known else "gives an unknown answer", LOG, False)
    )
    return (ServerError if whole else InputError)(url, f"{problem} (HTTP {status})", remedy)


def _of_encryption(error: Exception, url: str) -> InputError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        remedy = "Give the PEM file of the authority that signed it with --ca"
        return ServerError(url, "has a certificate that is not trusted, or is of another host", remedy)
    return ServerError(url, "does not speak https", "Check the address and its port")


def answer_in(error: Exception) -> Dataset | None:
    """The store response that came with an error, None where none did.

    Servers answer with 400 or 409 although they stored some images, and name those that they did not. The client reads
    the response only where the status is a good one.
    """
    response: Any = getattr(error, "response", None)
    try:
        answer = Dataset.from_json(response.json())
    except Exception:  # a page, a text, nothing
        return None
    return answer if answer.get("FailedSOPSequence") else None


def failure(code: int | None) -> tuple[str, str]:
    """What a Failure Reason means, and what to do about it."""
    if code is None:
        return "it does not say why", LOG
    meaning, remedy = REASONS.get(code) or RANGES.get(code >> 8) or RANGES.get(code >> 12) or ("", LOG)
    return f"{meaning or 'for a reason of its own'} ({code:04X})", remedy
