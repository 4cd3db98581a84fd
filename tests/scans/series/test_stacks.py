import shutil

import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import Conversion, read_series


def time_series(make_series, points=3, **tags):
    """Volumes of noise; ``tags[name]`` is a function of (time, slice)."""
    volumes = [make_series(seed=t, shape=(4, 5, 6)) for t in range(points)]
    for t, volume in enumerate(volumes):
        for k in range(4):
            values = {name: value(t, k) for name, value in tags.items()}
            volume.write(k, f"{(7 * t + 3 * k) % 12}-{t}-{k}", **values)
    return volumes


def check_4d(volumes, reference_image):
    [volume] = read_series(volumes[0].folder)
    truth = np.stack([reference_image(v).get_fdata() for v in volumes], -1)
    np.testing.assert_array_equal(volume.array, truth)
    return volume


def test_time_points_are_ordered_by_temporal_position(make_series, reference_image):
    volumes = time_series(
        make_series, TemporalPositionIdentifier=lambda t, k: t + 1, InstanceNumber=lambda t, k: 100 - 3 * k - t
    )
    volume = check_4d(volumes, reference_image)
    assert volume.metadata["ordered_by"] == "TemporalPositionIdentifier"
    assert volume.metadata["time_points"] == 3


def test_time_points_are_ordered_by_acquisition_time_of_each_slice(make_series, reference_image):
    volumes = time_series(
        make_series,
        AcquisitionNumber=lambda t, k: 1,
        AcquisitionDate=lambda t, k: "20200101" if t < 2 else "20200102",  # past midnight
        AcquisitionTime=lambda t, k: ["235900.1", "235958.2", "000056.3"][t],
        InstanceNumber=lambda t, k: 50 - t,
    )
    volume = check_4d(volumes, reference_image)
    assert volume.metadata["ordered_by"] == "AcquisitionTime"
    assert volume.metadata["time_step_s"] == pytest.approx(58.1)


def test_diffusion_volumes_are_told_apart_by_gradient(make_series, reference_image):
    gradients = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    volumes = time_series(
        make_series,
        DiffusionBValue=lambda t, k: 0.0 if t == 0 else 1000.0,
        DiffusionGradientOrientation=lambda t, k: gradients[t],
    )
    ordered = [volumes[0], volumes[2], volumes[1]]  # by b value, then gradient
    assert check_4d(ordered, reference_image).metadata["b_values"] == [0, 1000, 1000]


def test_mr_numbered_volume_by_volume_is_believed_with_a_warning(make_series, reference_image):
    volumes = time_series(make_series, InstanceNumber=lambda t, k: 4 * t + k + 1)
    volume = check_4d(volumes, reference_image)
    assert "told apart by InstanceNumber only" in volume.metadata["warnings"][0]


def test_ct_with_two_images_in_every_place_is_refused(make_series):
    for seed in (1, 2):
        series = make_series(seed=seed, Modality="CT")
        for k in range(5):
            series.write(k, f"{seed}-{k}", InstanceNumber=5 * seed + k)
    with pytest.raises(InputError, match="no tag that says which belong together"):
        read_series(series.folder)


def stopped_early(make_series, points=3, **tags):
    """A time series whose last volume lacks its last plane."""
    volumes = time_series(make_series, points, **tags)
    next(volumes[0].folder.glob(f"*-{points - 1}-3")).unlink()
    return volumes


TIMES = {
    "TemporalPositionIdentifier": lambda t, k: t + 1,
    "AcquisitionNumber": lambda t, k: t + 1,
    "AcquisitionTime": lambda t, k: f"1010{10 + 2 * t}.{k}",
    "InstanceNumber": lambda t, k: 4 * t + k + 1,
}


@pytest.mark.parametrize("tag", TIMES)
def test_incomplete_last_time_point_is_refused_with_counts(make_series, tag):
    volumes = stopped_early(make_series, **{tag: TIMES[tag]})
    problem = (
        r"3 of 4 slices have 3 different images, slice 4 \(z = 6.000\) has 2 different ones; "
        rf"2 of 3 time points \(by {tag}\) hold all 4 planes, time point 3 has 3.*--gaps largest-run"
    )
    with pytest.raises(InputError, match=problem):
        read_series(volumes[0].folder)


