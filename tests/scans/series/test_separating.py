"""Which images of one SeriesInstanceUID are one volume: nothing merged that is none, nothing split that is one."""

import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series

CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}


@pytest.fixture
def write(make_series):
    """``write(name, **tags)``: a series of noise in the export, its files called ``name``; gives its true image."""

    def write(name, shape=(5, 8, 6), places=None, per_slice=None, **options):
        tags = {key: options.pop(key) for key in list(options) if key[0].isupper()}
        series = make_series(shape=shape, seed=sum(map(ord, name)), **options)
        for k in places or range(shape[0]):
            series.write(k, f"{name}{k}", **tags, **(per_slice(k) if per_slice else {}))
        series.tags |= tags
        return series

    return write


@pytest.fixture
def truth(reference_image):
    def image(series, offset=0):
        return reference_image(series, series.pixels.astype(float) + offset).get_fdata()

    return image


def by_label(folder):
    return {volume.metadata["description"]: volume.array for volume in read_series(folder)}


def test_echo_times_that_jitter_from_slice_to_slice_are_two_echoes(write, truth):
    first = write("a", per_slice=lambda k: {"EchoTime": 4.5 + 0.02 * k})
    second = write("b", per_slice=lambda k: {"EchoTime": 9.1 - 0.02 * k})
    volumes = by_label(first.folder)
    np.testing.assert_array_equal(volumes["[EchoTime 4.5]"], truth(first))
    np.testing.assert_array_equal(volumes["[EchoTime 9.1]"], truth(second))
    assert len(volumes) == 2


def test_echo_time_that_drifts_during_a_dynamic_scan_splits_nothing(write):
    for t in range(5):
        series = write(f"t{t}-", TemporalPositionIdentifier=t + 1, per_slice=lambda k, t=t: {"EchoTime": 30 + 0.01 * t})
    [volume] = read_series(series.folder)
    assert volume.array.shape[3] == 5


@pytest.mark.parametrize(
    "per_slice",
    [
        lambda k: {"EchoTime": 4.5 + 0.1 * (k % 2)},
        lambda k: {"EchoNumbers": 1 + k % 2},
        lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"] + ["NORM"] * (k > 1)},
        lambda k: {"ImageType": ["ORIGINAL" if k else "DERIVED", "PRIMARY", "M"]},
        lambda k: {"AcquisitionNumber": k + 1},
        lambda k: {"AcquisitionNumber": 1 + k % 2},
        lambda k: {"InversionTime": 100.0 + 30 * k},
        lambda k: {"TriggerTime": 20.0 * k},
        lambda k: {"SliceThickness": 2.0 + 0.01 * (k % 2)},
        lambda k: {"SliceThickness": None if k % 2 else 2.0},
        lambda k: {"ContrastBolusAgent": None if k else "Gd"},
        lambda k: {"AcquisitionTime": f"12{10 + 7 * k}00"},
        lambda k: {"RepetitionTime": 500.0 + k},
        lambda k: {"SeriesDescription": f"slice {k}"},
        lambda k: {"RescaleType": "US" if k else None},
    ],
)
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_what_varies_from_slice_to_slice_splits_nothing(write, truth, per_slice, modality):
    series = write("s", shape=(6, 8, 6), per_slice=per_slice, **({**CT} if modality == "CT" else {}))
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series, -1024 if modality == "CT" else 0))


def test_beds_of_a_pet_scan_that_count_as_acquisitions_are_one_volume(write, truth):
    pet = {"Modality": "PT", "Units": "BQML", "RescaleSlope": 1, "RescaleIntercept": 0}
    series = write("bed", shape=(12, 4, 4), **pet,
                   per_slice=lambda k: {"AcquisitionNumber": 1 + k // 4, "AcquisitionTime": f"12{k // 4:02}00"},
                   )  # fmt: skip
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["M", "ND"], ["P", "ND"]),
        (["M_FFE", "M", "FFE"], ["PHASE MAP", "P", "FFE"]),
        (["W", "M", "FFE"], ["F", "M", "FFE"]),
        (["DIXON", "WATER"], ["DIXON", "FAT"]),
        (["M", "IN_PHASE"], ["M", "OPP_PHASE"]),
        (["DIFFUSION", "TRACEW", "ND"], ["DIFFUSION", "ADC", "ND"]),
        (["M", "ND"], ["M", "ND", "NORM"]),
        (["AXIAL", "CT_SOM5 SPI", "80 KV"], ["AXIAL", "CT_SOM5 SPI", "140 KV"]),
    ],
)
def test_image_types_are_volumes_of_their_own(write, truth, one, other):
    first = write("a", ImageType=["ORIGINAL", "PRIMARY", *one])
    second = write("b", ImageType=["ORIGINAL", "PRIMARY", *other])
    volumes = by_label(first.folder)
    np.testing.assert_array_equal(volumes[f"[ImageType {'/'.join(['ORIGINAL', 'PRIMARY', *one])}]"], truth(first))
    np.testing.assert_array_equal(volumes[f"[ImageType {'/'.join(['ORIGINAL', 'PRIMARY', *other])}]"], truth(second))


