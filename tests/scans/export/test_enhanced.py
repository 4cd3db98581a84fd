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


def rescaled(slope, intercept, kind="US"):
    values = item(RescaleSlope=str(slope), RescaleIntercept=str(intercept), RescaleType=kind)
    return {"PixelValueTransformationSequence": [values]}


def test_enhanced_ct_has_scale_kernel_and_padding_frame_by_frame(make_series, reference_image):
    series = make_series(Modality="CT", RescaleIntercept=None)
    pixels = series.pixels.astype(np.uint16)
    pixels[:, 0] = 63536
    slopes, intercepts = np.array([1, 0.5, 2, 1, 1.5]), np.array([-1024, -1000, -8192, -1024, -10])
    frames = [(k, pixels[k], None, rescaled(slopes[k], intercepts[k], "HU")) for k in (2, 0, 4, 1, 3)]
    kernel = {"CTReconstructionSequence": [item(ConvolutionKernel="H30s")],
              "CTImageFrameTypeSequence": [item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]}  # fmt: skip
    series.write_enhanced(frames, groups_for_all=kernel)
    path = series.folder / "enhanced"
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00280120, "US", 63536)
    dataset.save_as(path)
    truth = pixels * slopes[:, None, None] + intercepts[:, None, None]
    truth[:, 0] = -1024
    [volume] = read_series(series.folder)
    np.testing.assert_allclose(volume.array, reference_image(series, truth).get_fdata(), rtol=1e-6)
    assert volume.metadata["unit"] == "HU"
    assert volume.metadata["ConvolutionKernel"] == "H30s"
    assert volume.metadata["padding"] == {"voxels": 5 * 6, "replaced_by": -1024.0}


def mapped(slope, unit, intercept=0.0):
    """A linear Real World Value Mapping."""
    code = item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)
    return item(RealWorldValueSlope=float(slope), RealWorldValueIntercept=float(intercept),
                MeasurementUnitsCodeSequence=[code])  # fmt: skip


def enhanced_pet(make_series, mappings, **tags):
    """Injected at 10:00, corrected to 10:45; slope k + 1 in frame k of each mapping."""
    dose = item(RadiopharmaceuticalStartDateTime="20200102100000.00", RadionuclideTotalDose="370",  # MBq
                RadionuclideHalfLife="6586.2")  # fmt: skip
    defaults = {"Modality": "PT", "PatientWeight": "70", "DecayCorrected": "YES", "AttenuationCorrected": "YES",
                "DecayCorrectionDateTime": "20200102104500.00", "RadiopharmaceuticalInformationSequence": [dose],
                "SeriesDate": "20200102", "SeriesTime": "160000"}  # fmt: skip
    series = make_series(**(defaults | tags))
    frames = [
        (k, series.pixels[k], 7.0, {"RealWorldValueMappingSequence": [mapped(m * (k + 1), u) for u, m in mappings]})
        for k in range(5)
    ]
    series.write_enhanced(frames)
    return series, series.pixels * (np.arange(5) + 1.0)[:, None, None]


def test_enhanced_pet_is_mapped_to_activity_and_its_dose_is_in_megabecquerel(make_series, reference_image):
    series, activity = enhanced_pet(make_series, [("{propcounts}", 3), ("Bq/ml", 1)])
    [volume] = read_series(series.folder)
    factor = 70000 / (370e6 * 0.5 ** (2700 / 6586.2))
    assert volume.metadata["unit"] == "SUV"
    np.testing.assert_allclose(volume.array, reference_image(series, activity * factor).get_fdata(), rtol=1e-6)
    assert volume.metadata["suv"]["decay_seconds"] == 2700
    assert volume.metadata["rescale"].startswith("DICOM RealWorldValueSlope")


def test_enhanced_pet_mapped_to_suv_only_is_suv(make_series, reference_image):
    series, values = enhanced_pet(make_series, [("g/ml{SUVbw}", 1)], PatientWeight=None)
    [volume] = read_series(series.folder)
    assert volume.metadata["unit"] == "SUV"
    np.testing.assert_allclose(volume.array, reference_image(series, values).get_fdata(), rtol=1e-6)


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"DecayCorrected": "NO"}, "DecayCorrected is NO"),
        ({"DecayCorrectionDateTime": None}, "DecayCorrectionDateTime is missing"),
        ({"AttenuationCorrected": "NO"}, "AttenuationCorrected is NO"),
    ],
)
def test_enhanced_pet_without_what_suv_needs_stays_activity(make_series, reference_image, tags, named):
    series, activity = enhanced_pet(make_series, [("Bq/ml", 1)], **tags)
    [volume] = read_series(series.folder)
    assert volume.metadata["unit"] == "Bq/ml"
    assert named in volume.metadata["warnings"][0]
    np.testing.assert_allclose(volume.array, reference_image(series, activity).get_fdata(), rtol=1e-6)


def test_enhanced_pet_without_a_known_unit_is_not_called_suv(make_series):
    series, _ = enhanced_pet(make_series, [("{propcounts}", 1)])
    [volume] = read_series(series.folder)
    assert volume.metadata["unit"] == ""
    assert "Units is missing" in volume.metadata["warnings"][0]