@pytest.mark.parametrize("tag", TIMES)
def test_complete_time_points_are_kept_on_request(make_series, reference_image, tag):
    volumes = stopped_early(make_series, **{tag: TIMES[tag]})
    [volume] = read_series(volumes[0].folder, Conversion(gaps="largest-run"))
    truth = np.stack([reference_image(v).get_fdata() for v in volumes[:2]], -1)
    np.testing.assert_array_equal(volume.array, truth)
    assert volume.metadata["time_points"] == 2
    assert volume.metadata["time_points_left_out"] == [3]
    assert volume.metadata["files"] == 11
    assert "kept the complete ones" in volume.metadata["warnings"][0]


def test_a_time_point_that_lost_a_plane_ends_the_run_of_complete_ones(make_series, reference_image):
    volumes = time_series(make_series, 5, TemporalPositionIdentifier=lambda t, k: 10 * t)
    next(volumes[0].folder.glob("*-1-2")).unlink()
    [volume] = read_series(volumes[0].folder, Conversion(gaps="largest-run"))
    np.testing.assert_array_equal(volume.array, np.stack([reference_image(v).get_fdata() for v in volumes[2:]], -1))
    assert volume.metadata["time_points_left_out"] == [1, 2]


def test_every_complete_diffusion_weighting_is_kept(make_series, reference_image):
    volumes = time_series(make_series, 4, DiffusionBValue=lambda t, k: [0.0, 500.0, 1000.0, 2000.0][t])
    next(volumes[0].folder.glob("*-1-2")).unlink()
    [volume] = read_series(volumes[0].folder, Conversion(gaps="largest-run"))
    np.testing.assert_array_equal(
        volume.array, np.stack([reference_image(volumes[t]).get_fdata() for t in (0, 2, 3)], -1)
    )
    assert volume.metadata["b_values"] == [0, 1000, 2000]


def test_images_numbered_slice_by_slice_do_not_tell_which_time_point_is_incomplete(make_series):
    volumes = time_series(make_series, InstanceNumber=lambda t, k: 3 * k + t + 1)
    next(volumes[0].folder.glob("*-1-2")).unlink()
    for gaps in ("refuse", "largest-run", "resample"):
        with pytest.raises(InputError, match=r"slice 3 \(z = 4.000\) has 2"):
            read_series(volumes[0].folder, Conversion(gaps=gaps))


def test_copies_do_not_make_time_points_uneven(make_series, reference_image):
    volumes = time_series(make_series, TemporalPositionIdentifier=lambda t, k: t + 1)
    shutil.copy(next(volumes[0].folder.glob("*-1-2")), volumes[0].folder / "copy")
    volumes[2].write(0, "resent", TemporalPositionIdentifier=None, InstanceNumber=99)  # by a PACS that lost a tag
    assert check_4d(volumes, reference_image).metadata["copies_dropped"] == 2


def test_empty_planes_of_several_time_points_are_no_copies(make_series, reference_image):
    volumes = [make_series(seed=t, shape=(4, 5, 6)) for t in range(3)]
    for t, volume in enumerate(volumes):
        volume.pixels[3] = 0  # above the head
        for k in range(4):
            if (t, k) != (2, 1):
                volume.write(k, f"{t}-{k}", TemporalPositionIdentifier=t + 1)
    [volume] = read_series(volumes[0].folder, Conversion(gaps="largest-run"))
    np.testing.assert_array_equal(volume.array, np.stack([reference_image(v).get_fdata() for v in volumes[:2]], -1))


def test_empty_planes_of_time_points_without_tags_are_no_copies(make_series, reference_image):
    volumes = [make_series(seed=t, shape=(4, 5, 6)) for t in range(3)]
    for t, volume in enumerate(volumes):
        volume.pixels[3] = 0
        for k in range(4):
            volume.write(k, f"{t}-{k}", InstanceNumber=4 * t + k + 1)
    assert "copies_dropped" not in check_4d(volumes, reference_image).metadata