def test_water_below_fat_is_never_one_stack(write):
    first = write("a", places=range(3), ImageType=["ORIGINAL", "PRIMARY", "W"], shape=(6, 8, 6))
    write("b", places=range(3, 6), ImageType=["ORIGINAL", "PRIMARY", "F"], shape=(6, 8, 6))
    assert [volume.array.shape[2] for volume in read_series(first.folder)] == [3, 3]


def test_parts_of_different_units_are_volumes_of_their_own(write):
    first = write("a", **CT, RescaleType="HU")
    write("b", **CT, RescaleType="Z_EFF")
    assert {v.metadata["unit"] for v in read_series(first.folder)} == {"HU", "Z_EFF"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"KVP": 80}, {"KVP": 140}),
        ({"MonoenergeticEnergyEquivalent": 40.0}, {"MonoenergeticEnergyEquivalent": 70.0}),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
        ({"FilterType": "STANDARD"}, {"FilterType": "BONE"}),
        ({"ContrastBolusAgent": None}, {"ContrastBolusAgent": "ULTRAVIST"}),
        ({"SliceThickness": 1.0}, {"SliceThickness": 3.0}),
        ({"AcquisitionNumber": 2}, {"AcquisitionNumber": 3}),
        ({"AcquisitionTime": "120000"}, {"AcquisitionTime": "120040"}),
        ({"SeriesDescription": "arterial"}, {"SeriesDescription": "venous"}),
    ],
)
@pytest.mark.parametrize("second_places", [range(8), range(2, 6), range(0, 8, 2)])
def test_ct_reconstructions_energies_and_phases_are_volumes_of_their_own(write, truth, one, other, second_places):
    first = write("a", shape=(8, 6, 6), **CT, **one)
    second = write("b", shape=(8, 6, 6), places=second_places, **CT, **other)
    volumes = {volume.array.shape[2]: volume.array for volume in read_series(first.folder)}
    assert len(read_series(first.folder)) == 2
    if len(second_places) < 8:
        np.testing.assert_array_equal(volumes[8], truth(first, -1024))
        np.testing.assert_array_equal(volumes[len(second_places)], truth(second, -1024)[..., list(second_places)])


def test_two_ct_scans_between_one_anothers_slices_are_not_interleaved(write, truth):
    first = write("a", shape=(6, 6, 6), step=5.0, AcquisitionNumber=1, **CT)
    second = write("b", shape=(6, 6, 6), step=5.0, origin=(0, 0, 2.5), AcquisitionNumber=2, **CT)
    one, other = read_series(first.folder)
    assert one.spacing[2] == other.spacing[2] == 5.0
    np.testing.assert_array_equal(one.array, truth(first, -1024))
    np.testing.assert_array_equal(other.array, truth(second, -1024))


HALVES = "together with another volume of its series it is one even stack: halves of one?"
OVERLAPPING = {"step": 1.25, "SliceThickness": 2.5, "Manufacturer": "SIEMENS", **CT}


@pytest.mark.parametrize(
    "per_slice",
    [
        lambda k: {"AcquisitionNumber": 1 + k % 2},
        lambda k: {"AcquisitionNumber": 1 + k % 2, "InstanceNumber": 60 - k},
        lambda k: {"AcquisitionNumber": 1 + k % 2, "InstanceNumber": None, "AcquisitionTime": f"1200{k:02}"},
    ],
)
def test_overlapping_slices_of_alternating_acquisitions_are_one_volume(write, truth, tmp_path, per_slice):
    series = write("s", shape=(12, 16, 14), per_slice=per_slice, **OVERLAPPING)
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series, -1024))
    if per_slice(0).get("InstanceNumber", 1):  # without which dcm2niix mistakes the order
        [theirs] = converted_by_dcm2niix(series.folder, tmp_path / "theirs")
        np.testing.assert_array_equal(theirs.get_fdata(), volume.array)
        np.testing.assert_allclose(theirs.affine, volume.affine, atol=1e-3)


