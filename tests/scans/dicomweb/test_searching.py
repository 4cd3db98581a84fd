"""Searches bring everything, also from servers that give little at a time, and are never endless."""

import pytest

from medtrans.errors import InputError
from medtrans.scans.dicomweb import search_series
from medtrans.scans.dicomweb.connection import connect
from medtrans.scans.dicomweb.searching import instances_there


@pytest.mark.parametrize(("page", "endless"), [(1 << 40, False), (3, False), (1, False), (1 << 40, True)])
def test_every_page_is_asked_for_once(page, endless, pacs):
    pacs.page, pacs.endless = page, endless
    pacs.images = {f"1.2.{n}": ("1.1", f"1.3.{n % 5}", b"") for n in range(7)}
    assert [row.SeriesInstanceUID for row in search_series(pacs.url)] == [f"1.3.{n}" for n in range(5)]
    assert instances_there(connect(pacs.url), "1.1", "1.3.0") == {"1.2.0", "1.2.5"}
    assert len(pacs.requests) <= 2 + 5 + 2 + 2


def test_a_series_that_is_not_there_has_no_images(pacs, monkeypatch):
    assert instances_there(connect(pacs.url), "1.1", "1.3.0") == set()
    monkeypatch.setattr(pacs, "find", lambda path: (404, b""))
    assert instances_there(connect(pacs.url), "1.1", "1.3.0") == set()
    monkeypatch.setattr(pacs, "find", lambda path: (204, b""))
    assert instances_there(connect(pacs.url), "1.1", "1.3.0") == set()


@pytest.mark.parametrize("body", [b'["a", "b"]', b'[{"00100010": {"vr": "PN"}}]', b"<html>Sign in</html>", b"[1, 2]"])
def test_what_is_no_dicomweb_service_is_told(body, pacs, monkeypatch):
    monkeypatch.setattr(pacs, "find", lambda path: (200, body))
    with pytest.raises(InputError, match=r"does not answer .*as a DICOMweb service does.*Give the root"):
        search_series(pacs.url)
