"""What the user chose for gaps and tilt reaches the table and the sidecar."""

import json

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from medtrans import InputError
from medtrans.cli import app
from medtrans.scans import Conversion, convert_export, read_series


def sidecar(out, row):
    return json.loads((out / row.path.replace(".nii.gz", ".json")).read_text())


@pytest.fixture
def with_gap(make_series):
    series = make_series(shape=(7, 4, 4), Modality="CT", RescaleSlope="1", RescaleIntercept="-1024")
    for k in (0, 1, 2, 4, 5, 6):
        series.write(k)
    return series


def test_by_default_a_gap_fails_and_the_table_says_which_slice_is_missing(with_gap, tmp_path):
    done = CliRunner().invoke(app, ["convert", str(with_gap.folder), str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "4.000 after slice 3 (z = 4.000): 1 slice is missing" in done.output
    assert "--gaps resample or --gaps largest-run" in done.output


@pytest.mark.parametrize(("choice", "slices"), [("resample", 7), ("largest-run", 3)])
def test_the_command_line_takes_a_way_out(with_gap, tmp_path, choice, slices):
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["convert", str(with_gap.folder), str(out), "--gaps", choice])
    assert done.exit_code == 0
    [row] = convert_export(with_gap.folder, out, Conversion(gaps=choice)).itertuples()
    assert "kept from an earlier run" in row.reason
    assert row.shape == f"4x4x{slices}"
    assert "1 slice is missing; " in row.reason
    geometry = sidecar(out, row)["geometry"]
    assert geometry["positions_mm"] == [0, 2, 4, 8, 10, 12]
    assert geometry["largest_gap_mm"] == 4
    if choice == "resample":
        assert geometry["interpolated_planes"] == [3]
        assert geometry["acquired_shape"] == [4, 4, 6]
    else:
        assert (geometry["kept_planes"], geometry["left_out_planes"]) == ([0, 2], 3)


def test_another_choice_converts_again(with_gap, tmp_path):
    convert_export(with_gap.folder, tmp_path / "out")
    for gaps in ("largest-run", "resample", "largest-run"):
        [row] = convert_export(with_gap.folder, tmp_path / "out", Conversion(gaps=gaps)).itertuples()
        assert "kept from an earlier run" not in row.reason


@pytest.mark.parametrize("tilt", ["keep", "resample"])
def test_tilt_is_told_in_both(make_series, tmp_path, tilt):
    series = make_series(
        orientation=(1, 0, 0, 0, np.cos(0.3), -np.sin(0.3)), step=(0, 0, 5), Modality="CT", RescaleIntercept="0"
    )
    series.write_all()
    [row] = convert_export(series.folder, tmp_path / "out", Conversion(tilt=tilt)).itertuples()
    geometry = sidecar(tmp_path / "out", row)["geometry"]
    assert geometry["tilt_degrees"] == pytest.approx(np.degrees(0.3), abs=1e-3)
    assert geometry["sheared"] == (tilt == "keep")
    assert geometry["resampled"] == (tilt == "resample")
    assert ("the affine holds the shear" if tilt == "keep" else "resampled onto an orthogonal grid") in row.reason


def test_an_even_straight_series_says_so(make_series, tmp_path):
    [row] = convert_export(make_series().write_all().folder, tmp_path / "out").itertuples()
    assert sidecar(tmp_path / "out", row)["geometry"] == {"sheared": False, "tilt_degrees": 0.0, "resampled": False}


@pytest.mark.parametrize("gaps", ["resample", "largest-run"])
def test_scans_among_one_another_do_not_pass_for_one_with_gaps(make_series, gaps):
    for t in range(3):
        series = make_series(shape=(5, 4, 4), origin=(0, 0, 0.3 * t), step=4.0, seed=t)
        for k in range(5):
            if (t, k) != (1, 2):
                series.write(k, f"{t}-{k}", TemporalPositionIdentifier=t + 1)
    with pytest.raises(InputError, match=r"not evenly spaced: mostly 0\.3.*; its slices belong to 3 time points"):
        read_series(series.folder, Conversion(gaps=gaps))
    for path in series.folder.iterdir():  # nothing but the thickness tells
        image = pydicom.dcmread(path)
        del image.TemporalPositionIdentifier
        image.save_as(path)
    with pytest.raises(InputError, match=r"; the header says 4.000 mm: several scans among one another\?"):
        read_series(series.folder, Conversion(gaps=gaps))
