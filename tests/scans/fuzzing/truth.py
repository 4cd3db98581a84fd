"""What the bytes of a file really say, by pydicom, nibabel and SimpleITK, and whether a volume agrees."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK

from medtrans.scans import Volume

NEAR = 0.12  # mm: a plane may be this far from where its header says (documented rounding of headers)


class WrongVolumeError(Exception):
    """What was read is not what the file says."""


def check_dicom(volume: Volume) -> None:
    """Every frame of the volume, read again by pydicom alone, lies in the volume where its header says."""
    back = np.linalg.inv(volume.affine)
    array = volume.array[..., None] if volume.array.ndim == 3 else volume.array
    if not np.isfinite(array).all():
        raise WrongVolumeError("values that are not finite")
    for t, time_point in enumerate(volume.frames):
        for frame in time_point:
            values, affine = said_by(frame.file.path, frame.index)
            rows, columns = values.shape
            grid = np.meshgrid(np.arange(columns), np.arange(rows), [0.0], [1.0], indexing="ij")
            index = np.stack(grid, -1)[:, :, 0, 0].transpose(1, 0, 2)
            place = index @ (back @ affine).T
            whole = np.rint(place[..., :3]).astype(int)
            off = np.linalg.norm((place[..., :3] - whole) @ volume.affine[:3, :3].T, axis=-1)
            if off.max() > NEAR + 0.011 * max(volume.spacing):
                raise WrongVolumeError(f"a plane lies {off.max():.3f} mm from where its header says")
            if (whole < 0).any() or (whole >= array.shape[:3]).any():
                raise WrongVolumeError("a plane lies outside the volume")
            found = array[whole[..., 0], whole[..., 1], whole[..., 2], t]
            if not np.allclose(found, values, rtol=2e-6, atol=1e-30, equal_nan=True):
                raise WrongVolumeError("values differ from those of the file")


def said_by(path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Physical values (rows, columns) of a frame and its (column, row, 0, 1) -> RAS matrix, by pydicom alone."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta or not dataset.file_meta.TransferSyntaxUID:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
    pixels = dataset.pixel_array
    if "PerFrameFunctionalGroupsSequence" in dataset:
        own, shared = dataset.PerFrameFunctionalGroupsSequence[index], dataset.SharedFunctionalGroupsSequence[0:1]
        groups = [own, *shared]
        position = _group(groups, "PlanePositionSequence").ImagePositionPatient
        orientation = _group(groups, "PlaneOrientationSequence").ImageOrientationPatient
        spacing = _group(groups, "PixelMeasuresSequence").PixelSpacing
        rescale = _group(groups, "PixelValueTransformationSequence")
        pixels = pixels[index] if pixels.ndim == 3 else pixels
    elif "MOSAIC" in dataset.get("ImageType", []):
        return _tile(dataset, pixels, index)
    else:
        position, orientation = dataset.ImagePositionPatient, dataset.ImageOrientationPatient
        spacing, rescale = dataset.PixelSpacing, dataset
    return _physical(dataset, pixels, rescale), _placed(position, orientation, spacing)


def _group(groups: list[pydicom.Dataset], name: str) -> pydicom.Dataset:
    return next((group[name].value[0] for group in groups if group.get(name)), pydicom.Dataset())


def _physical(dataset: pydicom.Dataset, pixels: np.ndarray, rescale: pydicom.Dataset) -> np.ndarray:
    slope, intercept = rescale.get("RescaleSlope"), rescale.get("RescaleIntercept")
    values = pixels.astype(float) * float(1 if slope in (None, "") else slope)
    values += float(0 if intercept in (None, "") else intercept)
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int):
        ends = [padding, dataset.get("PixelPaddingRangeLimit") or padding]
        bits = int(dataset.BitsAllocated)
        if dataset.PixelRepresentation == 0:
            ends = [end % 2**bits for end in ends]
        else:
            ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
        background = -1024.0 if dataset.get("Modality") == "CT" else 0.0
        values[(pixels >= min(ends)) & (pixels <= max(ends))] = background
    return values


def _placed(position: Any, orientation: Any, spacing: Any) -> np.ndarray:
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    lps = np.eye(4)
    lps[:3, 0] = row / np.linalg.norm(row) * float(spacing[1])
    lps[:3, 1] = column / np.linalg.norm(column) * float(spacing[0])
    lps[:3, 2] = 0
    lps[:3, 3] = [float(v) for v in position]
    return np.diag([-1.0, -1, 1, 1]) @ lps


def _tile(dataset: pydicom.Dataset, pixels: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One tile by nibabel.nicom."""
    from nibabel.nicom.dicomwrappers import MosaicWrapper

    wrapper = MosaicWrapper(dataset)
    affine = (
        np.diag([-1.0, -1, 1, 1])
        @ wrapper.affine
        @ np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, index], [0, 0, 0, 1.0]])
    )  # nicom counts (row, column, slice)
    affine[:, 2] = 0
    return np.asarray(wrapper.get_data(), float)[:, :, index], affine


def check_image(path: Path, volume: Volume) -> None:
    """The volume holds what nibabel or SimpleITK read from the file, at the same places."""
    if path.suffix in (".mha", ".nrrd", ".mhd"):
        image = SimpleITK.ReadImage(str(path))
        array = SimpleITK.GetArrayFromImage(image).transpose().astype(float)
        lps = np.eye(4)
        lps[:3, :3] = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:3, :3] * image.GetSpacing()[:3]
        lps[:3, 3] = image.GetOrigin()[:3]
        truth = nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1]) @ lps)
    elif path.suffix == ".PAR":
        truth = nib.parrec.load(path, scaling="dv", strict_sort=True)
        truth = nib.Nifti1Image(np.asarray(truth.dataobj, float), truth.affine)
    else:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        if path.suffix == ".hdr":
            holders = {"header": nib.FileHolder(path), "image": nib.FileHolder(path.with_suffix(".img"))}
            truth = nib.Nifti1Pair.from_file_map(holders)
        else:
            truth = (nib.Nifti2Image if data[4:8] == b"n+2\0" else nib.Nifti1Image).from_bytes(data)
        scale = {"meter": 1000.0, "micron": 0.001}.get(truth.header.get_xyzt_units()[0], 1.0)
        truth = nib.Nifti1Image(np.asarray(truth.dataobj, float), np.diag([scale] * 3 + [1]) @ truth.affine)
    turned = nib.as_closest_canonical(truth)
    found = volume.array.reshape(turned.shape)
    if not np.allclose(found, turned.get_fdata(), rtol=1e-5, equal_nan=True):
        raise WrongVolumeError("values differ from those of the file")
    if not np.allclose(volume.affine, turned.affine, atol=1e-3, rtol=1e-5):
        raise WrongVolumeError("the affine differs from that of the file")
