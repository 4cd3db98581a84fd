import struct
import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import read_series


def csa_header(**tags):
    """A Siemens CSA2 header with one (VR, values) a tag."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, (vr, values) in tags.items():
        out += struct.pack("<64si4siii", name.encode(), len(values), vr.encode(), 0, len(values), 77)
        for value in values:
            text = str(value).encode() + b"\0"
            out += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return out


def write_mosaic(series, volumes, normal, csa=True, before=()):
    """``volumes[t]`` (slices, rows, columns) as one mosaic file a time point, tiles in the order of slices.

    ``before`` names private creators that come before Siemens' own.
    """
    count, rows, columns = volumes[0].shape
    tiles = int(np.ceil(np.sqrt(count)))
    for t, slices in enumerate(volumes):
        tiled = np.zeros((tiles * tiles, rows, columns), np.uint16)
        tiled[:count] = slices
        plane = tiled.reshape(tiles, tiles, rows, columns).transpose(0, 2, 1, 3).reshape(tiles * rows, tiles * columns)
        # Siemens gives the corner as if the whole mosaic were one slice, centred where the first one is
        shift = np.array([(tiles - 1) * columns / 2 * series.spacing[1], (tiles - 1) * rows / 2 * series.spacing[0]])
        corner = series.origin - shift @ series.orientation.reshape(2, 3)
        dataset = series.dataset(
            0, pixels=plane, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], AcquisitionNumber=t + 1,
            ImagePositionPatient=[f"{v:.10g}" for v in corner], InstanceNumber=t + 1,
            SpacingBetweenSlices=f"{np.linalg.norm(series.step):g}", SliceThickness="2",
        )  # fmt: skip
        if csa:
            header = csa_header(NumberOfImagesInMosaic=("US", [count]), SliceNormalVector=("FD", list(normal)))
            for creator in before:
                dataset.private_block(0x0029, creator, create=True).add_new(0x10, "OB", b"no header")
            block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
            block.add_new(0x10, "OB", header + b"\0" * (len(header) % 2))
        series.folder.mkdir(parents=True, exist_ok=True)
        dataset.save_as(series.folder / f"mosaic{t}", enforce_file_format=True)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0.8, -0.6)])
def test_tiles_are_placed_along_the_csa_normal(make_series, reference_image, orientation, direction):
    series = make_series(shape=(7, 8, 6), orientation=orientation, spacing=(2, 3), origin=(-30, 11, 5), step=4)
    series.step = direction * series.step
    volumes = [series.pixels, series.pixels + 100]
    write_mosaic(series, volumes, direction * series.normal)
    [volume] = read_series(series.folder)
    first = reference_image(series)
    np.testing.assert_allclose(volume.affine, first.affine, atol=1e-3)
    np.testing.assert_array_equal(volume.array[..., 0], first.get_fdata())
    np.testing.assert_array_equal(volume.array[..., 1], first.get_fdata() + 100)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("orientation", [
    (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (1, 0, 0, 0, 0.8, -0.6),
    (0.8, 0.6, 0, 0.36, -0.48, -0.8),
])  # fmt: skip
def test_mosaics_of_any_plane_and_order_equal_dcm2niix(make_series, tmp_path, orientation, direction):
    series = make_series(shape=(7, 16, 12), orientation=orientation, spacing=(2, 3), origin=(-30, 11, 5), step=4,
                         Manufacturer="SIEMENS")  # fmt: skip
    series.step = direction * series.step
    write_mosaic(series, [series.pixels], direction * series.normal)
    subprocess.run([dcm2niix.bin, "-z", "n", "-b", "n", "-o", tmp_path, series.folder], check=True, capture_output=True)
    [path] = tmp_path.glob("*.nii")
    reference = nib.as_closest_canonical(nib.load(path))
    [volume] = read_series(series.folder)
    np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-3)
    np.testing.assert_array_equal(volume.array, reference.get_fdata().squeeze())


def test_csa_header_behind_other_private_creators(make_series, reference_image):
    series = make_series(shape=(4, 8, 8), step=3)
    write_mosaic(series, [series.pixels], series.normal, before=["SOMEBODY", "ELSE"])
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())


def test_mosaic_without_csa_header_is_refused(make_series):
    series = make_series(shape=(4, 8, 8))
    write_mosaic(series, [series.pixels], series.normal, csa=False)
    with pytest.raises(InputError, match="without its CSA header"):
        read_series(series.folder)