@pytest.mark.parametrize("count", [1, 2])
def test_time_series_of_one_or_two_slices(make_series, reference_image, count):
    volumes = [make_series(seed=t, shape=(count, 5, 6)) for t in range(3)]
    for t, volume in enumerate(volumes):
        for k in range(count):
            volume.write(k, f"{t}-{k}", TemporalPositionIdentifier=t + 1)
    assert check_4d(volumes, reference_image).array.shape == (6, 5, count, 3)


def wandering(make_series, by, tag="TemporalPositionIdentifier"):
    """Three time points, each ``by`` mm from the one before."""
    volumes = [make_series(seed=t, shape=(4, 5, 6), origin=np.multiply(t, by), step=3.0) for t in range(3)]
    for t, volume in enumerate(volumes):
        for k in range(4):
            volume.write(k, f"{t}-{k}", **{tag: t + 1})
    return volumes


@pytest.mark.parametrize("by", [(0, 0, 0.01), (0, 0, -0.05), (0.03, 0.03, 0.02)])
def test_time_points_of_almost_one_place_are_one_volume(make_series, reference_image, by):
    volume = check_4d(wandering(make_series, by), reference_image)
    np.testing.assert_allclose(volume.affine, reference_image(make_series(shape=(4, 5, 6), step=3.0)).affine, atol=1e-6)


@pytest.mark.parametrize("gaps", ["refuse", "resample", "largest-run"])
@pytest.mark.parametrize(
    ("by", "apart"), [((0, 0, 0.3), "0.60"), ((0, 0.5, -1.3), "2.79"), ((0.3, 0, 0), "0.60"), ((1.2, 0.5, 0), "2.60")]
)
def test_time_points_that_moved_are_never_mixed(make_series, gaps, by, apart):
    for tag in ("TemporalPositionIdentifier", "AcquisitionNumber"):
        volumes = wandering(make_series, by, tag)
        with pytest.raises(InputError, match=rf"its 3 time points \(by {tag}\) lie up to {apart} mm apart"):
            read_series(volumes[0].folder, Conversion(gaps=gaps))
        shutil.rmtree(volumes[0].folder)


def test_stations_of_one_long_scan_are_one_volume(make_series):
    volumes = wandering(make_series, (0, 0, 12))
    [volume] = read_series(volumes[0].folder)
    np.testing.assert_array_equal(volume.array, np.concatenate([v.pixels for v in volumes])[:, ::-1, ::-1].T)


def test_byte_copies_and_resent_copies_are_dropped(make_series, reference_image):
    series = make_series(AcquisitionTime="101010").write_all()
    shutil.copy(series.folder / "slice2", series.folder / "slice2 (1)")
    series.write(3, "resent", InstanceNumber=99)  # a new SOPInstanceUID
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert volume.metadata["copies_dropped"] == 2
    assert volume.metadata["files"] == 7


@pytest.mark.parametrize("by", [0.3, 20.0])
def test_one_image_in_two_places_of_its_plane_is_refused(make_series, by):
    series = make_series().write_all()
    series.write(2, "moved", ImagePositionPatient=[by, 0, 4])
    with pytest.raises(InputError, match=f"one image is there twice, {by:.2f} mm apart within its plane"):
        read_series(series.folder)


def test_whole_series_sent_twice_is_one_volume(make_series, reference_image):
    series = make_series().write_all()
    for k in range(5):
        series.write(k, f"again{k}", InstanceNumber=10 + k)
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())


def test_copy_with_another_slope_is_no_copy(make_series):
    series = make_series(Modality="CT", RescaleIntercept="0").write_all(RescaleSlope="1")
    series.write(2, "other", RescaleSlope="2")
    with pytest.raises(InputError, match=r"4 of 5 slices have 1 image, slice 3 \(z = 4.000\) has 2 different ones"):
        read_series(series.folder)


