"""Diffusion weightings in the vendors' private tags, under the names of the standard's tags."""

from __future__ import annotations

import math
from typing import Any

# (group, element within the creator's block) -> private creator, VR, name; see dcm2niix's notes on each vendor
DIFFUSION: dict[tuple[int, int], tuple[str, str, str]] = {
    (0x0019, 0x0C): ("SIEMENS MR HEADER", "IS", "SiemensBValue"),
    (0x0019, 0x0E): ("SIEMENS MR HEADER", "FD", "SiemensGradient"),
    (0x0043, 0x39): ("GEMS_PARM_01", "IS", "GEBValue"),
    (0x0019, 0xBB): ("GEMS_ACQU_01", "DS", "GEGradientX"),
    (0x0019, 0xBC): ("GEMS_ACQU_01", "DS", "GEGradientY"),
    (0x0019, 0xBD): ("GEMS_ACQU_01", "DS", "GEGradientZ"),
    (0x2001, 0x03): ("Philips Imaging DD 001", "FL", "PhilipsBValue"),
    (0x2005, 0xB0): ("Philips MR Imaging DD 001", "FL", "PhilipsGradientX"),
    (0x2005, 0xB1): ("Philips MR Imaging DD 001", "FL", "PhilipsGradientY"),
    (0x2005, 0xB2): ("Philips MR Imaging DD 001", "FL", "PhilipsGradientZ"),
}
NAMES = {name for _, _, name in DIFFUSION.values()}
GE_OFFSET = 100000  # GE adds multiples of it to the b-value


def public_diffusion(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with DiffusionBValue (s/mm2) and DiffusionGradientOrientation (LPS) in place of the vendors' tags.

    GE's direction is along the axes of the scan; it tells weightings apart and is called GEGradient.
    """
    kept = {name: value for name, value in values.items() if name not in NAMES}
    for vendor in ("Siemens", "GE", "Philips"):
        found = values.get(f"{vendor}BValue")
        b_value = found[0] if isinstance(found, tuple) and found else found
        if not isinstance(b_value, float) or not math.isfinite(b_value) or b_value < 0:
            continue
        kept["DiffusionBValue"] = b_value % GE_OFFSET if vendor == "GE" else b_value
        axes = tuple(values.get(f"{vendor}Gradient{axis}") for axis in "XYZ")
        gradient = values.get(f"{vendor}Gradient", axes)
        if isinstance(gradient, tuple) and len(gradient) == 3 and all(_finite(value) for value in gradient):
            kept["GEGradient" if vendor == "GE" else "DiffusionGradientOrientation"] = gradient
    return kept


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
