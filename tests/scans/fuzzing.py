"""Damage scanner files in thousands of ways and hold what comes out against an independent reading of the same bytes.

    python tests/scans/fuzzing.py --files 10000 --seed 0

A case is a small series with one damaged file. Whatever is read from it must be refused, or agree plane by plane with
pydicom (DICOM), nibabel or SimpleITK reading the damaged file: every pixel at the place in the patient that its own
header states, with its value. A worker that dies or takes too long is a failure as well, and so is an exception that is
no `InputError`.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import io
import logging
import multiprocessing
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "export"))
from conftest import Series
from test_enhanced import write_enhanced
from test_mosaic import write_mosaic

from medtrans import InputError
from medtrans.scans import Conversion, Volume, read_series

SECONDS = 20.0  # a case that takes longer hangs
NEAR = 0.12  # mm: a plane may be this far from where its header says (documented rounding of headers)
RECORDED = Path(nib.__file__).parent / "tests" / "data" / "Phantom_EPI_3mm_cor_SENSE_8_1.PAR"
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)
NUMBERS = ["0", "-1", "1e400", "nan", "inf", "1,5", "", "abc", "1\\2", "999999999999", "0.0001", "-0", "1e-30", "65535"]
KEYWORDS = [
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope",
    "RescaleIntercept", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ImageType", "Modality",
    "SliceThickness", "PixelPaddingValue", "EchoTime", "AcquisitionNumber", "FrameOfReferenceUID", "Units",
    "SpacingBetweenSlices", "SpecificCharacterSet", "PatientID", "StudyInstanceUID", "SeriesNumber", "PixelData",
    "TemporalPositionIdentifier", "PatientName", "Manufacturer", "SeriesDescription", "AcquisitionTime",
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- the healthy series


def dicom_bases(folder: Path) -> list[Path]:
    """One folder a kind of series: classic of several modalities and transfer syntaxes, enhanced, mosaic."""
    random_ = np.random.default_rng(0)

    def series(name: str, count: int = 4, **options: Any) -> Series:
        size = (64, 48) if name == "j2k" else (8, 6)  # the encoder wants several levels of resolution
        return Series(folder / name, random_.integers(0, 4000, (count, *size)).astype(np.uint16), **options)

    series("ct", Modality="CT", RescaleSlope="1", RescaleIntercept="-1024", step=2.5).write_all()
    series("mr_oblique", orientation=OBLIQUE, spacing=(0.8, 1.1), origin=(-30, 12, 7), step=3).write_all()
    pet = series("pet", Modality="PT", Units="BQML", orientation=(0, 1, 0, 0, 0, -1))
    for k in range(4):
        pet.write(k, RescaleSlope=str(0.5 + k), RescaleIntercept="0")
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian), ("rle", RLELossless),
                         ("j2k", JPEG2000Lossless), ("jls", JPEGLSLossless)):  # fmt: skip
        series(name, RescaleSlope="2", RescaleIntercept="-5").write_all(syntax)
    series("padded", Modality="CT", RescaleSlope="1", RescaleIntercept="-1024", PixelPaddingValue=0).write_all()
    four = series("time", 3, TemporalPositionIdentifier=1)
    four.write_all()
    later = series("time", 3)
    later.study, later.series, later.frame = four.study, four.series, four.frame
    for k in range(3):
        later.write(k, f"later{k}", TemporalPositionIdentifier=2)
    enhanced = series("enhanced")
    write_enhanced(enhanced, [(k, enhanced.pixels[k], 1.5, {}) for k in range(4)])
    mosaic = series("mosaic", spacing=(2, 3), step=4)
    write_mosaic(mosaic, [mosaic.pixels], mosaic.normal)
    return sorted(path for path in folder.iterdir())


def image_bases(folder: Path) -> list[Path]:
    """One folder an image: NIfTI-1 and -2, gzipped or not, in two files, MetaImage, NRRD, PAR/REC."""
    array = np.random.default_rng(1).integers(0, 900, (7, 6, 5)).astype(np.int16)
    affine = np.array([[-2.0, 0, 0, 10], [0, 1.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    for name, kind in (("one.nii", nib.Nifti1Image), ("one.nii.gz", nib.Nifti1Image), ("two.nii", nib.Nifti2Image)):
        (folder / name).mkdir(parents=True)
        image = kind(array, affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        nib.save(image, folder / name / name)
    (folder / "pair").mkdir()
    pair = nib.Nifti1Pair(array, affine)
    pair.set_sform(affine, 1)
    nib.save(pair, folder / "pair" / "pair.hdr")
    (folder / "recorded").mkdir()
    shutil.copy(RECORDED, folder / "recorded" / "scan.PAR")
    with open(RECORDED) as text:
        shape = nib.parrec.PARRECHeader.from_fileobj(text).get_data_shape()
    stored = np.random.default_rng(2).integers(0, 4000, int(np.prod(shape))).astype("<u2")
    (folder / "recorded" / "scan.REC").write_bytes(stored.tobytes())
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 3.0))
    for name in ("image.mha", "image.nrrd", "image.mhd"):
        (folder / name).mkdir(parents=True)
        SimpleITK.WriteImage(image, str(folder / name / name))
    return sorted(path for path in folder.iterdir())


# ------------------------------------------------------------------------------------------------- ways of damage


def flip(data: bytes, chance: random.Random, header: int) -> bytes:
    """A few random bytes of the header (sometimes anywhere) changed."""
    end = header if chance.random() < 0.8 else len(data)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        changed[chance.randrange(max(end, 1))] = chance.randrange(256)
    return bytes(changed)


def cut(data: bytes, chance: random.Random, header: int) -> bytes:
    """Cut short: in the header, or anywhere."""
    return data[: chance.randrange(header if chance.random() < 0.4 else len(data))]


def splice(data: bytes, chance: random.Random, header: int) -> bytes:
    """Bytes removed, repeated, zeroed or put in."""
    start = chance.randrange(len(data))
    length = chance.choice((1, 2, 8, 64, 512))
    piece = data[start : start + length]
    new = chance.choice((b"", piece * 2, bytes(len(piece)), chance.randbytes(length), b"\xff" * len(piece)))
    return data[:start] + new + data[start + length :]


def stretch(data: bytes, chance: random.Random, header: int) -> bytes:
    """A 16- or 32-bit field of the header set to an extreme number, as a length or count would be."""
    size, form = chance.choice(((2, "H"), (4, "I")))
    start = chance.randrange(0, max(header - size, 1))
    value = chance.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, header, len(data)))
    order = chance.choice("<>")
    return data[:start] + struct.pack(order + form, value % 2 ** (8 * size)) + data[start + size :]


def retag(data: bytes, chance: random.Random, header: int) -> bytes:
    """A DICOM value replaced, emptied, removed, multiplied, or put into another place of the file."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    keyword = chance.choice([word for word in KEYWORDS if word in dataset] or ["PatientID"])
    if keyword not in dataset or chance.random() < 0.2:
        if keyword in dataset:
            del dataset[keyword]
    else:
        _damage_value(dataset, keyword, chance)
    if chance.random() < 0.1:
        dataset.file_meta.TransferSyntaxUID = chance.choice(
            ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3", ""]
        )
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=False)
    return out.getvalue()


