"""A tilted CT, from scanner files to a data set and to a network: values lie where the planes put them."""

import json

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medtrans.cohorts import Cases, prepare
from medtrans.scans import Conversion, convert_export
from medtrans.transforms import Isotropic

SHAPE, SPACING, STEP = (22, 64, 60), 2.0, 4.0  # slices, rows, columns; mm


def head(points):
    """HU of a smooth lopsided head in air at RAS positions."""
    x, y, z = np.moveaxis(points, -1, 0)
    depth = 1 - np.sqrt((x / 38) ** 2 + (y / 42) ** 2 + (z / 34) ** 2)
    return -1000 + 1040 / (1 + np.exp(-12 * depth)) + 80 * np.exp(-((x - 12) ** 2 + y**2 + (z - 8) ** 2) / 200)


def write_tilted(folder, degrees):
    """A head CT with the gantry tilted by ``degrees``: planes turned about x, stacked along z."""
    folder.mkdir()
    tilt = np.radians(degrees)
    column = np.array([0, np.cos(tilt), np.sin(tilt)])
    origin = -np.array([SHAPE[2] * SPACING, SHAPE[1] * SPACING * column[1], SHAPE[0] * STEP]) / 2
    origin[2] -= SHAPE[1] * SPACING * column[2] / 2
    study, series, frame = (generate_uid() for _ in range(3))
    row, col = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[2]), indexing="ij")
    for k in range(SHAPE[0]):
        corner = origin + np.array([0, 0, k * STEP])
        lps = corner + SPACING * (col[..., None] * [1.0, 0, 0] + row[..., None] * column)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.PatientID, image.StudyInstanceUID, image.SeriesInstanceUID = "a", study, series
        image.FrameOfReferenceUID, image.Modality, image.SeriesNumber, image.InstanceNumber = frame, "CT", 2, k + 1
        image.ImagePositionPatient = [f"{v:.8g}" for v in corner]
        image.ImageOrientationPatient = ["1", "0", "0", *(f"{v:.10f}" for v in column)]
        image.PixelSpacing, image.SliceThickness = [SPACING, SPACING], STEP
        image.Rows, image.Columns, image.SamplesPerPixel = SHAPE[1], SHAPE[2], 1
        image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 1
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.RescaleSlope, image.RescaleIntercept = "1", "0"
        image.PixelData = np.rint(head(lps * [-1, -1, 1])).astype(np.int16).tobytes()
        image.save_as(folder / f"{k}", enforce_file_format=True)


@pytest.fixture(scope="module", params=[(18, "keep"), (-18, "keep"), (-18, "resample")], ids=lambda p: f"{p[0]}-{p[1]}")
def converted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tilted")
    degrees, tilt = request.param
    write_tilted(folder / "export", degrees)
    table = convert_export(folder / "export", folder / "converted", Conversion(tilt=tilt))
    assert list(table.status) == ["converted"]
    return folder, folder / "converted" / table.path[0]


def check_values(values, affine):
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(values.shape), 0, -1))
    near = (np.abs(points) < [45, 45, 25]).all(-1)
    assert near.sum() > 20_000
    assert np.corrcoef(values[near], head(points)[near])[0, 1] > 0.9995
    assert np.abs(values - head(points))[near].max() < 60  # of 1040 at the skin, by linear interpolation of 4 mm slices


def test_converted_values_lie_where_the_planes_put_them(converted):
    _, path = converted
    image = nib.load(path)
    check_values(image.get_fdata(), image.affine)


def test_a_data_set_made_of_it_is_right_in_the_world(converted):
    folder, _ = converted
    recipe = folder / "recipe.json"
    ct = {"kind": "CT", "series": {"modality": "CT"}, "interpolation": "linear"}
    recipe.write_text(
        json.dumps({"modalities": {"CT": ct}, "reference": "CT", "spacing": [2.0] * 3, "size": [64, 64, None]})
    )
    table = prepare(recipe, folder / "converted", folder / "data", workers=1)
    assert list(table["status"]) == ["ok"]
    [case] = Cases.read(folder / "data")
    image = nib.load(case.volumes["CT"])
    np.testing.assert_array_equal(image.affine[:3, :3], 2 * np.eye(3))
    check_values(image.get_fdata(), image.affine)


def test_what_a_network_sees_is_right_in_the_world_and_comes_back_to_the_scans_own_grid(converted):
    _, path = converted
    image = nib.load(path)
    scan = MetaTensor(image.get_fdata(dtype=np.float32)[None], affine=image.affine)
    regrid = Isotropic(2.0, background=-1024.0)
    seen = regrid(scan)
    check_values(seen.numpy()[0], np.asarray(seen.affine))
    back = regrid.inverse(seen)
    np.testing.assert_allclose(np.asarray(back.affine), image.affine, atol=1e-5)
    assert back.shape == scan.shape
    check_values(back.numpy()[0], np.asarray(back.affine))
