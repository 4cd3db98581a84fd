import numpy as np
import pytest
import torch

from medtrans import InputError
from medtrans.transforms import FitWindowd, FixedWindow, PercentileWindow, ScaleByWindowd

PERCENTILE = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5}


def head():
    """A ball of tissue with values about 100, in air with a little noise."""
    generator = np.random.default_rng(0)
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, 24)] * 3, indexing="ij"))
    inside = (x**2).sum(0) < 0.5
    values = np.where(inside, generator.normal(100, 10, inside.shape), np.abs(generator.normal(0, 1, inside.shape)))
    return torch.from_numpy(values.astype(np.float32))[None], torch.from_numpy(inside)[None]


def test_the_window_is_that_of_the_rule_inside_the_body():
    volume, inside = head()
    windows = FitWindowd(rules=[PERCENTILE])({"source": volume})["windows"]["source"]
    expected = np.percentile(volume[inside].numpy(), 99.5)
    assert windows[0][0] == 0.0
    assert windows[0][1] == pytest.approx(expected, rel=0.02)  # Otsu's mask is not the ball to the voxel


def test_the_items_own_mask_is_taken_where_asked_for():
    volume, inside = head()
    half = inside.clone()
    half[:, 12:] = False
    volume[:, 12:] *= 5
    item = {"source": volume, "mask": half.float()}
    given = FitWindowd(rules=[PercentileWindow(99.5)], mask_key="mask")(item)["windows"]["source"]
    assert given[0][1] == pytest.approx(np.percentile(volume[half].numpy(), 99.5))
    found = FitWindowd(rules=[PercentileWindow(99.5)])(item)["windows"]["source"]
    assert found[0][1] > 3 * given[0][1]


def test_channels_have_their_own_rules_and_other_windows_stay():
    volume, _ = head()
    rules = {"source": [PercentileWindow(50), FixedWindow(-1024, 2000, "HU")]}
    item = {"source": torch.cat([volume, volume]), "windows": {"target": [[0, 1, ""]]}}
    after = FitWindowd("source", rules)(item)
    assert after["windows"]["source"][1] == [-1024, 2000, "HU"]
    assert after["windows"]["target"] == [[0, 1, ""]]
    assert "source" not in item["windows"]
    scaled = ScaleByWindowd("source")(after)["source"]
    assert scaled.min() >= -1
    assert scaled.max() <= 1


def test_a_scan_without_contrast_or_channel_is_refused_by_name():
    with pytest.raises(InputError, match="case 7"):
        FitWindowd(rules=[PERCENTILE])({"source": torch.zeros(1, 8, 8, 8), "case": "case 7"})
    with pytest.raises(InputError, match=r"has 2 channel\(s\), but the model was trained with 1"):
        FitWindowd(rules=[PERCENTILE])({"source": torch.zeros(2, 8, 8, 8)})


def test_the_body_is_found_as_the_rule_says():
    volume = torch.full((1, 16, 16, 16), -1000.0)
    volume[:, 4:12, 4:12, 4:12] = 40.0
    volume[:, 7:9, 7:9, 7:9] = 1500.0
    rule = PercentileWindow(50, lower=0, unit="HU")
    for chosen in (rule, PercentileWindow(50, lower=0, body="CT")):
        assert FitWindowd(rules=[chosen])({"source": volume.clamp(max=50.0) + torch.rand(16) / 100})["windows"][
            "source"
        ][0][0] == pytest.approx(40.0, abs=0.1)
