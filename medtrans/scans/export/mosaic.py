"""The slices of a Siemens mosaic, cut and placed by the private CSA header."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom

from medtrans.scans.export.frames import Frame

if TYPE_CHECKING:
    from medtrans.scans.export.headers import ScanFile

# the private creator, image and series header, in whichever block the creator has; nibabel looks for it there
CSA_TAGS = [
    0x00290000 | element for block in range(0x10, 0x20) for element in (block, block << 8 | 16, block << 8 | 32)
]
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "Rows",
            "Columns")  # fmt: skip


def is_mosaic(tags: dict[str, Any]) -> bool:
    """Whether the file holds a mosaic of slices in one plane."""
    return "MOSAIC" in tags.get("ImageType", ())


def mosaic_frames(file: ScanFile) -> tuple[list[Frame], int, str]:
    """One frame a slice, the number of tiles across, and the reason when the mosaic cannot be cut.

    Positions follow nibabel.nicom, which also takes the order of the slices from the CSA slice normal.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel.nicom calls itself experimental on import
        from nibabel.nicom.dicomwrappers import MosaicWrapper

    wanted: list[Any] = [*GEOMETRY, *CSA_TAGS]
    dataset = pydicom.dcmread(file.path, stop_before_pixels=True, specific_tags=wanted, force=True)
    try:
        wrapper = MosaicWrapper(dataset)
        first, normal, count = wrapper.image_position, wrapper.slice_normal, wrapper.n_mosaic
    except Exception:  # nibabel raises WrapperError, TypeError, CSAReadError, ... for a missing or cut CSA header
        return [], 1, "Siemens mosaic without its CSA header (removed by de-identification?): slices cannot be placed"
    step = file.tags.get("SpacingBetweenSlices")
    if first is None or normal is None or not isinstance(step, float) or step <= 0:
        return [], 1, "Siemens mosaic without position or SpacingBetweenSlices"
    tiles = wrapper.mosaic_size
    if file.tags["Rows"] % tiles or file.tags["Columns"] % tiles:
        return [], 1, f"Siemens mosaic of {count} slices does not divide its {file.tags['Rows']} rows"
    frames = []
    for index in range(count):
        position = np.asarray(first, float) + index * step * np.asarray(normal, float)
        frames.append(Frame.of_tags(file, index, file.tags | {"ImagePositionPatient": tuple(map(float, position))}))
    return frames, tiles, ""
