"""A synthetic volume written as a DICOM series: one classic image a plane of the source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from medtrans.errors import InputError
from medtrans.files import folder_written_whole
from medtrans.scans.derived.belonging import belonging
from medtrans.scans.derived.grid import CutPlanes, cut, resample
from medtrans.scans.derived.images import KINDS, PET_UNITS, Kind, in_unit, of_frame, of_series, window_of
from medtrans.scans.derived.provenance import Algorithm, provenance, referenced, referenced_series
from medtrans.scans.derived.sources import SourceSeries
from medtrans.scans.derived.storing import Stored
from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.pixels import lossy
from medtrans.scans.pet.moments import date_time

ABOVE = 9000  # added to the source's series number: derived series come last in a viewer's list
WIDE = 0.005  # share of pixels outside the volume from which on the description tells it


@dataclass(frozen=True)
class Synthetic:
    """A synthetic volume and what it is.

    Attributes:
        array: (X, Y, Z), float32, axes in any order and direction.
        affine: index to RAS mm, (4, 4).
        modality: CT, MR or PT.
        unit: of the values: HU; Bq/ml, SUV, SUVlbm or SUVbsa; anything for MR.
        algorithm: what made them.
        subject: what it is called in messages.
        name: of what it shows, such as T2; the modality's where it is empty.
    """

    array: np.ndarray = field(repr=False)
    affine: np.ndarray
    modality: str
    unit: str
    algorithm: Algorithm
    subject: str
    name: str = ""


@dataclass(frozen=True)
class Writing:
    """What the user may decide about a derived series.

    Attributes:
        resample: interpolate volumes that lie on another grid.
        reproducible: UIDs and dates that follow from source, model and voxels, so that a second run writes equal files.
        series_number: None adds ABOVE to the source's.
        pet_unit: as :class:`medtrans.scans.Conversion` has it, or empty for the volume's own.
    """

    resample: bool = False
    reproducible: bool = False
    series_number: int | None = None
    pet_unit: str = ""


def write_series(volume: Synthetic, source: SourceSeries, folder: Path, writing: Writing | None = None) -> list[Path]:
    """Write ``volume`` into the new ``folder``, laid over ``source``, in the source's order of images.

    Returns:
        The files, ``0001.dcm`` the first.

    Raises:
        InputError: the volume does not lie on the source's grid, its unit is not its modality's, it holds values that
            are not finite, or the folder exists already.
    """
    writing = writing or Writing()
    kind, unit = KINDS[volume.modality], _checked_unit(volume)
    planes = _planes(volume, source, kind, writing)
    if kind.modality == "PT" and writing.pet_unit:
        wanted = _PET_OPTIONS[writing.pet_unit]
        values = in_unit(planes.values, unit, wanted, source, volume.subject)
        planes, unit = replace(planes, values=values), wanted
    header = source.header()
    stored = kind.store(planes.values)
    common = _common(volume, source, kind, unit, header, planes, writing)
    if kind.modality != "CT":
        centre, width = window_of(stored)
        common.WindowCenter, common.WindowWidth = _ds(centre), _ds(width)
    with folder_written_whole(folder) as temporary:
        for place, k in enumerate(_in_order(planes.frames), 1):
            image = _image(common, kind, planes.frames[k], stored[k], place, source)
            image.SOPInstanceUID = _uid(writing, common.SeriesInstanceUID, place)
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.save_as(temporary / f"{place:04d}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


_PET_OPTIONS = {"suv": "SUV", "suvlbm": "SUVlbm", "suvbsa": "SUVbsa", "bqml": "Bq/ml"}


def _checked_unit(volume: Synthetic) -> str:
    """The unit, as far as the modality knows only some."""
    known = {"CT": ["HU"], "PT": list(PET_UNITS)}.get(volume.modality)
    if known and volume.unit not in known:
        problem = f"is {KINDS[volume.modality].name} in {volume.unit or 'an unknown unit'}"
        raise InputError(volume.subject, problem, f"Give its values in {' or '.join(known)}, and name it with --unit")
    if not np.isfinite(volume.array).all():
        raise InputError(volume.subject, "holds values that are not finite", "Check the model and the source volume")
    return volume.unit


def _planes(volume: Synthetic, source: SourceSeries, kind: Kind, writing: Writing) -> CutPlanes:
    try:
        return cut(volume.array, volume.affine, source, volume.subject)
    except InputError:
        if not writing.resample:
            raise
    return resample(volume.array, volume.affine, source, kind.background, volume.subject)


def _common(
    volume: Synthetic,
    source: SourceSeries,
    kind: Kind,
    unit: str,
    header: Dataset,
    planes: CutPlanes,
    writing: Writing,
) -> Dataset:
    """What all images of the series share."""
    made = _moment(header, writing)
    said = [f"Values in {unit}"] if unit else []
    if planes.resampled:
        said.append("Interpolated linearly onto the planes of its source")
    if planes.outside > WIDE:
        said.append(f"{100 * planes.outside:.0f} % of the pixels were not computed: outside the field of view")
    common = belonging(header)
    stated = source.first.tags.get("Modality", "")
    name = KINDS[stated].name if stated in KINDS else stated
    common.update(provenance(volume.name or kind.name, volume.algorithm, header, name, said, made))
    common.SOPClassUID, common.Modality, common.ImageType = kind.sop_class, kind.modality, list(kind.image_type)
    common.SeriesDate = common.ContentDate = common.InstanceCreationDate = f"{made:%Y%m%d}"
    common.SeriesTime = common.ContentTime = common.InstanceCreationTime = f"{made:%H%M%S}"
    common.update(of_series(kind, unit, source, header))
    common.SeriesInstanceUID = _uid(writing, *_decisive(volume, source, planes, kind))
    common.SeriesNumber = writing.series_number
    if writing.series_number is None:
        common.SeriesNumber = int(source.first.tags.get("SeriesNumber") or 0) + ABOVE
    if not common.get("FrameOfReferenceUID"):
        common.FrameOfReferenceUID = _uid(writing, "frame", source.images)
    if kind.modality == "PT":  # says it in codes
        common.pop("PatientPosition", None)
    else:
        common.setdefault("PatientPosition", "")
    common.LossyImageCompression = "01" if lossy(source.first.tags) else "00"
    common.SamplesPerPixel, common.PhotometricInterpretation = 1, "MONOCHROME2"
    common.BitsAllocated = common.BitsStored = 16
    common.HighBit = 15
    return common


def _image(common: Dataset, kind: Kind, frame: Frame, stored: Stored, place: int, source: SourceSeries) -> FileDataset:
    """One image of the series."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, UID(kind.sop_class)
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.update(common)
    image.update(of_frame(kind, frame, place, source))
    assert frame.position is not None
    assert frame.orientation is not None
    assert frame.spacing is not None
    image.InstanceNumber, image.SourceImageSequence = place, [referenced(frame)]
    image.ReferencedSeriesSequence = [referenced_series(frame)]
    image.ImagePositionPatient = [_ds(value) for value in frame.position]
    image.ImageOrientationPatient = [_ds(value) for value in frame.orientation]
    image.PixelSpacing = [_ds(value) for value in frame.spacing]
    image.SliceThickness = _ds(_thickness(frame, source))
    image.Rows, image.Columns = frame.shape
    image.PixelRepresentation = int(stored.pixels.dtype.kind == "i")
    if stored.slope is not None and stored.intercept is not None:
        image.RescaleSlope, image.RescaleIntercept = _ds(stored.slope), _ds(stored.intercept)
        if kind.modality == "MR":
            image.RescaleType = "US"
    image.PixelData = np.ascontiguousarray(stored.pixels, stored.pixels.dtype.newbyteorder("<")).tobytes()
    return image


