"""Failure reasons in words: the table of PS3.18 I.2.2."""

import pytest

from medtrans.scans.dicomweb.refusals import failure


@pytest.mark.parametrize(
    ("codes", "meaning"),
    [
        ((0xA700, 0xA7FF), "out of resources"),
        ((0xA900, 0xA9FF), "do not match their SOP class"),
        ((0xC000, 0xC121, 0xC123, 0xCFFF), "cannot understand elements"),
        ((0xC122,), "transfer syntax"),
        ((0x0110,), "failed while processing"),
        ((0x0122,), "does not store this kind of image"),
        ((0x0124,), "may not store"),
        ((0xB00E, 0xA800, 0x1234, 0xD000), "a reason of its own"),
    ],
)
def test_every_reason_of_the_standard_has_words_and_keeps_its_number(codes, meaning):
    for code in codes:
        assert meaning in failure(code)[0]
        assert f"({code:04X})" in failure(code)[0]


def test_no_reason_is_told_too():
    assert "does not say why" in failure(None)[0]
