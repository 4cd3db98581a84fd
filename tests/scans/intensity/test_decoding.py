import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLSLossless

from medtrans.scans import convert_export
from medtrans.scans.intensity import decoding
from medtrans.scans.intensity.decoding import Decoder, DecoderError, decode_apart


@pytest.fixture
def compressed(make_series):
    return make_series(Modality="CT", RescaleIntercept="0", RescaleSlope="1").write_all(JPEGLSLossless)


def with_other_rows(series, k):
    """A slice whose header claims more rows than its stream holds: GDCM ends its process on such a file."""
    path = series.folder / f"slice{k}"
    dataset = pydicom.dcmread(path)
    dataset.Rows += 1
    dataset.save_as(path)
    return path


def test_pixels_equal_those_decoded_here(compressed):
    for k in range(len(compressed.pixels)):
        np.testing.assert_array_equal(decode_apart(compressed.folder / f"slice{k}")[0], compressed.pixels[k])


def test_a_decoder_is_used_again(compressed):
    decode_apart(compressed.folder / "slice0")
    before = decoding.IDLE[-1].process.pid
    decode_apart(compressed.folder / "slice1")
    assert decoding.IDLE[-1].process.pid == before


def test_threads_have_decoders_of_their_own(compressed):
    paths = [compressed.folder / f"slice{k % 5}" for k in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for k, pixels in enumerate(pool.map(decode_apart, paths)):
            np.testing.assert_array_equal(pixels[0], compressed.pixels[k % 5])


def test_a_damaged_image_is_an_error_and_the_next_one_is_decoded(compressed):
    with pytest.raises(DecoderError):
        decode_apart(with_other_rows(compressed, 2))
    np.testing.assert_array_equal(decode_apart(compressed.folder / "slice1")[0], compressed.pixels[1])


def test_a_dead_decoder_is_told_and_replaced(compressed, monkeypatch):
    monkeypatch.setattr(decoding, "IDLE", [])
    monkeypatch.setattr(Decoder, "_wait", lambda self, seconds: (self.process.kill(), self.process.wait()))
    with pytest.raises(DecoderError, match="died"):
        decode_apart(compressed.folder / "slice0")
    monkeypatch.undo()
    np.testing.assert_array_equal(decode_apart(compressed.folder / "slice0")[0], compressed.pixels[0])


def test_a_decoder_that_hangs_is_ended(compressed, monkeypatch):
    monkeypatch.setattr(decoding, "PATIENCE", (0.5, 0))
    fifo = compressed.folder / "never"
    os.mkfifo(fifo)  # opening it waits for a writer that never comes
    start = time.monotonic()
    with pytest.raises(DecoderError, match="did not finish within"):
        decode_apart(fifo)
    assert time.monotonic() - start < 30


def test_one_image_that_kills_its_decoder_fails_its_series_only(make_series, tmp_path):
    good = make_series(SeriesNumber=1).write_all(JPEGLSLossless)
    bad = make_series(SeriesNumber=2)
    bad.folder, bad.series = good.folder / "bad", bad.series + ".1"
    bad.write_all(JPEGLSLossless)
    for k in range(5):
        with_other_rows(bad, k)
    table = convert_export(good.folder, tmp_path / "out")
    assert sorted(table.status) == ["converted", "failed"]
    assert "pixel data cannot be read" in table.reason[table.status == "failed"].item()
