"""Head phantoms as a hospital exports them: DICOM files without telling names, and all that comes along with them.

For trying conversion without patient data, and for the documentation and tests that show what it does.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from scipy.ndimage import map_coordinates

from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.progress import progress
from medtrans.simulate.phantom import HeadPhantom

SOP_CLASS = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Image axes (row direction, column direction, direction of stacking) as (axis of the volume, sign), RAS.
AXIAL = ((0, -1), (1, -1), (2, 1))
SAGITTAL = ((1, -1), (2, -1), (0, 1))
CORONAL = ((0, -1), (2, -1), (1, 1))
DOSE, HALF_LIFE, UPTAKE = 370e6, 6586.2, 3600  # Bq, s, s
PADDING = -2000  # stored value outside the CT's scan circle
CT = {"PixelPaddingValue": PADDING, "RescaleType": "HU"}  # of every CT series of this scanner
TILT = 12.0  # degrees


@dataclass
class _Stack:
    """Planes in one direction: ``pixels[k]`` (rows, columns), physical values, and (column, row, k) -> LPS."""

    pixels: np.ndarray
    affine: np.ndarray

    @classmethod
    def along(cls, volume: np.ndarray, affine: np.ndarray, axes: Sequence[tuple[int, int]]) -> _Stack:
        """The volume (X, Y, Z), RAS, cut along ``axes``."""
        turn, size = np.zeros((4, 4)), np.array(volume.shape)
        turn[3, 3] = 1
        for column, (axis, sign) in enumerate(axes):
            turn[axis, column] = sign
            turn[axis, 3] = 0 if sign > 0 else size[axis] - 1
            volume = volume if sign > 0 else np.flip(volume, axis)
        cut = volume.transpose([axis for axis, _ in axes]).transpose(2, 1, 0)
        return cls(cut, LPS @ affine @ turn)

    def tilted(self, degrees: float, background: float) -> _Stack:
        """The same head scanned by planes turned about the row direction, with the table moving as before."""
        affine = self.affine.copy()
        step, down = affine[:3, 2], affine[:3, 1]
        across = step / np.linalg.norm(step)
        affine[:3, 1] = np.cos(np.radians(degrees)) * down + np.sin(np.radians(degrees)) * np.linalg.norm(down) * across
        count, rows, columns = self.pixels.shape
        grid = np.stack(np.meshgrid(*map(np.arange, (columns, rows, count)), [1], indexing="ij"))[..., 0]
        at = np.einsum("ij,j...->i...", np.linalg.inv(self.affine) @ affine, grid)
        values = map_coordinates(self.pixels, at[[2, 1, 0]], order=1, cval=background)
        return _Stack(values.transpose(2, 1, 0), affine)


@dataclass
class _Study:
    """An examination of one patient, and the files it has given so far: bytes in the order of their export."""

    patient: Dataset
    date: str
    number: int
    files: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uid, self.frame = self._uid("study"), self._uid("frame")

    def _uid(self, *names: Any) -> str:
        return generate_uid(entropy_srcs=[str(self.patient.PatientID), str(self.number), *map(str, names)])

    def images(self, stack: _Stack, modality: str, series: int, description: str, **tags: Any) -> list[FileDataset]:
        """One data set a plane, in order along the stack."""
        return [self._image(stack, k, modality, series, description, tags) for k in range(len(stack.pixels))]

    def _image(
        self, stack: _Stack, k: int, modality: str, series: int, description: str, tags: dict[str, Any]
    ) -> FileDataset:
        dataset = self.document(SOP_CLASS[modality], modality, series, description, k)
        stored, slope, intercept, signed = _stored(stack.pixels[k], modality)
        spacing = np.linalg.norm(stack.affine[:3, :3], axis=0)
        values = {
                "FrameOfReferenceUID": self.frame, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
                "ImagePositionPatient": [f"{v:.6f}" for v in (stack.affine @ [0, 0, k, 1])[:3]],
                "ImageOrientationPatient": [f"{v:.8f}" for v in (stack.affine[:3, :2] / spacing[:2]).T.ravel()],
                "PixelSpacing": [f"{v:.6f}" for v in (spacing[1], spacing[0])], "SliceThickness": f"{spacing[2]:.6f}",
                "PatientPosition": "HFS", "Rows": stored.shape[0], "Columns": stored.shape[1], "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
                "PixelRepresentation": int(signed), "RescaleSlope": f"{slope:.12g}"[:16],
                "RescaleIntercept": f"{intercept:g}",
        }  # fmt: skip
        for name, value in (values | tags).items():
            if not (modality == "MR" and name.startswith("Rescale")):
                setattr(dataset, name, value)
        dataset.PixelData = stored.tobytes()
        return dataset

    def document(self, sop_class: str, modality: str, series: int, description: str, number: int = 0) -> FileDataset:
        """A data set with the patient's, the study's and the series' tags."""
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.update(self.patient)
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, self._uid(series, number)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.uid, self._uid(series)
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = self.date
        dataset.StudyTime, dataset.SeriesTime, dataset.AcquisitionTime = "090000", "100000", "100000"
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, series, number + 1
        dataset.SeriesDescription, dataset.Manufacturer = description, "Phantom"
        return dataset

    def export(self, datasets: Sequence[FileDataset]) -> None:
        """Add files."""
        for dataset in datasets:
            stream = io.BytesIO()
            dataset.save_as(stream, enforce_file_format=True)
            self.files.append(stream.getvalue())


