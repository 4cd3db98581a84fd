"""What an MR volume shows, as far as header and description say so: the suffix BIDS has for it, or why it has none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS = {
    "FLAIR": r"flair|dark[ _-]?fluid|tirm",
    "T2starw": r"t2[ _-]?(?:\*|star|s(?![a-z]))|hemo",
    "T1w": r"(?:^|[^a-z])(?:3d)?t1(?![0-9])|mp-?rage|bravo|spgr|vibe|t1w",
    "T2w": r"(?:^|[^a-z])(?:3d)?t2(?![0-9])|t2w",
    "PDw": r"(?:^|[^a-z])pd(?:w|[^a-z]|$)|proton[ _-]?dens",
    "angio": r"(?:^|[^a-z])tof(?:[^a-z]|$)|angio|(?:^|[^a-z])mra(?:[^a-z]|$)",
}
# Descriptions of what is no plain anatomical image, whatever weighting they also name.
OTHER = {
    r"asl(?:[^a-z]|$)|perf|dsc|dce|ktrans": "perfusion",
    r"field[ _-]?map|b[01][ _-]?map|fmap|shim": "a field map, whose images must be known to belong together",
    r"mp2rage|t[12]\*?[ _-]?map|relax|quant|fraction|dixon": "a quantitative image or one part of a set",
    r"swi|suscept|qsm": "susceptibility imaging",
    r"adc|trace|(?:^|[^a-z])fa(?:[^a-z]|$)|dti|dwi|diff|tensor": "diffusion without all its directions",
    r"mip(?:[^a-z]|$)|mpr(?:[^a-z]|$)|reformat|sub(?:tract|[^a-z]|$)": "computed from other images",
    r"survey|scout|locali[sz]er|loc(?:[^a-z]|$)|calib|smartbrain|asset|ref(?:[^a-z]|$)": "for planning or calibration",
    r"spectro|svs|csi|cine|tag": "no image of one weighting",
}
FUNCTIONAL = r"bold|fmri|(?:^|[^a-z])f?rest|task|fe[ _-]?epi"


@dataclass(frozen=True)
class Shown:
    """What a volume shows.

    Attributes:
        suffix: of BIDS, such as ``T1w``; empty when it has none.
        folder: BIDS' folder for it.
        note: how it is known, where that is less than certain; or why it is not.
    """

    suffix: str
    folder: str = ""
    note: str = ""


def shown(text: str, fields: Mapping[str, Any], times: int, directed: bool) -> Shown:
    """What an MR volume shows.

    Args:
        text: its description.
        fields: DICOM tags that hold for it: times in ms, ImageType, ScanningSequence, SequenceName.
        times: number of time points.
        directed: whether every time point has a b-value and, if weighted, a direction.
    """
    text = text.lower().replace("^", " ")
    kinds = {str(word).upper() for word in fields.get("ImageType", ())}
    if kinds & {"SECONDARY", "ADC", "FA", "TRACEW", "EADC", "PROJECTION IMAGE", "MIP", "MPR", "SUBTRACTION"}:
        return Shown("", note="computed from other images, by its ImageType")
    if times > 1:
        return _in_time(text, fields, directed)
    for pattern, what in OTHER.items():
        if re.search(pattern, text):
            return Shown("", note=f"{what}, by its description")
    named = {suffix for suffix, pattern in WORDS.items() if re.search(pattern, text)}
    return _named(named, fields) if named else _timed(fields)


def _in_time(text: str, fields: Mapping[str, Any], directed: bool) -> Shown:
    if directed:
        return Shown("dwi", "dwi")
    sequence = str(fields.get("SequenceName", "")).lower()
    if re.search("asl|perf", text) is None and (re.search(FUNCTIONAL, text) or re.search(r"ep.*fid", sequence)):
        return Shown("bold", "func")
    return Shown("", note="several time points, and nothing says of what")


def _named(named: set[str], fields: Mapping[str, Any]) -> Shown:
    """One of the weightings that the description names, where timing can settle which."""
    echo, inversion = _number(fields, "EchoTime"), _number(fields, "InversionTime")
    if "FLAIR" in named and "T1w" in named and inversion:
        named = {"FLAIR"} if inversion > 1500 else {"T1w"}
    elif "FLAIR" in named and "T1w" not in named:
        named = {"FLAIR"}
    if "T2starw" in named:
        named -= {"T2w"}
    if named == {"PDw", "T2w"} and echo:
        named = {"PDw"} if echo < 50 else {"T2w"}
    if len(named) > 1:
        return Shown("", note=f"its description names {' and '.join(sorted(named))}")
    (suffix,) = named
    if suffix == "T1w" and echo > 60:
        return Shown("", note=f"its description says T1, its echo time of {echo:g} ms does not")
    return Shown(suffix, "anat")


def _timed(fields: Mapping[str, Any]) -> Shown:
    """The weighting by sequence and timing, where these leave no doubt."""
    echo, repetition, inversion = (_number(fields, name) for name in ("EchoTime", "RepetitionTime", "InversionTime"))
    sequence = set(fields.get("ScanningSequence", ()))
    spin = "SE" in sequence and "GR" not in sequence and "EP" not in sequence
    suffix = ""
    if echo and repetition and "EP" not in sequence:
        if inversion >= 1500 and echo >= 60:
            suffix = "FLAIR"
        elif ("GR" in sequence and 400 <= inversion <= 1400 and echo < 15) or (
            spin and not inversion and echo <= 30 and repetition <= 1000
        ):
            suffix = "T1w"
        elif spin and not inversion and repetition >= 2000 and echo >= 60:
            suffix = "T2w"
        elif spin and not inversion and repetition >= 1800 and echo <= 40:
            suffix = "PDw"
    if not suffix:
        return Shown("", note="neither description nor timing say its weighting")
    return Shown(suffix, "anat", f"called {suffix} by its timing, its description does not say")


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
