import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate

from medtrans.transforms import RestoreByWindowd, ScaleByWindowd, Window

WINDOWS = {"source": [[0.0, 800.0, ""], [-1024.0, 2000.0, "HU"]], "target": [[0.0, 20.0, "SUV"]]}


def item(kind=torch.tensor):
    generator = np.random.default_rng(0)
    source = np.stack([generator.uniform(0, 800, (4, 5)), generator.uniform(-1024, 2000, (4, 5))])
    return {
        "source": kind(source.astype(np.float32)),
        "target": kind(generator.uniform(0, 20, (1, 4, 5)).astype(np.float32)),
        "windows": WINDOWS,
    }


def test_every_channel_is_scaled_by_its_own_window():
    before, after = item(), ScaleByWindowd()(item())
    for key in ("source", "target"):
        for channel, (lower, upper, _) in enumerate(WINDOWS[key]):
            expected = np.interp(before[key][channel], [lower, upper], [-1, 1])
            np.testing.assert_allclose(after[key][channel], expected, atol=1e-6)


def test_values_outside_the_window_are_cut_off_unless_asked_otherwise():
    data = {"target": torch.tensor([[-5.0, 10.0, 40.0]]), "windows": WINDOWS}
    assert ScaleByWindowd("target")(data)["target"].tolist() == [[-1.0, 0.0, 1.0]]
    assert ScaleByWindowd("target", clip=False)(data)["target"].tolist() == [[-1.5, 0.0, 3.0]]


@given(lower=st.floats(-2000, 2000), width=st.floats(0.1, 5000), share=st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_the_inverse_restores(lower, width, share):
    value = torch.tensor([[lower + share * width]])
    data = {"source": value, "windows": {"source": [[lower, lower + width, ""]]}}
    scale = ScaleByWindowd("source")
    restored = scale.inverse(scale(data))["source"]
    assert abs(float(restored - value)) < 1e-3 * (abs(lower) + width) / 1000 + 1e-3 * width / 100


def test_volumes_keep_their_affine():
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    data = {
        "target": MetaTensor(torch.rand(2, 3, 4, 5), affine=affine),
        "windows": {"target": [[0, 1, ""], [0, 2, ""]]},
    }
    for after in (ScaleByWindowd("target")(data), RestoreByWindowd("target")(data)):
        assert isinstance(after["target"], MetaTensor)
        assert torch.equal(after["target"].affine, affine)
        assert after["target"].shape == (2, 3, 4, 5)


def test_a_prediction_gets_the_unit_of_the_target():
    data = {"pred": torch.tensor([[-1.0, 0.0, 1.0, 1.5]]), "windows": WINDOWS}
    assert RestoreByWindowd("pred")(data)["pred"].tolist() == [[0.0, 10.0, 20.0, 20.0]]
    assert RestoreByWindowd("pred", clip=False)(data)["pred"].tolist() == [[0.0, 10.0, 20.0, 25.0]]


@pytest.mark.parametrize("window", [[-1000.0, 1000.0, "HU"], Window(-1000.0, 1000.0), {"lower": -1000, "upper": 1000}])
def test_windows_of_the_model_take_the_place_of_the_items(window):
    data = {"pred": torch.tensor([[0.5]])}
    assert RestoreByWindowd("pred", windows=[window])(data)["pred"].tolist() == [[500.0]]


def test_half_precision_predictions_are_restored_in_float32():
    pred = RestoreByWindowd("pred", windows=[[-1024, 2000, "HU"]])({"pred": torch.zeros(1, 2, dtype=torch.bfloat16)})[
        "pred"
    ]
    assert pred.dtype == torch.float32
    assert pred.tolist() == [[488.0, 488.0]]


def test_the_number_of_windows_is_that_of_the_channels():
    with pytest.raises(ValueError, match="1 channel"):
        RestoreByWindowd("pred", windows=[[0, 1, ""], [0, 1, ""]])({"pred": torch.zeros(1, 2)})


def test_windows_survive_a_batch():
    batch = list_data_collate([ScaleByWindowd()(item()), ScaleByWindowd()(item())])
    for part in decollate_batch(batch):
        restored = RestoreByWindowd("source", of="source")(part)["source"]
        np.testing.assert_allclose(restored.numpy(), item()["source"].numpy(), atol=1e-3)
