"""What no profile of attributes takes away, looked for by headers only: text burned into pixels, and faces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrans.scans.export.headers import SCREEN, SECONDARY_CAPTURE, ScanFile

BURNED_IN = {  # modalities of which images often show who and when
    "US": "ultrasound", "IVUS": "ultrasound", "ES": "endoscopy", "XC": "photograph", "GM": "microscopy", "OT": "other",
    "SC": "screenshot", "DOC": "document", "XA": "angiography", "RF": "fluoroscopy", "ECG": "electrocardiogram",
    "OP": "eye photograph", "PX": "panoramic X-ray", "IO": "intra-oral X-ray",
}  # fmt: skip
CONVERTED = {"DV", "DI", "DF", "WSD", "SD", "SI", "DRW"}  # ConversionType: digitised, or drawn on a workstation
HEADS = re.compile(
    r"(?i)head|brain|skull|face|facial|neuro|cranium|orbit|sinus|jaw|maxilla|\bear\b|iac|pituit|whole ?body"
)
ELSEWHERE = re.compile(
    r"(?i)chest|thorax|lung|abdom|pelvi|liver|kidney|prostate|breast|heart|cardiac|knee|hip|ankle|foot|hand|wrist|elbow|"
    r"shoulder|[tl]-?spine|lumbar|femur|leg|arm\b|extremity"
)
FACED = {"CT", "MR", "PT"}  # of which a surface can be made
HEAD_SIZE = (120.0, 320.0)  # mm that a field of view for a head has within its planes
HEAD_EXTENT = 60.0  # mm across the planes from which on a face can be put together


def burned_in(tags: dict[str, Any]) -> str:
    """Why pixels of a file with these ``tags`` may show text about the patient, empty where nothing says so."""
    stated, converted = (str(tags.get(name, "")) for name in ("BurnedInAnnotation", "ConversionType"))
    if stated.upper() == "YES":
        return "BurnedInAnnotation is YES"
    words = [str(word) for word in tags.get("ImageType", ())]
    if SECONDARY_CAPTURE.match(str(tags.get("SOPClassUID", ""))):
        return "secondary capture"
    if any(SCREEN.fullmatch(word) for word in words):
        return "screenshot or report, by its ImageType"
    if stated.upper() == "NO":  # not of the two above: consoles write it on their pages of doses and patients, too
        return ""
    if str(tags.get("Modality", "")) in BURNED_IN:
        return BURNED_IN[str(tags["Modality"])]
    if converted.upper() in CONVERTED:
        return "digitised or drawn (ConversionType)"
    if tags.get("SamplesPerPixel", 1) != 1:
        return "colour picture"
    return ""


def face(files: Sequence[ScanFile]) -> str:
    """Why the images of a series may show a face, empty where nothing says so.

    By the body part or descriptions; where these name no part, by a field of view such as heads have.
    """
    tags = files[0].tags
    if tags.get("Modality") not in FACED:
        return ""
    told = " ".join(str(tags.get(name, "")) for name in ("BodyPartExamined", "SeriesDescription", "ProtocolName"))
    if HEADS.search(told):
        return "head, by its body part or description"
    if ELSEWHERE.search(told):
        return ""
    frames = [frame for file in files for frame in file.frames]
    if not frames:
        return ""
    first = frames[0]
    assert first.spacing is not None
    sides = sorted(spacing * pixels for spacing, pixels in zip(first.spacing, first.shape, strict=True))
    along = [float(np.dot(frame.position, first.normal)) for frame in frames if frame.position is not None]
    if HEAD_SIZE[0] <= sides[0] and sides[1] <= HEAD_SIZE[1] and max(along) - min(along) >= HEAD_EXTENT:
        return "field of view such as a head's, and nothing says what it shows"
    return ""
