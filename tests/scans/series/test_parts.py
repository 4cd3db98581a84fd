import shutil
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtrans.scans import convert_export, read_series


def described(volumes):
    return {volume.metadata["description"]: volume for volume in volumes}


def test_two_echoes_in_one_series_are_two_volumes(make_series, reference_image):
    first, second = make_series(seed=1, SeriesDescription="GRE"), make_series(seed=2, SeriesDescription="GRE")
    for k in range(5):
        first.write(k, f"{k}a", EchoTime="4.5", EchoNumbers=1, InstanceNumber=2 * k + 1)
        second.write(k, f"{k}b", EchoTime="9.1", EchoNumbers=2, InstanceNumber=2 * k + 2)
    volumes = described(read_series(first.folder))
    assert len(volumes) == 2
    np.testing.assert_array_equal(volumes["GRE [EchoTime 4.5]"].array, reference_image(first).get_fdata())
    np.testing.assert_array_equal(volumes["GRE [EchoTime 9.1]"].array, reference_image(second).get_fdata())


def test_magnitude_and_phase_in_one_series_are_two_volumes(make_series, reference_image):
    magnitude, phase = make_series(seed=1), make_series(seed=2)
    for k in range(5):
        magnitude.write(k, f"m{k}", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
        phase.write(k, f"p{k}", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    volumes = described(read_series(magnitude.folder))
    np.testing.assert_array_equal(
        volumes["[ImageType ORIGINAL/PRIMARY/P/ND]"].array, reference_image(phase).get_fdata()
    )
    assert len(volumes) == 2


def test_flip_angles_split_images_that_share_their_positions(make_series, reference_image):
    low, high = make_series(seed=1), make_series(seed=2)
    for k in range(5):
        low.write(k, f"l{k}", FlipAngle="3", InstanceNumber=k + 1)
        high.write(k, f"h{k}", FlipAngle="17", InstanceNumber=k + 6)
    volumes = described(read_series(low.folder))
    np.testing.assert_array_equal(volumes["[FlipAngle 17.0]"].array, reference_image(high).get_fdata())


def test_flip_angle_that_changes_from_slice_to_slice_splits_nothing(make_series):
    series = make_series()
    for k in range(5):
        series.write(k, FlipAngle=str(10 + k))
    [volume] = read_series(series.folder)
    assert volume.array.shape == (6, 8, 5)


def test_different_matrices_in_one_series_are_two_volumes(make_series):
    make_series(shape=(4, 8, 8)).write_all()
    other = make_series(shape=(3, 16, 16))
    for k in range(3):
        other.write(k, f"other{k}")
    assert sorted(v.array.shape for v in read_series(other.folder)) == [(8, 8, 4), (16, 16, 3)]


def test_jitter_of_the_orientation_does_not_split(make_series):
    series = make_series()
    for k in range(5):
        series.write(k, ImageOrientationPatient=[1, 0, f"{1e-5 * k:.8f}", 0, 1, 0])
    [volume] = read_series(series.folder)
    assert volume.array.shape == (6, 8, 5)


def test_mixed_frames_of_reference_are_not_stacked(make_series):
    series = make_series(shape=(6, 4, 4))
    for k in range(6):
        series.write(k, FrameOfReferenceUID=f"1.2.{1 + k % 2}")
    volumes = read_series(series.folder)
    assert [v.array.shape[2] for v in volumes] == [3, 3]
    assert len({v.metadata["frame_of_reference"] for v in volumes}) == 2


@pytest.mark.parametrize("implicit", [False, True])
def test_ge_complex_components_are_volumes_of_their_own(make_series, reference_image, implicit):
    magnitude, phase = make_series(seed=1), make_series(seed=2)
    magnitude.folder.mkdir(parents=True)
    for value, series in enumerate((magnitude, phase)):
        for k in range(5):
            dataset = series.dataset(k)
            dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", value)
            if implicit:
                dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
            dataset.save_as(series.folder / f"{value}-{k}", enforce_file_format=True)
    first, second = read_series(magnitude.folder)
    np.testing.assert_array_equal(first.array, reference_image(magnitude).get_fdata())
    np.testing.assert_array_equal(second.array, reference_image(phase).get_fdata())


NAMES = st.permutations(range(16))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=NAMES, folders=st.lists(st.integers(0, 3), min_size=16, max_size=16), packed=st.integers(0, 2**16 - 1))
def test_names_folders_and_archives_of_the_files_change_nothing(make_series, order, folders, packed):
    """Two series with the same number, two echoes, a copy with a new UID and a scout, laid out in any way."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = mixture(root, type(make_series()))
        table = convert_export(root / "export", root / "plain")
        for number, (path, place, folder) in enumerate(zip(files, order, folders, strict=True)):
            target = root / "other" / "abc"[: folder and 1] / str(folder) / f"{place:02}"
            if packed >> number & 1:
                with zipfile.ZipFile(target_zip(root, folder), "a") as archive:
                    archive.write(path, f"{place:02}")
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        other = convert_export(root / "other", root / "moved")
        pd.testing.assert_frame_equal(other, table)
        for path in table.path[table.status == "converted"]:
            one, same = (nib.load(root / out / path) for out in ("plain", "moved"))
            np.testing.assert_array_equal(one.get_fdata(), same.get_fdata())
            np.testing.assert_array_equal(one.affine, same.affine)


def target_zip(root, folder):
    (root / "other").mkdir(exist_ok=True)
    return root / "other" / f"{folder}.zip"


def mixture(root, Series):
    """16 files with UIDs and pixels that are the same every time."""

    def series(seed, shape, uid, **tags):
        pixels = np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)
        return Series(root / "export", pixels, SeriesInstanceUID=uid, StudyInstanceUID="1.9", **tags)

    files = []
    for seed, echo in ((1, 4.0), (2, 8.0)):
        one = series(seed, (4, 5, 6), "1.2.1")
        files += [
            one.write(k, f"{seed}{k}", EchoTime=echo, InstanceNumber=None, SOPInstanceUID=f"1.3.{seed}.{k}")
            for k in range(4)
        ]
    files.append(one.write(2, "copy", EchoTime=8.0, InstanceNumber=None, SOPInstanceUID="1.3.9"))
    same_number = series(3, (6, 5, 6), "1.2.2")
    files += [same_number.write(k, f"b{k}", SOPInstanceUID=f"1.4.{k}") for k in range(6)]
    files.append(same_number.write(0, "scout", ImageOrientationPatient=[0, 1, 0, 0, 0, -1], SOPInstanceUID="1.5"))
    return files
