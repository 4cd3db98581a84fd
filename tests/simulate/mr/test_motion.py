"""Motion as a transform: identity, reference, severity, record, alignment, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medtrans.errors import InputError
from medtrans.simulate import HeadPhantom
from medtrans.simulate.mr import SEQUENCES, MRMotion, MRMotiond, Slices
from medtrans.simulate.mr.trajectories import KINDS, poses_at

REAL_T1 = Path(__file__).parents[4] / "shared" / "data" / "nifti_dev" / "mni2mm" / "single_subj_T1.nii.gz"


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


@pytest.mark.parametrize("sequence", ["turbo_spin_echo", "spin_echo"])
@pytest.mark.parametrize("reference", ["slice", "volume"])
def test_the_severity_of_slices_is_relative_to_the_reference_that_the_image_is_aligned_with(sequence, reference):
    """Poses, their centre and a ball's displacement, written out: a step moves slices, hardly within one."""
    spacing, lines, found = (4.0, 4.0, 16.0), 40, []
    points = np.random.default_rng(0).normal(size=(1000, 3))
    points *= 80 * np.random.default_rng(1).uniform(size=(1000, 1)) ** (1 / 3) / np.linalg.norm(points, axis=1)[:, None]
    weights = np.exp(-((np.arange(lines) - lines // 2) ** 2) / (2 * (lines * 4.0 / 40) ** 2))
    for seed in range(3):
        motion = MRMotion(2.0, "steps", sequence=sequence, reference=reference, axes=(0, 1, 2)).set_random_state(seed)
        drawn = motion.draw((1, 32, lines, 9), spacing)
        poses = poses_at(drawn["trajectory"], SEQUENCES[sequence].seconds(lines, 9))  # (slices, lines, 6)
        centres = np.average(poses, axis=1, weights=weights)
        if reference == "volume":
            centres[:] = centres.mean(0)
        away = np.array(
            [[_moved(points, one, rest) - points for one in ones] for ones, rest in zip(poses, centres, strict=True)]
        )
        found.append(np.sqrt(np.square(away).sum(3).mean(2)).mean())
        assert drawn["severity_mm"] == pytest.approx(2, rel=1e-6)
    np.testing.assert_allclose(found, 2, rtol=0.03)


def _moved(points: np.ndarray, pose: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Points of the head as it lies at rest, once it has the pose."""
    turn, turn_at_rest = (Rotation.from_euler("xyz", one[:3], degrees=True) for one in (pose, rest))
    return turn.apply(turn_at_rest.inv().apply(points - rest[3:])) + pose[3:]


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


def test_slices_stay_with_the_input_or_lie_where_the_head_was_as_the_reference_says(head):
    """The head rests while the lower slices are measured, and is a slice higher when the upper ones are."""
    risen = np.array([[0, *[0] * 6], [11.9, *[0] * 6], [11.95, 0, 0, 0, 0, 0, 4], [100, 0, 0, 0, 0, 0, 4.0]])
    sequence = Slices(tr=4, echo_train=16, slice_order="sequential", packages=2)
    image = head[..., 10:34]
    assert sequence.seconds(48, 24)[:12].max() < 11.9
    assert sequence.seconds(48, 24)[12:].min() == 12
    apart = MRMotion(table=risen, sequence=sequence, reference="slice", axes=(1, 0, 2))(image, (4, 4, 4))
    assert (apart - image).abs().max() < 1e-5 * image.max()
    together = MRMotion(table=risen, sequence=sequence, reference="volume", axes=(1, 0, 2))(image, (4, 4, 4))
    half_down, half_up = (image + image.roll(-1, -1)) / 2, (image + image.roll(1, -1)) / 2
    for slices, expected in ((slice(2, 11), half_down), (slice(13, 22), half_up)):
        off, moved = (together - expected)[..., slices], (together - image)[..., slices]
        assert off.square().mean() < 0.2 * moved.square().mean()  # cubic between slices, against their mean


@pytest.mark.skipif(not REAL_T1.is_file(), reason="needs the public data")
def test_a_real_t1_rests_and_moves():
    image = nib.as_closest_canonical(nib.load(REAL_T1))
    volume = torch.from_numpy(image.get_fdata(dtype=np.float32))[None]
    spacing = image.header.get_zooms()[:3]
    still = MRMotion(severity=0)(volume, spacing)
    assert (still - volume).abs().max() < 1e-5 * volume.max()
    errors = []
    for severity in (1, 3):
        moved = MRMotion(severity=severity, kinds="walk").set_random_state(0)(volume, spacing)
        errors.append(float((moved - volume).square().mean().sqrt() / volume.std()))
    assert 0.01 < errors[0] < errors[1] < 0.6