def test_acquisitions_among_one_another_that_are_numbered_apart_are_two_volumes_and_told(write):
    series = write("s", shape=(12, 6, 6), **OVERLAPPING,
                   per_slice=lambda k: {"AcquisitionNumber": 1 + k % 2, "InstanceNumber": 1 + k // 2 + 6 * (k % 2)},
                   )  # fmt: skip
    volumes = read_series(series.folder)
    assert [volume.array.shape[2] for volume in volumes] == [6, 6]
    for volume in volumes:
        assert HALVES in volume.metadata["warnings"]


def test_slices_acquired_in_two_interleaved_passes_are_one_volume(write, truth):
    series = write("s", shape=(8, 6, 6), step=5.0, SpacingBetweenSlices=5.0,
                   per_slice=lambda k: {"AcquisitionNumber": 1 + k % 2}, **CT)  # fmt: skip
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series, -1024))


def test_scan_in_blocks_with_a_missing_one_is_refused_not_split_into_its_blocks(write, tmp_path):
    series = write("s", shape=(12, 6, 6), places=[*range(4), *range(8, 12)],
                   per_slice=lambda k: {"AcquisitionNumber": 1 + k // 4}, **CT)  # fmt: skip
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert row.status == "failed"
    assert "not evenly spaced" in row.reason


@pytest.mark.parametrize(
    "tag",
    [
        lambda t: {"TemporalPositionIdentifier": t + 1},
        lambda t: {"AcquisitionNumber": t + 1},
        lambda t: {"DiffusionBValue": 500.0 * t},
        lambda t: {"TriggerTime": 40.0 * t},
    ],
)
def test_repeats_in_time_of_b_value_and_of_heart_phase_stay_one_4d_volume(write, truth, tag):
    series = [write(f"t{t}-", InstanceNumber=None, **tag(t)) for t in range(3)]
    [volume] = read_series(series[0].folder)
    np.testing.assert_array_equal(volume.array, np.stack([truth(one) for one in series], axis=-1))


def test_many_ct_scans_of_one_place_are_a_course_in_time(write):
    series = [write(f"t{t}-", shape=(3, 4, 4), AcquisitionNumber=t + 1, **CT) for t in range(6)]
    [volume] = read_series(series[0].folder)
    assert volume.array.shape == (4, 4, 3, 6)


def test_dynamic_scan_of_two_echoes_is_two_4d_volumes(write, truth):
    series = {
        (t, echo): write(f"{t}{echo}-", TemporalPositionIdentifier=t + 1, EchoTime=5.0 * echo, EchoNumbers=echo)
        for t in range(3)
        for echo in (1, 2)
    }
    volumes = by_label(series[0, 1].folder)
    for echo in (1, 2):
        wanted = np.stack([truth(series[t, echo]) for t in range(3)], axis=-1)
        np.testing.assert_array_equal(volumes[f"[EchoTime {5.0 * echo}]"], wanted)


def test_contrast_agent_that_comes_during_a_dynamic_mr_scan_splits_nothing(write):
    for t in range(4):
        series = write(f"t{t}-", TemporalPositionIdentifier=t + 1, ContrastBolusAgent="Gd" if t else None)
    [volume] = read_series(series.folder)
    assert volume.array.shape[3] == 4


def test_two_fields_of_view_side_by_side_are_two_volumes(write, truth):
    left = write("l", shape=(5, 8, 6), origin=(0, 0, 0))
    right = write("r", shape=(5, 8, 6), origin=(120, 0, 0))
    one, other = sorted(read_series(left.folder), key=lambda v: -v.affine[0, 3])
    np.testing.assert_array_equal(one.array, truth(left))
    np.testing.assert_array_equal(other.array, truth(right))
    assert one.metadata["description"] != other.metadata["description"]


@pytest.mark.parametrize("by", [0.3, 20.0])
def test_images_moved_within_their_field_of_view_are_refused_not_split(write, by):
    first = write("a", shape=(5, 8, 64), TriggerTime=1)
    write("b", shape=(5, 8, 64), origin=(by, 0, 0), TriggerTime=2)
    with pytest.raises(InputError, match=f"images of one plane lie {by:.2f} mm apart sideways"):
        read_series(first.folder)


def test_thicker_slices_that_continue_a_stack_are_told(write, truth):
    series = write("s", shape=(9, 6, 6), step=2.5, **CT, per_slice=lambda k: {"SliceThickness": 2.5 if k < 6 else 5})
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series, -1024))
    assert "SliceThickness differs between its images: 2.5, 5" in volume.metadata["warnings"]