def _stored(plane: np.ndarray, modality: str) -> tuple[np.ndarray, float, float, bool]:
    """Stored values, slope, intercept, and whether they are signed: PET has a slope of its own a slice."""
    if modality == "CT":
        rows, columns = np.indices(plane.shape)
        radius = np.hypot(rows / plane.shape[0] - 0.5, columns / plane.shape[1] - 0.5)
        stored = np.where(radius > 0.55, PADDING, np.rint(plane + 1024)).astype("<i2")
        return stored, 1.0, -1024.0, True
    slope = max(float(plane.max()), 1.0) / 32767 if modality == "PT" else 1.0
    return np.rint(plane.clip(0) / slope).astype("<u2"), slope, 0.0, False


def write_scanner_export(folder: str | os.PathLike[str], subjects: int, spacing: float = 1.0, seed: int = 0) -> Path:
    """Write an MR and a PET/CT examination of every phantom, one DICOM file an image.

    Also there, as in life: localizers, scouts, screenshots and dose reports, a stray text file, one patient in a zip
    file; and, turn by turn, one fault a patient: images sent twice, a series with missing slices, one with a tilted
    gantry, one whose last image is cut short.

    Args:
        folder: new or empty.
        subjects: how many patients.
        spacing: of the voxels, mm; slices are up to twice as thick.
        seed: other patients for every seed.

    Raises:
        InputError: the folder is not empty.
    """
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(root, "is not empty", "Choose a new folder for the export")
    for number in progress(range(subjects), "scanning", total=subjects):
        studies = _examined(seed * 1_000_000 + number, number, spacing)
        if number == 1:
            with written_whole(root / "CD0001.ZIP") as temporary, zipfile.ZipFile(temporary, "w") as archive:
                for name, data in _named(studies, number):
                    archive.writestr(name.as_posix(), data)
            continue
        for name, data in _named(studies, number):
            with written_whole(root / name) as temporary:
                temporary.write_bytes(data)
    with written_whole(root / "INDEX.TXT") as temporary:
        temporary.write_text("exported on request\n")
    return root


def _named(studies: Sequence[_Study], number: int) -> Iterator[tuple[Path, bytes]]:
    """Names as a PACS gives them: they say nothing."""
    for study in studies:
        for index, data in enumerate(study.files):
            yield Path(f"PAT{number + 1:04d}", f"ST{study.number:03d}", f"IM{(index * 7919) % 99991:06d}"), data


def _examined(head: int, number: int, spacing: float) -> list[_Study]:
    patient = Dataset()
    patient.PatientID, patient.PatientName = f"P{4711 + 37 * number}", f"Phantom^{number + 1:04d}"
    patient.PatientBirthDate, patient.PatientSex, patient.PatientWeight = "19700101", "O", f"{60 + 5 * (number % 5)}"
    patient.PatientSize = "1.72"
    mr, petct = _Study(patient, "20240302", 1), _Study(patient, "20240305", 2)
    fine, thick = HeadPhantom(head, spacing), HeadPhantom(head, (spacing, spacing, 2 * spacing))
    t1, t2 = fine.images(["T1"])["T1"], thick.images(["T2"])["T2"]
    ct, pet = (thick.images([name])[name] for name in ("CT", "PET"))
    _mr_study(mr, _Stack.along(t1, fine.affine, SAGITTAL), _Stack.along(t2, thick.affine, AXIAL), t1, fine.affine)
    axial = _Stack.along(ct, thick.affine, AXIAL)
    activity = pet * DOSE * 2 ** (-UPTAKE / HALF_LIFE) / (1000 * float(patient.PatientWeight))
    _petct_study(petct, axial, _Stack.along(activity, thick.affine, AXIAL))
    (_sent_twice, _missing, _tilted, _cut_short)[number % 4](mr, petct, axial)
    return [mr, petct]


