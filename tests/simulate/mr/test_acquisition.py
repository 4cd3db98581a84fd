"""When k-space is measured: orders written out by hand, scan times of protocols, and no two lines at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans.simulate.mr.acquisition import SEQUENCES, Partitions, Slices, sequence_from, sequence_record


def order_of(seconds: np.ndarray) -> list[int]:
    return np.argsort(seconds, kind="stable").tolist()


def test_a_conventional_spin_echo_measures_a_line_a_tr():
    assert Slices(tr=0.5, echo_train=1, echo_spacing=0.02).seconds(4).tolist() == [[0, 0.5, 1, 1.5]]


def test_centric_goes_from_the_centre_outwards():
    assert order_of(Slices(tr=1, echo_train=1, order="centric").seconds(6)[0]) == [3, 2, 4, 1, 5, 0]
    assert order_of(Slices(tr=1, echo_train=1, order="centric").seconds(5)[0]) == [2, 1, 3, 0, 4]


def test_echoes_of_interleaved_shots_fill_bands_and_those_of_other_shots_blocks():
    bands = Slices(tr=2, echo_train=3, echo_spacing=0.1).seconds(6)[0]
    assert order_of(bands) == [0, 2, 4, 1, 3, 5]
    assert bands.round(6).tolist() == [0, 2, 0.1, 2.1, 0.2, 2.2]
    blocks = Slices(tr=2, echo_train=3, echo_spacing=0.1, interleaved_shots=False).seconds(6)[0]
    assert blocks.round(6).tolist() == [0, 0.1, 0.2, 2, 2.1, 2.2]


def test_slices_share_a_tr_every_other_one_first():
    first = Slices(tr=1, echo_train=1).seconds(2, slices=5)[:, 0]
    assert order_of(first) == [0, 2, 4, 1, 3]
    assert np.allclose(np.diff(np.sort(first)), 0.2)
    assert order_of(Slices(tr=1, echo_train=1, slice_order="sequential").seconds(2, 5)[:, 0]) == [0, 1, 2, 3, 4]


def test_packages_are_measured_one_after_the_other():
    seconds = Slices(tr=1, echo_train=1, slice_order="sequential", packages=2).seconds(3, slices=4)
    assert seconds.tolist() == [[0, 1, 2], [0.5, 1.5, 2.5], [3, 4, 5], [3.5, 4.5, 5.5]]
    one_by_one = Slices(tr=1, echo_train=1, slice_order="sequential", packages=4).seconds(3, slices=4)
    assert order_of(one_by_one.reshape(-1)) == list(range(12))


def test_slices_that_do_not_fit_into_a_tr_make_packages_or_are_refused():
    sequence = Slices(tr=1, echo_train=4, echo_spacing=0.1)  # two slices a TR
    assert sequence.seconds(4, slices=6).max() > 2
    with pytest.raises(ValueError, match="raise packages"):
        Slices(tr=1, echo_train=4, echo_spacing=0.1, packages=2).seconds(4, slices=6)


def test_scan_times_are_those_of_protocols():
    """A T2 of 256 lines in 16 shots of TR 4 s takes 64 s, an MP-RAGE of 240 lines of TR 2.3 s 9:12 min."""
    assert SEQUENCES["turbo_spin_echo"].seconds(256, 24).max() == pytest.approx(64, abs=4)
    assert SEQUENCES["mp_rage"].seconds(240, 176).max() == pytest.approx(552, abs=2.3)


def test_partitions_run_within_a_train_line_after_line():
    seconds = Partitions(tr=2, echo_spacing=0.1).seconds(2, 3)
    assert seconds.round(6).tolist() == [[0, 0.1, 0.2], [2, 2.1, 2.2]]
    centric = Partitions(tr=2, echo_spacing=0.1, order="centric", partition_order="centric").seconds(2, 3)
    assert centric.round(6).tolist() == [[2.1, 2, 2.2], [0.1, 0, 0.2]]
    plain = Partitions(tr=0.01, echo_train=1, echo_spacing=0.01).seconds(2, 3)
    assert np.allclose(plain.reshape(-1), np.arange(6) * 0.01)


@given(
    st.sampled_from(list(SEQUENCES.values())),
    st.integers(1, 40),
    st.integers(1, 60),
    st.sampled_from(["linear", "centric"]),
)
def test_no_two_lines_are_measured_at_once(sequence, lines, others, order):
    sequence = sequence_from({**sequence_record(sequence), "order": order})
    seconds = sequence.seconds(lines, others)
    assert seconds.shape == ((others, lines) if isinstance(sequence, Slices) else (lines, others))
    assert seconds.min() == 0
    gaps = np.diff(np.sort(seconds.reshape(-1)))
    assert len(gaps) == 0 or gaps.min() > 1e-3


def test_a_sequence_comes_back_from_its_record():
    for sequence in SEQUENCES.values():
        assert sequence_from(json.loads(json.dumps(sequence_record(sequence)))) == sequence


def test_settings_no_scanner_has_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        Slices(tr=0)
    with pytest.raises(ValueError, match="do not fit"):
        Partitions(tr=0.1, echo_train=50, echo_spacing=0.01)
    with pytest.raises(ValueError, match="linear, centric"):
        Partitions(partition_order="spiral")
    with pytest.raises(ValueError, match="sequential, interleaved"):
        Slices(slice_order="odd")
    with pytest.raises(ValueError, match="packages"):
        Slices(packages=0)