def test_thicker_slices_between_thin_ones_are_another_volume_and_told(write):
    series = write("s", shape=(12, 6, 6), step=1.25, **CT, per_slice=lambda k: {"SliceThickness": 5 if k % 2 else 1.25})
    volumes = by_label(series.folder)
    assert list(volumes) == ["[SliceThickness 1.25]", "[SliceThickness 5.0]"]
    for volume in read_series(series.folder):
        assert HALVES in volume.metadata["warnings"]


@pytest.mark.parametrize(
    ("tag", "one", "other"),
    [
        ("KVP", 80, 140),
        ("ConvolutionKernel", "B30f", "B70f"),
        ("MonoenergeticEnergyEquivalent", 40.0, 70.0),
        ("EchoTime", 4.6, 9.2),
    ],
)
def test_slices_of_one_stack_that_were_not_made_alike_are_told(write, tag, one, other):
    series = write("s", **CT, per_slice=lambda k: {tag: other if k % 2 else one})
    [volume] = read_series(series.folder)
    assert f"{tag} differs between its images: {one}, {other}".replace(".0", "") in volume.metadata["warnings"]


@pytest.mark.parametrize("second", [range(6, 12), range(1, 12, 2)], ids=["above", "between"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"SeriesDescription": "T1", "EchoTime": 10.0}, {"SeriesDescription": "FLAIR", "EchoTime": 100.0}),
        ({"KVP": 80}, {"KVP": 140}),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
    ],
)
def test_stacks_that_were_not_made_alike_are_volumes_and_told(write, one, other, second):
    series = write("s", shape=(12, 5, 6), per_slice=lambda k: other if k in second else one, **CT)
    volumes = read_series(series.folder)
    assert [volume.array.shape[2] for volume in volumes] == [6, 6]
    assert all(HALVES in volume.metadata["warnings"] for volume in volumes)


def test_ct_images_that_lack_the_rescale_type_are_in_hu_as_the_others(write, truth):
    series = write("s", per_slice=lambda k: {"RescaleType": ("HU", None, "US")[k % 3]}, **CT)
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series, -1024))
    assert volume.metadata["unit"] == "HU"