def _thickness(frame: Frame, source: SourceSeries) -> float:
    stated = frame.tags.get("SliceThickness")
    return stated if isinstance(stated, float) and stated > 0 else source.planes.spacing


def _in_order(frames: Sequence[Frame]) -> list[int]:
    """Numbers of the planes, along their normal, in the direction in which the source counts its images."""
    counted = [float(frame.tags.get("InstanceNumber") or 0) + frame.index / 1e6 for frame in frames]
    rising = np.polyfit(np.arange(len(counted)), counted, 1)[0] if len(counted) > 1 else 1.0
    order = list(range(len(frames)))
    return order if rising >= 0 else order[::-1]


def _moment(header: Dataset, writing: Writing) -> datetime:
    """Now, on the clock of the source; of reproducible series the source's own time."""
    if writing.reproducible:
        own = [f"{header.get(f'{name}Date', '')}{header.get(f'{name}Time', '')}" for name in ("Series", "Study")]
        known = [moment for text in own if (moment := date_time(text)) is not None]
        return known[0] if known else datetime(1970, 1, 1)
    offset = str(header.get("TimezoneOffsetFromUTC") or "")
    if len(offset) == 5 and offset[1:].isdigit():
        away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
        return datetime.now(timezone(-away if offset[0] == "-" else away))
    return datetime.now()


def _decisive(volume: Synthetic, source: SourceSeries, planes: CutPlanes, kind: Kind) -> list[str]:
    """What the UIDs of a reproducible series follow from."""
    voxels = hashlib.sha256(np.ascontiguousarray(planes.values).data).hexdigest()
    tags = source.first.tags
    return [str(tags.get("SeriesInstanceUID")), source.images, kind.modality, volume.algorithm.described, voxels]


def _uid(writing: Writing, *names: object) -> UID:
    return generate_uid(entropy_srcs=[str(name) for name in names] if writing.reproducible else None)


def _ds(value: float) -> str:
    """A decimal string: 16 characters at most."""
    return format_number_as_ds(float(value))
