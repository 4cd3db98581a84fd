"""Tags that SUV needs, checked; a refusal names the tag."""

from __future__ import annotations

from typing import Any

from medtrans.errors import InputError


def positive(tags: dict[str, Any], name: str, most: float = float("inf")) -> float:
    """A number above 0 and below ``most``.

    Raises:
        InputError: it is missing, no number or out of range. The value stays out of the message.
    """
    value = tags.get(name)
    if value is None:
        raise no_suv(f"{name} is missing")
    if not isinstance(value, (int, float)) or not 0 < value < most:
        raise no_suv(f"{name} is implausible")
    return float(value)


def no_suv(problem: str) -> InputError:
    """The refusal to make SUV out of values."""
    return InputError("series", f"SUV cannot be computed: {problem}", "Values are kept in their own unit")
