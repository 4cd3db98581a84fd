import numpy as np
import pydicom
import pytest

from medtrans import InputError
from medtrans.scans import Conversion, convert_export, read_series


def item(**tags):
    dataset = pydicom.Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def write_enhanced(series, frames, **options):
    series.write_enhanced(frames, **options)


@pytest.mark.parametrize("shared", [True, False])
def test_frames_are_placed_and_rescaled_each_by_its_own_groups(make_series, reference_image, shared):
    series = make_series(orientation=(0, 1, 0, 0, 0, -1), spacing=(0.8, 1.2), origin=(-9, 4, 2), step=3.5)
    slopes = [2.0, 0.5, 4.0, 1.0, 8.0]
    order = [3, 0, 4, 1, 2]
    write_enhanced(series, [(k, series.pixels[k], slopes[k], {}) for k in order], shared=shared)
    [volume] = read_series(series.folder)
    truth = reference_image(series, series.pixels * np.array(slopes)[:, None, None])
    np.testing.assert_allclose(volume.affine, truth.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array, truth.get_fdata())


def test_stacks_in_one_file_are_volumes_of_their_own(make_series, reference_image, tmp_path):
    magnitude, field = make_series(seed=1), make_series(seed=2)
    frames = []
    for k in range(5):
        for source, kind in ((magnitude, "MAGNITUDE"), (field, "PHASE")):
            frame_type = item(FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"], ComplexImageComponent=kind)
            frames.append((k, source.pixels[k], 1, {"MRImageFrameTypeSequence": [frame_type]}))
    write_enhanced(magnitude, frames)
    first, second = read_series(magnitude.folder)
    np.testing.assert_array_equal(first.array, reference_image(magnitude).get_fdata())
    np.testing.assert_array_equal(second.array, reference_image(field).get_fdata())
    table = convert_export(magnitude.folder, tmp_path / "out")
    assert sorted(table.files) == [0, 1]  # one file, two volumes: the sum is the files found


def test_time_points_within_one_file(make_series, reference_image):
    points = [make_series(seed=t) for t in range(3)]
    frames = [
        (k, points[t].pixels[k], 1, {"FrameContentSequence": [item(TemporalPositionIndex=t + 1, StackID="1")]})
        for k in range(5)
        for t in (2, 0, 1)
    ]
    write_enhanced(points[0], frames)
    [volume] = read_series(points[0].folder)
    np.testing.assert_array_equal(volume.array, np.stack([reference_image(p).get_fdata() for p in points], -1))


def test_time_points_in_a_file_each(make_series, reference_image):
    points = [make_series(seed=t) for t in range(3)]
    for t, point in enumerate(points):
        frames = [(k, point.pixels[k], 1, {}) for k in range(5)]
        write_enhanced(point, frames, name=f"{5 - t}", AcquisitionNumber=t + 1, InstanceNumber=t + 1)
    [volume] = read_series(points[0].folder)
    np.testing.assert_array_equal(volume.array, np.stack([reference_image(p).get_fdata() for p in points], -1))


def test_frames_without_geometry_are_refused(make_series):
    series = make_series(np.zeros((1, 4, 4), np.uint16))
    dataset = series.dataset(0, NumberOfFrames=3)
    dataset.PixelData = bytes(4 * 4 * 2 * 3)
    series.folder.mkdir(parents=True)
    dataset.save_as(series.folder / "frames", enforce_file_format=True)
    with pytest.raises(InputError, match="several frames without geometry for each"):
        read_series(series.folder)


def test_diffusion_volumes_in_one_file_are_told_apart_by_gradient(make_series, reference_image):
    points = [make_series(seed=t) for t in range(3)]
    weights = [(0.0, None), (800.0, [1.0, 0.0, 0.0]), (800.0, [0.0, 0.0, 1.0])]
    frames = []
    for k in range(5):
        for t, (b_value, gradient) in enumerate(weights):
            diffusion = item(DiffusionBValue=b_value, DiffusionDirectionality="DIRECTIONAL" if gradient else "NONE")
            if gradient:
                diffusion.DiffusionGradientDirectionSequence = [item(DiffusionGradientOrientation=gradient)]
            frames.append((k, points[t].pixels[k], 1, {"MRDiffusionSequence": [diffusion]}))
    write_enhanced(points[0], frames)
    [volume] = read_series(points[0].folder)
    assert volume.metadata["b_values"] == [0, 800, 800]
    truth = np.stack([reference_image(points[t]).get_fdata() for t in (0, 2, 1)], -1)
    np.testing.assert_array_equal(volume.array, truth)


def test_frames_without_a_description_each_are_refused(make_series):
    series = make_series()
    write_enhanced(series, [(k, series.pixels[k], 1, {}) for k in range(5)])
    dataset = pydicom.dcmread(series.folder / "enhanced")
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:4]
    dataset.save_as(series.folder / "enhanced")
    with pytest.raises(InputError, match="4 frames described, 5 stored"):
        read_series(series.folder)


def test_a_gap_between_frames_is_refused_or_filled(make_series):
    series = make_series(np.arange(7, dtype=np.uint16)[:, None, None] * 10 + np.zeros((7, 4, 4), np.uint16))
    write_enhanced(series, [(k, series.pixels[k], 1 + k % 2, {}) for k in (5, 0, 4, 1, 2, 6)])
    with pytest.raises(InputError, match=r"after slice 3 \(z = 4.000\): 1 slice is missing"):
        read_series(series.folder)
    [volume] = read_series(series.folder, Conversion(gaps="resample"))
    np.testing.assert_allclose(volume.array[0, 0], [0, 20, 20, (20 + 40) / 2, 40, 100, 60])
