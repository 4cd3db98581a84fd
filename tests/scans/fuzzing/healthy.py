"""The healthy series that are damaged."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # first: both have a conftest
from conftest import Series
from test_enhanced import write_enhanced
from test_mosaic import write_mosaic

RECORDED = Path(nib.__file__).parent / "tests" / "data" / "Phantom_EPI_3mm_cor_SENSE_8_1.PAR"
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


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
