"""What the user may decide about a conversion; the defaults are the careful choice."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from medtrans.errors import InputError


@dataclass(frozen=True)
class Conversion:
    """Choices that change what is made of a series. Every one is part of the fingerprint of what was converted.

    Args:
        pet_unit: ``suv`` (by body weight), ``suvlbm`` (lean body mass), ``suvbsa`` (body surface area), where the tags
            allow it, or ``bqml``.
        philips_scale: of Philips MR: ``display`` (RescaleSlope and RescaleIntercept, as shown at the scanner) or
            ``precise`` (the private floating-point scale, comparable between series).
        gaps: series with missing or unevenly spaced slices: ``refuse``, ``resample`` (onto even distances) or
            ``largest-run`` (the longest even run of slices).
        analyze: Analyze 7.5 images, whose header does not say which side is left: ``refuse``, or take them for
            ``radiological`` or ``neurological``.
        tilt: series with a tilted gantry: ``keep`` (the affine holds the shear) or ``resample`` (onto an orthogonal
            grid).

    Raises:
        InputError: a value is none of these.
    """

    pet_unit: str = "suv"
    philips_scale: str = "display"
    gaps: str = "refuse"
    tilt: str = "keep"
    analyze: str = "refuse"

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "pet_unit": ("suv", "suvlbm", "suvbsa", "bqml"),
        "philips_scale": ("display", "precise"),
        "gaps": ("refuse", "resample", "largest-run"),
        "tilt": ("keep", "resample"),
        "analyze": ("refuse", "radiological", "neurological"),
    }

    def __post_init__(self) -> None:
        for field in fields(self):
            value, choices = getattr(self, field.name), self.CHOICES[field.name]
            if value not in choices:
                option = f"--{field.name.replace('_', '-')}"
                raise InputError(option, f"is {value!r}", f"Choose one of {', '.join(choices)}")