def test_different_images_in_one_place_are_refused(make_series):
    series = make_series().write_all()
    series.write(2, "other", pixels=series.pixels[2] + 1)
    with pytest.raises(
        InputError,
        match=r"images repeat unevenly: 4 of 5 slices have 1 image, slice 3 \(z = 4.000\) has 2 different ones",
    ):
        read_series(series.folder)


def test_one_sop_instance_uid_with_two_contents_is_refused(make_series):
    series = make_series(SOPInstanceUID="1.2.3.4").write_all()
    series.write(2, "other", pixels=series.pixels[2] + 1)
    with pytest.raises(InputError, match="same SOPInstanceUID"):
        read_series(series.folder)


def test_trigger_times_that_jitter_give_way_to_acquisition_times(make_series):
    jitter = [312, 308, 315, 309, 311]
    for t in range(5):
        beat = make_series(shape=(3, 4, 4), seed=t)
        beat.study, beat.series, beat.frame = "1.2.31", "1.2.32", "1.2.33"
        for k in range(3):
            beat.write(
                k,
                f"{t}-{k}",
                TriggerTime=jitter[t],
                AcquisitionTime=f"1000{10 + t:02d}",
                pixels=np.full((4, 4), t + 1, np.uint16),
            )
    [volume] = read_series(beat.folder)
    assert volume.metadata["ordered_by"] == "AcquisitionTime"
    assert volume.array[0, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_clock_times_over_midnight_without_a_date_order_nothing(make_series):
    for t, clock in enumerate(("235950", "000010", "000030")):
        scan = make_series(shape=(3, 4, 4), seed=t, Modality="PT", Units="BQML")
        scan.study, scan.series, scan.frame = "1.2.31", "1.2.32", "1.2.33"
        for k in range(3):
            scan.write(k, f"{t}-{k}", AcquisitionTime=clock, InstanceNumber=3 * t + k)
    with pytest.raises(InputError, match="no tag that says which belong together"):
        read_series(scan.folder)


GATED = {"Modality": "PT", "Units": "BQML", "RescaleSlope": 1, "RescaleIntercept": 0, "SeriesType": ["GATED", "IMAGE"],
         "NumberOfSlices": 4, "NumberOfTimeSlots": 3, "NumberOfRRIntervals": 2, "AcquisitionTime": "120000",
         "FrameReferenceTime": 1000}  # fmt: skip


def gated(make_series, index):
    """Two R-R intervals of three time slots of four slices, numbered by ``index(interval, slot, slice)``."""
    beats = [make_series(seed=t, shape=(4, 5, 6), **GATED) for t in range(6)]
    for t, beat in enumerate(beats):
        for k in range(4):
            beat.write(k, f"{(5 * t + k) % 7}-{t}-{k}", ImageIndex=index(t // 3, t % 3, k), InstanceNumber=k + 1)
    return beats


@pytest.mark.parametrize(
    "index",
    [
        lambda beat, slot, k: 12 * beat + 4 * slot + k + 1,
        lambda beat, slot, k: 12 * beat + 4 * slot + (3 - k) + 1,  # slices counted from the top
    ],
)
def test_gated_pet_without_trigger_times_is_ordered_by_image_index(make_series, reference_image, index):
    volume = check_4d(gated(make_series, index), reference_image)
    assert volume.metadata["ordered_by"] == "ImageIndex"


@pytest.mark.parametrize(
    "index",
    [
        lambda beat, slot, k: 6 * k + 3 * beat + slot + 1,  # slice by slice, against the standard
        lambda beat, slot, k: 12 * beat + 4 * slot + (k + slot) % 4 + 1,  # another slice in every slot
        lambda beat, slot, k: 12 * beat + 4 * slot + (0, 2, 1, 3)[k] + 1,  # not in the order of positions
        lambda beat, slot, k: 4 * slot + k + 1,  # two intervals of one number
    ],
)
def test_image_index_that_contradicts_positions_orders_nothing(make_series, index):
    with pytest.raises(InputError, match="no tag that says which belong together"):
        read_series(gated(make_series, index)[0].folder)
