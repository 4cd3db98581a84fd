"""The frames of an enhanced multi-frame object, each with its own functional groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.realworld import real_world_values

if TYPE_CHECKING:
    from medtrans.scans.export.headers import ScanFile

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# what a converted series keeps of its single images, where no functional group has a place for it
UNASSIGNED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
PHILIPS_FRAME = 0x2005140F  # Philips keeps the tags of the classic image in here, frame by frame
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
    "CTReconstructionSequence": {"ConvolutionKernel": "ConvolutionKernel"},
    "CTAcquisitionDetailsSequence": {"GantryDetectorTilt": "GantryDetectorTilt"},
    "MRDiffusionSequence": {
        "DiffusionBValue": "DiffusionBValue",
        "DiffusionDirectionality": "DiffusionDirectionality",
    },
    "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": "TriggerTime"},
}


def enhanced_frames(file: ScanFile, dataset: Dataset) -> list[Frame]:
    """All frames of ``dataset``: the frame's functional groups over the shared ones over the file's tags."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    common = _over(_unassigned(shared) | file.tags, shared)
    frames = []
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        own = {name: value for name, value in _unassigned(group).items() if name not in file.tags}
        frames.append(Frame.of_tags(file, index, _over(common | own, group)))
    return frames


def _over(tags: dict[str, Any], group: Dataset) -> dict[str, Any]:
    """``tags`` with those of a functional group over them."""
    tags = tags | _group_values(group)
    return tags | real_world_values(group, tags.get("Modality", ""), "RescaleSlope" in tags)


def _unassigned(group: Dataset) -> dict[str, Any]:
    """What a series converted from single images keeps of them; the file's own tags come before these."""
    from medtrans.scans.export.headers import TAGS, private_values, radiopharmaceutical, tag_values

    values: dict[str, Any] = {}
    for name in UNASSIGNED:
        for item in group.get(name) or ():
            values |= tag_values(item, TAGS) | private_values(item) | radiopharmaceutical(item)
    return values


def _group_values(item: Dataset) -> dict[str, Any]:
    from medtrans.scans.export.headers import private_values, tag_values

    values: dict[str, Any] = {}
    for name, tags in GROUPS.items():
        sequence = item.get(name)
        if sequence:
            found = tag_values(sequence[0], tuple(tags))
            values |= {tags[keyword]: value for keyword, value in found.items()}
            if name == "MRDiffusionSequence":
                values |= _gradient(sequence[0])
    if PHILIPS_FRAME in item and isinstance(item[PHILIPS_FRAME].value, Sequence):
        for frame in item[PHILIPS_FRAME].value[:1]:
            values |= private_values(frame)
    return values


def _gradient(diffusion: Dataset) -> dict[str, Any]:
    from medtrans.scans.export.headers import tag_values

    directions = diffusion.get("DiffusionGradientDirectionSequence")
    return tag_values(directions[0], ("DiffusionGradientOrientation",)) if directions else {}
