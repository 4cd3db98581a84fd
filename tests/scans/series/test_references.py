"""Unlike frames of reference or studies within one series: decided by where the images lie, and told."""

import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series

TAG = "FrameOfReferenceUID"


def write(series, reference, name="s"):
    """Every slice with the frame of reference that ``reference(k)`` gives; none for None."""
    for k in range(len(series.pixels)):
        series.write(k, f"{name}{k}", FrameOfReferenceUID=reference(k))
    return series


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (lambda k: f"1.2.{k + 1}", "8 different FrameOfReferenceUID in 8 images of one stack"),
        (lambda k: f"1.2.{1 + (k == 7)}", "2 different FrameOfReferenceUID in 8 images of one stack"),
        (lambda k: None if k % 3 else "1.2.3", "missing in 5 of 8 images: taken for that of the others"),
        (lambda k: None if k < 4 else "1.2.3", "missing in 4 of 8 images: taken for that of the others"),
    ],
)
def test_one_even_stack_is_one_volume_with_a_word_about_its_references(make_series, reference_image, reference, told):
    series = write(make_series(shape=(8, 5, 6)), reference)
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert told in volume.metadata["warnings"][0]


def test_a_volume_of_several_references_has_none_in_the_table(make_series, tmp_path):
    series = write(make_series(), lambda k: f"1.2.{k}")
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.frame) == ("converted", "")


def test_a_reference_that_some_images_lack_is_that_of_the_others(make_series, tmp_path):
    whole = write(make_series(SeriesInstanceUID="1.2.1"), lambda k: "1.2.9", "whole")
    write(make_series(SeriesInstanceUID="1.2.2", SeriesNumber=8), lambda k: None if k == 2 else "1.2.9", "lacking")
    table = convert_export(whole.folder, tmp_path / "out")
    assert table.frame.nunique() == 1
    assert all(table.frame)


@pytest.mark.parametrize("second", [range(4, 8), range(1, 8, 2)], ids=["blocks", "interleaved"])
def test_stacks_of_their_own_are_volumes_with_a_word(make_series, second):
    series = write(make_series(shape=(8, 5, 6)), lambda k: "1.2.2" if k in second else "1.2.1")
    volumes = read_series(series.folder)
    assert [v.array.shape[2] for v in volumes] == [4, 4]
    assert len({v.metadata["frame_of_reference"] for v in volumes}) == 2
    for volume in volumes:
        assert "stacks of 2 different FrameOfReferenceUID: each stack is a volume" in volume.metadata["warnings"][0]


def test_a_stray_image_of_another_reference_is_refused(make_series, tmp_path):
    series = write(make_series(shape=(8, 5, 6)), lambda k: "1.2.1")
    make_series(shape=(1, 5, 6), origin=(0, 0, 91)).write(0, "stray", FrameOfReferenceUID="1.2.2", InstanceNumber=9)
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert row.status == "failed"
    assert "2 different FrameOfReferenceUID in 9 images, the rarest in 1" in row.reason
    with pytest.raises(InputError, match="rarest in 1"):
        read_series(series.folder)


def test_missing_slices_are_told_although_every_image_has_a_reference_of_its_own(make_series):
    series = write(make_series(shape=(8, 5, 6)), lambda k: f"1.2.{k}")
    (series.folder / "s4").unlink()
    with pytest.raises(InputError, match="1 slice is missing"):
        read_series(series.folder)


def studies_of(series, study):
    for k in range(len(series.pixels)):
        series.write(k, StudyInstanceUID=study(k))
    return series


@pytest.mark.parametrize("study", [lambda k: f"1.9.{1 + (k > 4)}", lambda k: f"1.9.{1 + k % 2}"])
def test_a_series_torn_over_two_studies_is_one_volume_with_a_word(make_series, reference_image, tmp_path, study):
    series = studies_of(make_series(shape=(9, 5, 6)), study)
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.slices, row.files) == ("converted", 9, 9)
    assert "its images name 2 studies (StudyInstanceUID): taken for one series" in row.reason
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())


def test_a_torn_series_belongs_to_the_study_with_more_of_it(make_series, tmp_path):
    series = studies_of(make_series(shape=(9, 5, 6)), lambda k: f"1.9.{1 + (k > 2)}")
    make_series(SeriesInstanceUID="1.2.5", SeriesNumber=1, StudyInstanceUID="1.9.2").write(0, "other")
    table = convert_export(series.folder, tmp_path / "out")
    assert table.study.nunique() == 1


def test_images_sent_again_under_another_study_are_copies(make_series, reference_image):
    series = make_series(shape=(6, 5, 6))
    for k in range(6):
        series.write(k, SOPInstanceUID=f"1.3.{k}", StudyInstanceUID="1.9.1")
        if k > 3:
            series.write(k, f"again{k}", SOPInstanceUID=f"1.3.{k}", StudyInstanceUID="1.9.2")
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert volume.metadata["copies_dropped"] == 2


@pytest.mark.parametrize("owner", ["StudyInstanceUID", "PatientID"])
@pytest.mark.parametrize("start", [0, 30])
def test_scans_of_two_examinations_that_share_a_series_uid_are_told(make_series, tmp_path, owner, start):
    first, second = make_series(shape=(6, 5, 6)), make_series(shape=(6, 5, 6), seed=9, origin=(0, 0, start))
    for k in range(6):
        first.write(k, f"a{k}", **{owner: "1.9.1"})
        second.write(k, f"b{k}", **{owner: "1.9.2"})
    table = convert_export(first.folder, tmp_path / "out")
    assert list(table.status) == ["converted"] * 2
    what = "studies" if owner == "StudyInstanceUID" else "patients"
    assert all(f"2 {what} have images of this SeriesInstanceUID" in reason for reason in table.reason)


def test_copies_do_not_keep_frames_of_reference_from_being_told_apart(make_series):
    for reference in (1, 2):
        series = make_series(shape=(6, 5, 6), seed=reference, Modality="CT", RescaleIntercept=0, RescaleSlope=1)
        for k in [*range(6), 2, 3]:
            name = f"{reference}-{k}"
            name += "-again" * (series.folder / name).exists()
            series.write(k, name, FrameOfReferenceUID=f"1.2.{reference}")
    volumes = read_series(series.folder)
    assert [volume.metadata["copies_dropped"] for volume in volumes] == [2, 2]
