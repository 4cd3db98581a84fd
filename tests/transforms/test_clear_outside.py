import pytest
import torch
from monai.data import MetaTensor

from medtrans import InputError
from medtrans.transforms import ClearOutsided


def scan():
    """A body in air on a table, CT and a second channel."""
    ct = torch.full((20, 20, 8), -1000.0)
    ct[5:15, 6:16] = 40.0
    ct[:, 2] = 300.0
    return MetaTensor(torch.stack([ct, ct + 5000]), affine=torch.eye(4))


def test_the_table_goes_and_the_body_stays():
    before, after = scan(), ClearOutsided("source", "CT", [-1024.0, 0.0])({"source": scan()})["source"]
    assert torch.equal(after[:, 5:15, 6:16].as_tensor(), before[:, 5:15, 6:16].as_tensor())
    assert (after[0, :, :6] == -1024).all()
    assert (after[1, :, :6] == 0).all()
    assert torch.equal(after.affine, before.affine)


def test_it_can_be_switched_off():
    item = {"source": scan()}
    assert ClearOutsided("source", "CT", enabled=False)(item)["source"] is item["source"]


def test_a_scan_without_contrast_is_refused_by_name():
    with pytest.raises(InputError, match=r"s01 \(source\): shows no body"):
        ClearOutsided("source", "MR")({"case": "s01", "source": torch.zeros(1, 4, 4, 4)})
