"""Flipped, displaced and exchanged modalities are told with their displacement."""

import re

import numpy as np
import pytest


def test_a_flipped_modality_is_an_error_whatever_the_axis(planted, said):
    planted.write(1, "T2", np.flip(planted.read(1, "T2"), 0))
    planted.write(3, "T2", np.flip(planted.read(3, "T2"), 1))
    planted.write(5, "T2", np.flip(planted.read(5, "T2"), (0, 1)))
    assert said(planted.found("alignment")) == {
        (1, "T2", "flipped left-right"), (3, "T2", "flipped front-back"),
        (5, "T2", "turned by 180 degrees about the long axis"),
    }  # fmt: skip


def test_a_displaced_modality_is_told_with_its_displacement(planted, moved):
    planted.write(2, "T2", moved(planted.read(2, "T2"), shift_mm=(0, 9, 0)))
    planted.write(6, "T2", moved(planted.read(6, "T2"), degrees=9))
    shifted, turned = sorted(planted.found("alignment"), key=lambda f: f.case)
    assert (shifted.case, shifted.what, shifted.severity) == ("head-0002", "misaligned", "error")
    assert shifted.value == pytest.approx(9, abs=1.5)
    assert (turned.case, turned.what) == ("head-0006", "misaligned")
    assert float(re.search(r"and ([\d.]+) degrees", turned.problem)[1]) == pytest.approx(9, abs=1.5)


def test_a_modality_of_another_subject_is_told(planted, said):
    planted.write(2, "T2", planted.read(7, "T2"))
    told = said(planted.found("alignment"))
    assert (2, "T2", "poor fit") in told
    assert {case for case, _, _ in told} == {2}


def test_where_nothing_can_be_told_it_is_said_and_not_guessed(planted):
    noise = np.random.default_rng(0).normal(100, 10, planted.read(0, "T2").shape).astype(np.float32)
    planted.write(1, "T2", noise)
    for part in ("T1", "T2"):
        values = planted.read(4, part)
        noisy = np.random.default_rng(1).normal(0, 0.01 * values.max(), values.shape)
        planted.write(4, part, ((values + np.flip(values, 0)) / 2 + noisy).astype(np.float32))
    planted.write(4, "mask", np.maximum(planted.read(4, "mask"), np.flip(planted.read(4, "mask"), 0)))
    found = {(f.case, f.what, f.severity) for f in planted.found("alignment", alignment__poor_z=100)}
    assert found == {("head-0001", "fit not decidable", "note"), ("head-0004", "flip not decidable", "note")}