@pytest.mark.parametrize("stray", [7, 0, 3])
@pytest.mark.parametrize(
    "tags",
    [{"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, {"RescaleType": "Z_EFF"}, {"PixelSpacing": [1.2, 1.2]}],
    ids=["phase", "unit", "pixel spacing"],
)
def test_a_slice_of_another_kind_in_the_stack_is_told_or_leaves_a_gap(write, tmp_path, stray, tags):
    series = write("s", shape=(8, 16, 12), per_slice=lambda k: tags if k == stray else {}, **CT)
    table = convert_export(series.folder, tmp_path / "out")
    if stray in (0, 7):
        assert sorted(table.slices) == [1, 7]
        assert all(HALVES in reason for reason in table.reason)
    else:
        assert "not evenly spaced" in table.reason[table.status == "failed"].item()


def test_re_sent_copies_of_some_slices_stay_one_volume(write, truth):
    series = write("s", AcquisitionNumber=1)
    for k in (1, 3):
        series.write(k, f"again{k}", AcquisitionNumber=2, AcquisitionTime="130000")
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, truth(series))
    assert volume.metadata["copies_dropped"] == 2


def test_parts_that_nothing_describes_still_have_names_of_their_own(write, tmp_path):
    for n in range(3):
        series = write(f"n{n}-", FrameOfReferenceUID=f"1.2.3.{n}", SeriesDescription="same")
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["converted"] * 3
    assert table.path.nunique() == table.description.nunique() == 3
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 3


def private(series, values, name, k):
    dataset = series.dataset(k, InstanceNumber=k + 1)
    for creator_name, group, element, vr, value in values:
        dataset.private_block(group, creator_name, create=True).add_new(element, vr, value)
    series.folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(series.folder / f"{name}{k}", enforce_file_format=True)


def vendor_tags(vendor, b, gradient):
    x, y, z = gradient
    return {
        "Siemens": [("SIEMENS MR HEADER", 0x19, 0x0C, "IS", b), ("SIEMENS MR HEADER", 0x19, 0x0E, "FD", [x, y, z])],
        "GE": [("GEMS_PARM_01", 0x43, 0x39, "IS", [1000000000 + b, 8, 0, 0])]
        + [("GEMS_ACQU_01", 0x19, 0xBB + n, "DS", v) for n, v in enumerate(gradient)],
        "Philips": [("Philips Imaging DD 001", 0x2001, 0x03, "FL", b)]
        + [("Philips MR Imaging DD 001", 0x2005, 0xB0 + n, "FL", v) for n, v in enumerate(gradient)],
    }[vendor]


@pytest.mark.parametrize("vendor", ["Siemens", "GE", "Philips"])
def test_diffusion_weightings_of_the_vendors_are_one_4d_volume_in_order(make_series, truth, vendor):
    weightings = [(0, (0.0, 0.0, 0.0)), (1000, (0.0, 0.0, 1.0)), (1000, (1.0, 0.0, 0.0))]
    wanted = []
    for n, (b, gradient) in enumerate(weightings):
        series = make_series(seed=n)
        wanted.append(truth(series))
        for k in range(5):
            private(series, vendor_tags(vendor, b, gradient), f"{2 - n}-", k)
    [volume] = read_series(series.folder)
    assert volume.metadata["ordered_by"] == "DiffusionBValue"
    assert volume.metadata["b_values"] == [0, 1000, 1000]
    np.testing.assert_array_equal(volume.array, np.stack(wanted, axis=-1))


def test_one_series_uid_of_two_patients_is_two_volumes(write, tmp_path, truth):
    first = write("a", PatientID="A")
    write("b", PatientID="B")
    table = convert_export(first.folder, tmp_path / "out")
    assert list(table.status) == ["converted"] * 2
    assert table.patient.nunique() == 2


def test_images_without_patient_id_belong_to_the_patient_of_their_study(write, tmp_path):
    series = write("a", per_slice=lambda k: {"PatientID": None if k in (1, 4) else "A"})
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.slices) == ("converted", 5)


def test_export_without_any_patient_id_is_converted(write, tmp_path):
    series = write("a", PatientID=None, PatientName=None)
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert row.patient == "patient-001"


def converted_by_dcm2niix(folder, out):
    """What dcm2niix makes of a folder: arrays in RAS, in no order."""
    out.mkdir()
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "%s_%e_%p", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return [nib.as_closest_canonical(nib.load(path)) for path in sorted(out.glob("*.nii"))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"EchoTime": 4.5, "EchoNumbers": 1}, {"EchoTime": 9.1, "EchoNumbers": 2}),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
        (
            {"SeriesInstanceUID": "1.2.3", "SeriesNumber": 3, "PixelSpacing": [1, 1]},
            {"SeriesInstanceUID": "1.2.4", "SeriesNumber": 4, "PixelSpacing": [2, 2]},
        ),
    ],
)
def test_splits_as_dcm2niix_does(write, tmp_path, one, other):
    common = {"Manufacturer": "SIEMENS", "StudyDate": "20200102", "StudyTime": "120000"}
    first = write("a", shape=(5, 16, 12), **one, **common)
    write("b", shape=(5, 16, 12), **other, **common)
    theirs = converted_by_dcm2niix(first.folder, tmp_path / "theirs")
    ours = read_series(first.folder)
    assert len(theirs) == len(ours) == 2
    for volume in ours:
        [same] = [image for image in theirs if np.array_equal(image.get_fdata(), volume.array)]
        np.testing.assert_allclose(same.affine, volume.affine, atol=1e-3)


def test_repeats_that_no_tag_explains_are_refused(write):
    first = write("a", **CT)
    write("b", **CT)
    with pytest.raises(InputError, match="no tag that says which belong together"):
        read_series(first.folder)