def test_real_world_values_count_for_mr_only_where_there_is_no_rescale_slope(make_series, reference_image):
    series = make_series()
    mapping = {"RealWorldValueMappingSequence": [mapped(0.5, "mm2/s", 2)]}
    for slope, truth, unit in ((None, series.pixels * 0.5 + 2, "mm2/s"), (3.0, series.pixels * 3.0, "")):
        series.write_enhanced([(k, series.pixels[k], slope, mapping) for k in range(5)])
        [volume] = read_series(series.folder)
        np.testing.assert_array_equal(volume.array, reference_image(series, truth).get_fdata())
        assert volume.metadata["unit"] == unit


def test_classic_images_use_real_world_values_like_enhanced_ones(make_series, reference_image):
    series = make_series().write_all(RealWorldValueMappingSequence=[mapped(0.25, "1", 3)])
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series, series.pixels * 0.25 + 3).get_fdata())


def test_classic_pet_keeps_its_slope_and_units(make_series, reference_image):
    series = make_series(Modality="PT", Units="BQML", RescaleSlope="3", RescaleIntercept="0")
    series.write_all(RealWorldValueMappingSequence=[mapped(0.25, "g/ml{SUVbw}")])
    [volume] = read_series(series.folder, Conversion(pet_unit="bqml"))
    assert volume.metadata["unit"] == "Bq/ml"
    np.testing.assert_array_equal(volume.array, reference_image(series, series.pixels * 3.0).get_fdata())


def test_echoes_in_one_file_are_volumes_of_their_own(make_series, reference_image):
    first, second = make_series(seed=1), make_series(seed=2)
    frames = [
        (k, source.pixels[k], slope, {"MREchoSequence": [item(EffectiveEchoTime=echo)]})
        for k in range(5)
        for source, echo, slope in ((first, 4.6, 2.0), (second, 2.3, 0.5))
    ]
    first.write_enhanced(frames)
    volumes = sorted(read_series(first.folder), key=lambda volume: volume.metadata["EchoTime"])
    np.testing.assert_array_equal(volumes[0].array, reference_image(second, second.pixels * 0.5).get_fdata())
    np.testing.assert_array_equal(volumes[1].array, reference_image(first, first.pixels * 2.0).get_fdata())


def test_two_real_world_mappings_of_mr_are_no_ground_to_choose(make_series, reference_image):
    series = make_series()
    mappings = {"RealWorldValueMappingSequence": [mapped(0.5, "mm2/s"), mapped(5, "1")]}
    series.write_enhanced([(k, series.pixels[k], None, mappings) for k in range(5)])
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())


def test_converted_pet_finds_its_tags_among_those_without_a_place(make_series, reference_image):
    # as highdicom 0.28 writes Legacy Converted Enhanced PET: PS3.3 C.7.6.16.2.25
    dose = item(RadiopharmaceuticalStartTime="100000.00", RadionuclideTotalDose="370000000",
                RadionuclideHalfLife="6586.2")  # fmt: skip
    kept = item(Units="BQML", DecayCorrection="START", CorrectedImage=["ATTN", "DECY"], SeriesNumber="99",
                RadiopharmaceuticalInformationSequence=[dose])  # fmt: skip
    series = make_series(Modality="PT", PatientWeight="70", SeriesDate="20200102", SeriesTime="110000")
    own = {
        "UnassignedPerFrameConvertedAttributesSequence": [item(AcquisitionDate="20200102", AcquisitionTime="110000")]
    }
    slopes = np.array([2, 0.5, 4, 1, 8])
    series.write_enhanced(
        [(k, series.pixels[k], slopes[k], own) for k in range(5)],
        groups_for_all={"UnassignedSharedConvertedAttributesSequence": [kept]},
        SOPClassUID="1.2.840.10008.5.1.4.1.1.128.1",
    )
    [volume] = read_series(series.folder)
    assert volume.metadata["unit"] == "SUV", volume.metadata["warnings"]
    factor = 70000 / (370e6 * 0.5 ** (3600 / 6586.2))
    truth = series.pixels * slopes[:, None, None] * factor
    np.testing.assert_allclose(volume.array, reference_image(series, truth).get_fdata(), rtol=1e-6)
    assert volume.frames[0][0].tags["SeriesNumber"] == 7


def test_philips_enhanced_keeps_its_precise_scale_frame_by_frame(make_series, reference_image):
    series = make_series(Manufacturer="Philips Medical Systems")
    frames, slopes = [], np.array([0.01, 0.02, 0.05, 0.5, 3.0])
    for k in range(5):
        inner = pydicom.Dataset()
        inner.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", slopes[k])
        frames.append((k, series.pixels[k], 2.0 + k, {"inner": inner}))
    series.write_enhanced([(k, p, s, {}) for k, p, s, _ in frames])
    path = series.folder / "enhanced"
    dataset = pydicom.dcmread(path)
    for group, (*_, extra) in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
        group.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
        group.add_new(0x2005140F, "SQ", [extra["inner"]])
    dataset.save_as(path)
    [volume] = read_series(series.folder, Conversion(philips_scale="precise"))
    truth = series.pixels / np.float32(slopes).astype(float)[:, None, None]
    np.testing.assert_allclose(volume.array, reference_image(series, truth).get_fdata(), rtol=1e-6)