def _mr_study(study: _Study, t1: _Stack, t2: _Stack, volume: np.ndarray, affine: np.ndarray) -> None:
    for plane, axes in enumerate((AXIAL, SAGITTAL, CORONAL)):
        stack = _Stack.along(volume, affine, axes)
        middle = len(stack.pixels) // 2
        study.export(_localizer(study, stack, plane, middle))
    t1_tags = {"EchoTime": "3.2", "RepetitionTime": "2300", "InversionTime": "900", "FlipAngle": "9"}
    study.export(study.images(t1, "MR", 2, "T1 mprage sag", **t1_tags)[::-1])
    images = study.images(t2, "MR", 3, "T2 tse ax", EchoTime="98", RepetitionTime="5000", FlipAngle="150")
    for number, image in enumerate([*images[::2], *images[1::2]], 1):  # as it is acquired
        image.InstanceNumber = number
    study.export(images)
    screenshot = study.document(SecondaryCaptureImageStorage, "MR", 99, "screenshot")
    screenshot.Rows = screenshot.Columns = 8
    screenshot.SamplesPerPixel, screenshot.PhotometricInterpretation, screenshot.PlanarConfiguration = 3, "RGB", 0
    screenshot.BitsAllocated = screenshot.BitsStored = 8
    screenshot.HighBit, screenshot.PixelRepresentation, screenshot.PixelData = 7, 0, bytes(8 * 8 * 3)
    study.export([screenshot])


def _localizer(study: _Study, stack: _Stack, plane: int, middle: int) -> list[FileDataset]:
    images = study.images(stack, "MR", 1, "3-plane localizer")[max(middle - 1, 0) : middle + 2]
    for number, image in enumerate(images):
        image.SOPInstanceUID = generate_uid(entropy_srcs=[str(image.SOPInstanceUID), str(plane)])
        image.InstanceNumber = 3 * plane + number + 1
    return images


def _petct_study(study: _Study, ct: _Stack, pet: _Stack) -> None:
    scout = _Stack(ct.pixels[len(ct.pixels) // 2 :][:1], ct.affine)
    study.export(study.images(scout, "CT", 1, "topogram", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    study.export(study.images(ct, "CT", 2, "CT attenuation", KVP="120", ConvolutionKernel="H31f", **CT))
    drug = Dataset()
    drug.RadiopharmaceuticalStartTime, drug.RadionuclideTotalDose = "090000", f"{DOSE:.0f}"
    drug.RadionuclideHalfLife, drug.Radiopharmaceutical = f"{HALF_LIFE}", "FDG"
    study.export(study.images(
        pet, "PT", 3, "PET FDG AC", Units="BQML", DecayCorrection="START", CorrectedImage=["DECY", "ATTN", "SCAT"],
        RadiopharmaceuticalInformationSequence=[drug],
    ))  # fmt: skip
    study.export([study.document(ComprehensiveSRStorage, "SR", 501, "dose report")])


def _sent_twice(mr: _Study, petct: _Study, ct: _Stack) -> None:
    """Three images of the T2 series once more, under new instance UIDs."""
    images = [pydicom.dcmread(io.BytesIO(data)) for data in mr.files[-4:-1]]
    for image in images:
        image.SOPInstanceUID = generate_uid(entropy_srcs=[str(image.SOPInstanceUID), "again"])
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    mr.export(images)


def _missing(mr: _Study, petct: _Study, ct: _Stack) -> None:
    images = petct.images(ct, "CT", 4, "CT bone", ConvolutionKernel="H60s", **CT)
    middle = len(images) // 2
    petct.export([*images[:middle], *images[middle + 2 :]])


def _tilted(mr: _Study, petct: _Study, ct: _Stack) -> None:
    tags = {"GantryDetectorTilt": f"{TILT:g}", "ConvolutionKernel": "H31f"} | CT
    petct.export(petct.images(ct.tilted(TILT, -1000.0), "CT", 5, "CT tilted", **tags))


def _cut_short(mr: _Study, petct: _Study, ct: _Stack) -> None:
    petct.export(petct.images(ct, "CT", 6, "CT repeat", ConvolutionKernel="H31f", **CT))
    petct.files[-1] = petct.files[-1][:-200]
