import numpy as np
import pytest

from medtrans import InputError
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


def test_three_planes_of_a_localizer_are_skipped(make_series, tmp_path):
    for name, orientation in [("a", (1, 0, 0, 0, 1, 0)), ("s", (0, 1, 0, 0, 0, -1)), ("c", (1, 0, 0, 0, 0, -1))]:
        series = make_series(shape=(3, 4, 4), orientation=orientation, step=15)
        for k in range(3):
            series.write(k, f"{name}{k}")
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["skipped"]
    assert list(table.files) == [9]
    assert table.reason[0] == "localizer: 3 directions with 3, 3, 3 slices"


def test_scout_inside_a_series_is_left_out_and_does_not_stretch_it(make_series, tmp_path):
    series = make_series(shape=(12, 4, 4), Modality="CT", RescaleIntercept=-1024, RescaleSlope=1).write_all()
    series.write(0, "scout", ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[0, -90, 70])
    table = convert_export(series.folder, tmp_path / "out").set_index("status")
    assert table.loc["converted", "spacing"] == "1x1x2"
    assert table.loc["converted", "files"] == 12
    assert table.loc["skipped", "reason"] == "scout: 1 slices across a series of 12"


def test_localizer_by_image_type_is_skipped_even_alone(make_series, tmp_path):
    series = make_series(shape=(1, 4, 4), Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]).write_all()
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["skipped"]
    assert "localizer" in table.reason[0]


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


def test_nothing_but_a_localizer_is_no_volume(make_series):
    series = make_series(shape=(1, 4, 4), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]).write_all()
    with pytest.raises(InputError, match="holds no volume"):
        read_series(series.folder)


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
