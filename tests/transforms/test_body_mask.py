import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage

from medtrans.transforms import BodyMask, BodyMaskd, PercentileWindow, body_mask


def ball(size=48, radius=18.0, centre=None):
    centre = (size - 1) / 2 if centre is None else centre
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1)
    return np.linalg.norm(grid - centre, axis=-1) <= radius


def dice(a, b):
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def test_ct_is_cut_at_minus_500_with_cavities_filled_and_the_table_left_out():
    body = ball()
    volume = np.where(body, 40.0, -1000.0).astype(np.float32)
    volume[20:28, 20:28, 20:28] = -1000.0  # a cavity
    volume[:, 1, :] = 200.0  # a table that does not touch the body
    assert np.array_equal(body_mask(volume, "CT") > 0, body)


def test_an_airway_open_at_the_top_is_filled_in_every_axial_slice():
    body = ball()
    volume = np.where(body, 40.0, -1000.0)
    volume[23:25, 23:25, 24:] = -1000.0  # from the middle to the outside
    mask = body_mask(volume, "CT")
    assert mask[23, 23, 30] == 1
    assert dice(mask, body) > 0.999


@pytest.mark.parametrize("kind", ["MR", "PET"])
def test_dim_tissue_is_body_even_beside_a_very_hot_lesion(kind):
    rng = np.random.default_rng(0)
    body = ball()
    volume = np.where(body, 100.0, 0.0) + np.abs(rng.normal(0, 4, body.shape))
    volume[ball(radius=10)] += 300.0
    volume[30:33, 30:33, 30:33] = 20_000.0
    assert dice(body_mask(volume, kind), body) > 0.95


@settings(max_examples=15, deadline=None)
@given(
    scale=st.floats(1e-3, 1e5),
    shift=st.integers(-3, 3),
    flip=st.sampled_from([(), (0,), (1,), (0, 2)]),
)
def test_mr_mask_follows_scale_shift_and_flips(scale, shift, flip):
    rng = np.random.default_rng(1)
    volume = (np.where(ball(32, 10), 100.0, 5.0) + rng.normal(0, 2, (32,) * 3)).astype(np.float32)
    expected = body_mask(volume, "MR")
    changed = np.flip(np.roll(volume, shift, axis=1), flip) * np.float32(scale)
    assert dice(body_mask(changed, "MR"), np.flip(np.roll(expected, shift, axis=1), flip)) > 0.995


def test_holes_agree_with_scipy_slice_by_slice():
    rng = np.random.default_rng(2)
    volume = ndimage.gaussian_filter(rng.normal(size=(40, 36, 20)), 2)
    mask = body_mask(volume, "CT", threshold=0.02)
    above = volume > 0.02
    labels, _ = ndimage.label(above)
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    expected = np.stack([ndimage.binary_fill_holes(largest[..., k]) for k in range(20)], axis=-1)
    assert np.array_equal(mask > 0, expected)


def test_two_dimensions_and_a_threshold_of_its_own():
    image = np.where(ball()[:, :, 24], 700.0, 100.0)
    mask = body_mask(image, "CT", threshold=500.0)
    assert mask.shape == (48, 48)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask > 0, image > 500)


def test_nothing_above_the_threshold_gives_an_empty_mask():
    assert not body_mask(np.full((8, 8, 8), -1000.0), "CT").any()


@pytest.mark.parametrize(
    ("volume", "kind", "message"),
    [
        (np.zeros((8, 8, 8)), "MR", "constant"),
        (np.zeros((8, 8, 8)), "US", "CT, MR, PET"),
        (np.zeros((1, 8, 8, 8)), "CT", "shape"),
    ],
)
def test_unusable_input_is_refused(volume, kind, message):
    with pytest.raises(ValueError, match=message):
        body_mask(volume, kind)


def test_transform_unites_channels_and_keeps_the_affine():
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    left, right = ball(centre=16.0, radius=8), ball(centre=30.0, radius=8)
    image = MetaTensor(np.where(np.stack([left, right]), 0.0, -1000.0), affine=affine)
    mask = BodyMask("CT")(image)
    assert isinstance(mask, MetaTensor)
    assert torch.equal(mask.affine, affine)
    assert mask.dtype == torch.uint8
    assert np.array_equal(np.asarray(mask)[0] > 0, left | right)


def test_dictionary_transform_writes_the_mask_and_leaves_the_image():
    volume = np.where(ball(), 0.0, -1000.0).astype(np.float32)[None]
    item = BodyMaskd(["source", "target"], "CT", allow_missing_keys=True)({"source": volume})
    assert np.array_equal(item["source"], volume)
    assert np.array_equal(item["mask"][0] > 0, ball())
    with pytest.raises(KeyError):
        BodyMaskd(["source", "target"], "CT")({"source": volume})


def test_percentile_window_finds_its_own_body_so_that_padding_does_not_change_it():
    rng = np.random.default_rng(3)
    volume = (np.where(ball(), 100.0, 0.0) + np.abs(rng.normal(0, 10, (48,) * 3))).astype(np.float32)
    padded = np.pad(volume, 20)
    with_body, without = PercentileWindow(upper=90, body="MR"), PercentileWindow(upper=90)
    assert with_body(padded) == with_body(padded, body_mask(padded, "MR")) == with_body(padded[None])
    assert with_body(padded).upper == pytest.approx(with_body(volume).upper, rel=0.002)
    assert without(padded).upper < 0.9 * without(volume).upper
