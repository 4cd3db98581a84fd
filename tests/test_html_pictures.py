"""A picture inside a page is the picture of the file."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medtrans.html_pictures import data_uri


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_address_holds_the_picture_in_less_room(tmp_path, mode):
    x, y = np.meshgrid(np.linspace(0, 6, 300), np.linspace(0, 4, 200))
    noise = np.random.default_rng(0).normal(0, 3, x.shape)
    Image.fromarray((100 + 60 * np.sin(x * y) + noise).astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    head, _, code = data_uri(tmp_path / "a.png").partition(",")
    assert head == "data:image/jpeg;base64"
    shown = Image.open(io.BytesIO(base64.b64decode(code, validate=True)))
    assert shown.format == "JPEG"
    truth = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"), float)
    assert np.abs(np.asarray(shown, float) - truth).mean() < 3
    assert len(base64.b64decode(code)) < (tmp_path / "a.png").stat().st_size / 2
