import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from medtrans.transforms import Isotropic, isotropic_as_trained
from medtrans.transforms.training_grid import body_box, framed_grid, ras_grid


def scan(shape=(60, 70, 30), spacing=2.0, centre=(20, 45, 15), radius=(10, 12, 9)):
    """A CT of a ball in air, flipped to LPS, and where its box lies in millimetres."""
    x = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    c, r = (np.asarray(v, float)[:, None, None, None] for v in (centre, radius))
    values = np.where((((x - c) / r) ** 2).sum(0) <= 1, 40.0, -1000.0).astype(np.float32)
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = (11.0, 22.0, 33.0)
    ends = affine[:3, :3] @ np.stack([np.subtract(centre, radius), np.add(centre, radius)], axis=1) + affine[:3, 3:]
    return values, affine, np.sort(ends, axis=1).T


def test_the_box_of_the_body_is_found_in_millimetres():
    values, affine, expected = scan()
    np.testing.assert_allclose(body_box(values, affine, "CT"), expected, atol=2.0)
    assert body_box(np.full((8, 8, 8), -1000.0), affine, "CT") is None
    assert body_box(np.zeros((8, 8, 8)), affine, "MR") is None


@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    size=st.tuples(*[st.one_of(st.none(), st.integers(1, 50))] * 3),
    box=st.tuples(*[st.tuples(st.floats(-5, 20), st.floats(0, 30))] * 3),
)
@settings(deadline=None, max_examples=80)
def test_a_framed_grid_keeps_the_lattice_and_holds_the_body(shape, size, box):
    affine = np.diag([1.5, 1.0, 0.5, 1.0])
    affine[:3, 3] = (-3, 4, 5)
    lower = np.array([a for a, _ in box])
    frame = np.stack([lower, lower + [b for _, b in box]])
    new, counts = framed_grid((affine, shape), size, frame)
    step = np.diag(affine)[:3]
    shift = (new[:3, 3] - affine[:3, 3]) / step
    np.testing.assert_allclose(shift, np.rint(shift), atol=1e-9)
    for axis in range(3):
        long = size[axis] is None or frame[1, axis] - frame[0, axis] > size[axis] * step[axis]
        assert counts[axis] == (shape[axis] if long else size[axis])
        if not long:
            middle = new[axis, 3] + step[axis] * (counts[axis] - 1) / 2
            assert abs(middle - frame[:, axis].mean()) <= 0.5 * step[axis] + 1e-9


def test_without_a_body_the_middle_of_the_field_of_view_is_framed():
    affine, shape = np.eye(4), (20, 21, 9)
    new, counts = framed_grid((affine, shape), (10, 31, None), None)
    assert counts == (10, 31, 9)
    np.testing.assert_allclose(new[:3, 3], [5, -5, 0])
    kept, same = framed_grid((affine, shape), (None, 21, None), None)
    assert kept is affine
    assert same == shape


def test_a_scan_comes_into_the_frame_and_goes_back():
    values, affine, _ = scan()
    volume = MetaTensor(torch.from_numpy(values)[None], affine=torch.from_numpy(affine))
    transform = Isotropic(1.0, background=-1000.0, size=[64, 64, None], kind="CT")
    out = transform(volume)
    assert out.shape == (1, 64, 64, 60)
    body = (out[0] > -480).nonzero().float()
    np.testing.assert_allclose(((body.amin(0) + body.amax(0)) / 2)[:2], [31.5, 31.5], atol=1.5)
    back = transform.inverse(out)
    assert back.shape == volume.shape
    assert torch.equal(back.affine, volume.affine)
    assert float((back - volume).abs().mean()) < 5
    assert float(back[0, 55:].max()) == -1000.0  # beyond the frame


def test_a_body_longer_than_the_window_is_not_cut():
    values, affine, _ = scan(radius=(10, 12, 9))
    volume = MetaTensor(torch.from_numpy(values)[None], affine=torch.from_numpy(affine))
    out = Isotropic(1.0, background=-1000.0, size=[44, 30, None], kind="CT")(volume)
    assert out.shape == (1, 44, 140, 60)


def test_the_right_frame_comes_back_bit_for_bit():
    volume = MetaTensor(torch.rand(1, 12, 12, 5), affine=torch.eye(4, dtype=torch.float64))
    transform = Isotropic(1.0, size=[12, 12, None])
    assert torch.equal(transform(volume).as_tensor(), volume.as_tensor())
    wider = Isotropic(1.0, size=[16, 8, None], background=-9.0)(volume)
    assert torch.equal(wider[:, 2:14].as_tensor(), volume[:, :, 2:10].as_tensor())
    assert (wider[:, :2] == -9).all()


def test_the_training_data_say_how(monkeypatch):
    entry = {"background": -1024.0, "kind": "CT", "interpolation": "cubic", "clamp": [-1024.0, 3071.0]}
    described = {"spacing": [1.0, 1.0, 2.0], "size": [8, 8, None], "source": [entry, entry | {"clamp": "source"}]}
    array = isotropic_as_trained(described).arrays[0]
    assert (array.spacing, array.size, array.kind) == ((1.0, 1.0, 2.0), [8, 8, None], "CT")
    assert (array.background, array.mode) == ([-1024.0] * 2, ["cubic"] * 2)
    channels = np.stack([np.full((2, 2, 2), -2000.0), np.full((2, 2, 2), 7.0)])
    assert array._bounds(channels) == [(-1024.0, 3071.0), (7.0, 7.0)]
    assert isotropic_as_trained(described, frame=False).arrays[0].size is None
    old = {"spacing": [1.0] * 3, "source": [{"background": 0.0}]}  # a hand-made recipe states no more
    plain = isotropic_as_trained(old).arrays[0]
    assert (plain.mode, plain.size, plain.kind) == (["linear"], None, None)
    assert plain._bounds(channels[:1]) == [(None, None)]


def test_the_number_of_clamps_is_that_of_the_channels():
    volume = MetaTensor(torch.rand(1, 4, 4, 4), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])).double())
    with pytest.raises(ValueError, match="1 channel"):
        Isotropic(1.0, clamp=["source", None])(volume)


def test_a_right_grid_is_kept_whatever_its_origin():
    affine = np.eye(4)
    affine[:3, 3] = (0.3, 0.7, -5)
    assert ras_grid(affine, (9, 9, 9), (1.0, 1.0, 1.0))[0] is affine
