"""The linear map between physical units and [-1, 1], and its exact inverse."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Window:
    """The interval of physical values that becomes [-1, 1].

    It is what every modality's intensity rule comes down to (CT: fixed HU, PET: fixed SUV, MR: percentiles of the
    volume), what ``cases.csv`` records, and what turns a generator's output back into physical units.

    Args:
        lower: physical value that maps to -1; also what lies outside the body.
        upper: physical value that maps to +1; greater than ``lower``.
        unit: ``"HU"``, ``"SUV"``, ``"Bq/ml"`` or ``""`` (arbitrary, as in MR).

    Raises:
        ValueError: ``upper`` is not greater than ``lower``, or a bound is not finite.
    """

    lower: float
    upper: float
    unit: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lower) and np.isfinite(self.upper) and self.upper > self.lower):
            raise ValueError(f"an intensity window needs finite lower < upper, got [{self.lower}, {self.upper}]")

    def normalise(self, values: Array, clip: bool = True) -> Array:
        """Physical units -> [-1, 1]; without ``clip``, values outside the window lie outside [-1, 1]."""
        scaled = (values - self.lower) * (2.0 / (self.upper - self.lower)) - 1.0
        return scaled.clip(-1.0, 1.0) if clip else scaled

    def restore(self, values: Array) -> Array:
        """[-1, 1] -> physical units, the inverse of :meth:`normalise`."""
        return (values + 1.0) * ((self.upper - self.lower) / 2.0) + self.lower

    def record(self) -> dict[str, Any]:
        """As JSON-ready dictionary; ``Window(**record)`` gives it back."""
        return asdict(self)