def _damage_value(dataset: pydicom.Dataset, keyword: str, chance: random.Random) -> None:
    element = dataset[keyword]
    if isinstance(element.value, int):
        element._value = chance.choice((0, 1, 2, 7, 12, 16, 255, 65535, element.value + 1, max(element.value - 1, 0)))
        return
    if element.VR in ("OW", "OB", "OF", "OD"):
        element._value = chance.choice((b"", element.value[:-2], element.value * 2, element.value[:2]))
        return
    parts = str(element.value).strip("[]").replace("'", "").split(", ")
    parts[chance.randrange(len(parts))] = chance.choice(NUMBERS)
    if chance.random() < 0.2:
        parts = parts[:-1] if chance.random() < 0.5 else [*parts, parts[0]]
    raw = "\\".join(parts).encode()
    dataset[keyword] = pydicom.dataelem.RawDataElement(element.tag, element.VR, len(raw), raw, 0, False, True)


def swap(data: bytes, chance: random.Random, header: int) -> bytes:
    """A piece of the file moved elsewhere in it."""
    first, second = sorted(chance.randrange(len(data)) for _ in range(2))
    size = chance.choice((2, 8, 100))
    return data[:first] + data[second : second + size] + data[first + size : second] + data[first : first + size] + \
        data[second + size :]  # fmt: skip


DAMAGES = [flip, flip, cut, splice, stretch, retag, retag, retag, swap]


# --------------------------------------------------------------------------------------- what the bytes really say


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


