"""Small DICOM series with closed-form geometry and values, written for the tests."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

SOP_CLASS = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "PT": "1.2.840.10008.5.1.4.1.1.128"}
ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1",
            "PT": "1.2.840.10008.5.1.4.1.1.130"}  # fmt: skip
AXIAL = (1, 0, 0, 0, 1, 0)
NO_PREAMBLE = "no preamble"


class Series:
    """Slices ``pixels[k]`` (rows, columns) at ``origin + k * step``, all in LPS."""

    def __init__(self, folder: Path, pixels, orientation=AXIAL, spacing=(1.0, 1.0), origin=(0, 0, 0), step=2.0, **tags):
        self.folder, self.pixels = folder, np.asarray(pixels)
        self.orientation, self.spacing = np.array(orientation, float), spacing
        self.origin = np.array(origin, float)
        self.normal = np.cross(self.orientation[:3], self.orientation[3:])
        self.step = step * self.normal if np.isscalar(step) else np.array(step, float)
        self.tags = {"Modality": "MR", "PatientID": "Doe-4711", "PatientName": "Doe^Jane", "SeriesNumber": 7} | tags
        self.study, self.series, self.frame = (generate_uid(entropy_srcs=[name, str(self.tags["PatientID"])])
                                               for name in ("study", "series", "frame"))  # fmt: skip

    @property
    def affine(self) -> np.ndarray:
        """(column, row, slice) to RAS."""
        lps = np.eye(4)
        lps[:3, 0] = self.orientation[:3] * self.spacing[1]
        lps[:3, 1] = self.orientation[3:] * self.spacing[0]
        lps[:3, 2] = self.step
        lps[:3, 3] = self.origin
        return np.diag([-1, -1, 1, 1]) @ lps

    def dataset(self, k: int, pixels=None, elements=(), **tags) -> FileDataset:
        """Slice ``k`` as a data set, any tag overridden; a tag given as None is left out.

        ``elements`` are (tag, VR, value) of those without a keyword, or with another VR than usual.
        """
        pixels = self.pixels[k] if pixels is None else np.asarray(pixels)
        values = {
            "SOPClassUID": SOP_CLASS[self.tags["Modality"]],
            "SOPInstanceUID": generate_uid(),
            "StudyInstanceUID": self.study,
            "SeriesInstanceUID": self.series,
            "FrameOfReferenceUID": self.frame,
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [f"{v:.10g}"[:16] for v in self.origin + k * self.step],
            "ImageOrientationPatient": [f"{v:.12f}"[:16] for v in self.orientation],
            "PixelSpacing": [f"{v:.10g}" for v in self.spacing],
            "SliceThickness": f"{np.linalg.norm(self.step):.8g}",
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 8 * pixels.dtype.itemsize,
            "BitsStored": 8 * pixels.dtype.itemsize,
            "HighBit": 8 * pixels.dtype.itemsize - 1,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
        }
        values |= self.tags | tags
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = values["SOPClassUID"], values["SOPInstanceUID"]
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        for element in elements:
            dataset.add_new(*element)
        dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
        return dataset

    def write(self, k: int, name: str | None = None, encoding=None, pixels=None, **tags) -> Path:
        """Write slice ``k`` into the folder, in a transfer syntax if one is given."""
        path = self.folder / (name or f"slice{k}")
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = self.dataset(k, pixels, **tags)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(dataset, path, encoding)
        return path

    def write_all(self, encoding=None, **tags) -> Series:
        """Write every slice."""
        for k in range(len(self.pixels)):
            self.write(k, encoding=encoding, **tags)
        return self

    def write_enhanced(self, frames, shared=True, name="enhanced", groups_for_all=None, **tags):
        """One enhanced file; ``frames`` lists (slice, pixels, slope, functional-group tags)."""
        pixels = np.stack([p for _, p, _, _ in frames])
        dataset = self.dataset(
            0, pixels=pixels[0], ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None,
            SliceThickness=None, NumberOfFrames=len(frames),
            **({"SOPClassUID": ENHANCED[self.tags["Modality"]]} | tags),
        )  # fmt: skip
        dataset.PixelData = pixels.tobytes()
        common = {
            "PlaneOrientationSequence": [_item(ImageOrientationPatient=[f"{v:.12f}"[:16] for v in self.orientation])],
            "PixelMeasuresSequence": [_item(PixelSpacing=list(self.spacing), SliceThickness="3")],
            **(groups_for_all or {}),
        }
        groups = []
        for k, _, slope, extra in frames:
            position = _item(ImagePositionPatient=[f"{v:.10g}" for v in self.origin + k * self.step])
            scaled = {}
            if slope is not None:
                values = _item(RescaleSlope=str(slope), RescaleIntercept="0", RescaleType="US")
                scaled["PixelValueTransformationSequence"] = [values]
            group = _item(**({"PlanePositionSequence": [position]} | scaled | extra))
            if not shared:
                for keyword, value in common.items():
                    setattr(group, keyword, value)
            groups.append(group)
        dataset.SharedFunctionalGroupsSequence = [_item(**common)] if shared else []
        dataset.PerFrameFunctionalGroupsSequence = groups
        self.folder.mkdir(parents=True, exist_ok=True)
        dataset.save_as(self.folder / name, enforce_file_format=True)


def _item(**tags) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: FileDataset, path: Path, encoding=None) -> None:
    """Write ``dataset`` in a transfer syntax, or without preamble and file meta."""
    if encoding is None or encoding == ExplicitVRLittleEndian:
        dataset.save_as(path, enforce_file_format=True)
    elif encoding == NO_PREAMBLE:
        del dataset.file_meta
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    elif encoding in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        dataset.file_meta.TransferSyntaxUID = encoding
        if encoding == ExplicitVRBigEndian:
            kind = np.dtype(f"u{dataset.BitsAllocated // 8}")
            dataset.PixelData = np.frombuffer(dataset.PixelData, kind).byteswap().tobytes()
        dataset.preamble = b"\0" * 128
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    elif encoding == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = encoding
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.compress(encoding)
        dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def make_series(tmp_path):
    """``make_series(pixels=None, **options)``: a :class:`Series` in ``tmp_path/export``, noise by default."""

    def make(pixels=None, shape=(5, 8, 6), seed=0, **options) -> Series:
        if pixels is None:
            pixels = np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)
        return Series(tmp_path / "export", pixels, **options)

    return make


@pytest.fixture
def reference_image():
    """``reference_image(series)``: what the series must read as, in RAS, by nibabel's own reorientation."""
    import nibabel as nib

    def image(series: Series, values=None):
        array = np.asarray(series.pixels if values is None else values, float).transpose(2, 1, 0)
        return nib.as_closest_canonical(nib.Nifti1Image(array, series.affine))

    return image
