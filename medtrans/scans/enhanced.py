"""The frames of an enhanced multi-frame object, each with its own functional groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from medtrans.scans.frames import Frame

if TYPE_CHECKING:
    from medtrans.scans.headers import ScanFile

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# functional group -> tag inside it -> the name the rest of the room knows it by
GROUPS: dict[str, dict[str, str]] = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {
        "PixelSpacing": "PixelSpacing",
        "SliceThickness": "SliceThickness",
        "SpacingBetweenSlices": "SpacingBetweenSlices",
    },
    "PixelValueTransformationSequence": {
        "RescaleSlope": "RescaleSlope",
        "RescaleIntercept": "RescaleIntercept",
        "RescaleType": "RescaleType",
    },
    "FrameContentSequence": {
        "StackID": "StackID",
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "FrameAcquisitionDateTime": "AcquisitionDateTime",
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "FrameReferenceDateTime": "FrameReferenceDateTime",
    },
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRImageFrameTypeSequence": {"FrameType": "ImageType", "ComplexImageComponent": "ComplexImageComponent"},
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "PETFrameTypeSequence": {"FrameType": "ImageType"},
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": "RepetitionTime", "FlipAngle": "FlipAngle"},
    "MRDiffusionSequence": {
        "DiffusionBValue": "DiffusionBValue",
        "DiffusionDirectionality": "DiffusionDirectionality",
    },
    "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": "TriggerTime"},
}


def enhanced_frames(file: ScanFile, dataset: Dataset) -> list[Frame]:
    """All frames of ``dataset``: the frame's functional groups over the shared ones over the file's tags."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    common = dict(file.tags)
    for group in shared[:1]:
        common |= _group_values(group)
    frames = []
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frames.append(Frame.of_tags(file, index, common | _group_values(group)))
    return frames


def _group_values(item: Dataset) -> dict[str, Any]:
    from medtrans.scans.headers import tag_values

    values: dict[str, Any] = {}
    for name, tags in GROUPS.items():
        sequence = item.get(name)
        if sequence:
            found = tag_values(sequence[0], tuple(tags))
            values |= {tags[keyword]: value for keyword, value in found.items()}
            if name == "MRDiffusionSequence":
                values |= _gradient(sequence[0])
    return values


def _gradient(diffusion: Dataset) -> dict[str, Any]:
    from medtrans.scans.headers import tag_values

    directions = diffusion.get("DiffusionGradientDirectionSequence")
    return tag_values(directions[0], ("DiffusionGradientOrientation",)) if directions else {}