# ------------------------------------------------------------------------------------------------------- the runs


def one_case(base: Path, seed: str, scratch: Path) -> str:
    """Damage one file of ``base``, read the series, and say what came of it."""
    chance = random.Random(seed)
    paths = sorted(base.iterdir())
    victim = chance.randrange(len(paths))
    data = paths[victim].read_bytes()
    header = max(data.find(b"\xe0\x7f\x10\x00"), 132) if data[128:132] == b"DICM" else min(400, len(data))
    damage = chance.choice(DAMAGES if data[128:132] == b"DICM" else [d for d in DAMAGES if d is not retag])
    try:
        damaged = damage(data, chance, header)
    except Exception:  # pydicom will not write this one
        return "not made"
    broken = scratch / paths[victim].name
    broken.write_bytes(damaged)
    given = [broken if number == victim else path for number, path in enumerate(paths)]
    if base.parent.name == "images":  # parts find each other by their names
        given = [Path(shutil.copy(path, scratch)) if path != broken else path for path in given]
    try:
        volumes = read_series(given, Conversion(pet_unit="bqml"))
    except InputError:
        return "refused"
    if base.parent.name == "images":
        check_image(next(path for path in given if path.suffix not in (".img", ".REC", ".raw")), volumes[0])
        return "right"
    for volume in volumes:
        check_dicom(volume)
    used = {frame.file.path for volume in volumes for time in volume.frames for frame in time}
    return "right" if broken in used else "right without the damaged file"


def work(pipe: Connection, bases: list[Path]) -> None:
    """Judge the cases that come through the pipe until it closes."""
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                base, seed = pipe.recv()
            except EOFError:
                return
            scratch = Path(folder, "case")
            scratch.mkdir(exist_ok=True)
            try:
                verdict = one_case(bases[base], seed, scratch)
            except WrongVolumeError as error:
                verdict = f"WRONG VOLUME: {error}"
            except Exception as error:
                own = [
                    step for step in traceback.extract_tb(error.__traceback__) if "site-packages" not in step.filename
                ]
                place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
                verdict = f"CRASH: {type(error).__name__} in {place}: {error}"[:300]
            pipe.send(verdict)
            for path in scratch.iterdir():
                path.unlink()


class Worker:
    """A process that judges one case at a time, started again when it dies or hangs."""

    def __init__(self, bases: list[Path]) -> None:
        self.bases = bases
        self.start()

    def start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, self.bases))
        self.process.start()
        theirs.close()

    def judge(self, base: int, seed: str) -> str:
        self.pipe.send((base, seed))
        try:
            if self.pipe.poll(SECONDS):
                return str(self.pipe.recv())
            verdict = f"HANG: more than {SECONDS:g} s"
        except (EOFError, ConnectionError):
            self.process.join()
            verdict = f"DIED: exit code {self.process.exitcode}"
        self.process.kill()
        self.start()
        return verdict

    def stop(self) -> None:
        self.process.kill()


def run(files: int, seed: int, only: str | None = None) -> tuple[Counter[str], list[str]]:
    """Judge ``files`` damaged files; the tally of verdicts and a line for each failure."""
    tally: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        bases = [*dicom_bases(Path(folder, "dicom")), *image_bases(Path(folder, "images"))]
        bases = [base for base in bases if only in (None, base.name)]
        worker = Worker(bases)
        start = told = time.monotonic()
        number = done = 0
        while done < files:
            base, case = number % len(bases), f"{seed}-{number}"
            verdict = worker.judge(base, case)
            number += 1
            if verdict == "not made":
                continue
            done += 1
            tally[verdict.split(":")[0]] += 1
            if ":" in verdict:
                failures.append(f"{bases[base].name} {case}: {verdict}")
                print(failures[-1], flush=True)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{done} of {files}, {done / (told - start):.0f}/s: {dict(tally)}", file=sys.stderr, flush=True)
        worker.stop()
    return tally, failures


def main() -> int:
    """Run from the command line; exit code 1 when anything but refusals and right volumes came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of series, such as mosaic")
    arguments = parser.parse_args()
    start = time.monotonic()
    tally, failures = run(arguments.files, arguments.seed, arguments.only)
    told = ", ".join(f"{count} {verdict}" for verdict, count in tally.most_common())
    print(f"{sum(tally.values())} damaged files in {time.monotonic() - start:.0f} s: {told}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
