"""Motion as a transform: identity, reference, severity, record, alignment, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.errors import InputError
from medtrans.simulate import HeadPhantom
from medtrans.simulate.mr import SEQUENCES, MRMotion, MRMotiond, Slices
from medtrans.simulate.mr.trajectories import KINDS


@pytest.fixture(scope="module")
def head():
    """A T1 of 4 mm voxels, (1, X, Y, Z)."""
    return torch.from_numpy(HeadPhantom(0, spacing=4.0, noise=False).images(["T1"])["T1"])[None]


@given(
    st.lists(st.integers(7, 20), min_size=2, max_size=3),
    st.lists(st.floats(0.7, 5), min_size=3, max_size=3),
    st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_a_head_that_rests_is_not_changed(sizes, spacing, channels):
    image = torch.rand(channels, *sizes) * 500
    still = MRMotion(severity=0).set_random_state(0)(image, spacing[: len(sizes)])
    assert (still - image).abs().max() < 1e-5 * image.max()
    assert still.dtype == torch.float32


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_head_that_lies_elsewhere_but_rests_is_not_changed(sequence):
    image = torch.rand(1, 12, 10, 8)
    elsewhere = np.array([[0, 9, -5, 14, 12, -8, 5], [1, 9, -5, 14, 12, -8, 5.0]])
    elsewhere[1, 0] = 1e6
    still = MRMotion(table=elsewhere, sequence=sequence)(image, (3, 3, 4))
    assert (still - image).abs().max() < 1e-5 * image.max()
    assert still.meta["degradations"][0]["parameters"]["severity_mm"] < 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("cut", "spacing"), [(np.s_[...], (4, 4, 4)), (np.s_[..., 24], (4, 4)), (np.s_[..., ::3], (4, 4, 12))]
)
def test_the_severity_is_the_one_drawn_and_the_head_is_degraded(head, kind, cut, spacing):
    image = head[cut]
    moved = MRMotion(severity=(1.0, 3.0), kinds=kind).set_random_state(3)(image, spacing)
    record = json.loads(json.dumps(moved.meta["degradations"][0]["parameters"]))
    assert 1 <= record["severity_mm"] <= 3
    assert torch.equal(MRMotion().reapply(image, record, spacing), moved)
    error = (moved - image).square().mean().sqrt() / image.std()
    assert 0.02 < error < 0.9
    assert moved.min() >= 0
    assert moved.mean() == pytest.approx(float(image.mean()), rel=0.35)


@pytest.mark.parametrize("severity", [0.5, 2.0, 6.0])
def test_a_number_as_severity_is_met_exactly(severity):
    for seed in range(5):
        motion = MRMotion(severity=severity).set_random_state(seed)
        motion.randomize(torch.empty(1, 32, 40, 24), (2, 2, 2))
        assert motion.parameters["severity_mm"] == pytest.approx(severity, rel=1e-6)


def test_more_severe_motion_degrades_more(head):
    image, errors = head[..., 24], []
    for severity in (0.5, 1, 2, 4):
        moved = MRMotion(severity=severity, kinds="drift", sequence="turbo_spin_echo").set_random_state(1)(
            image, (4, 4)
        )
        errors.append(float((moved - image).square().mean()))
    assert errors == sorted(errors)


def test_a_dictionary_moves_its_images_alike(head):
    image = head[..., 24]
    moving = MRMotiond(["source", "other"], severity=2.0).set_random_state(0)
    item = moving({"source": image, "other": 2 * image, "spacing": [4.0, 4.0]})
    assert torch.allclose(2 * item["source"].as_tensor(), item["other"].as_tensor(), rtol=1e-4, atol=1e-2)


def test_settings_nobody_can_mean_are_refused():
    for wrong in (
        {"severity": -1},
        {"kinds": "jump"},
        {"kinds": ()},
        {"sequence": "epi"},
        {"axes": (0, 0)},
        {"reference": "mean"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MRMotion(**wrong)
    with pytest.raises(ValueError, match="volume"):
        MRMotion(sequence="mp_rage")(torch.rand(1, 8, 8), (1, 1))
    with pytest.raises(ValueError, match="axes"):
        MRMotion(axes=(0, 1))(torch.rand(1, 8, 8, 8), (1, 1, 1))


def test_a_table_that_ends_before_the_scan_is_refused():
    short = np.array([[0, 0, 0, 0, 0, 0, 0], [10, 1, 0, 0, 0, 0, 0.0]])
    with pytest.raises(InputError, match="covers 0 to 10 s"):
        MRMotion(table=short, sequence=Slices(tr=4, echo_train=1))(torch.rand(1, 16, 16), (1, 1))
