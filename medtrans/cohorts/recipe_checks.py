"""Checks of a recipe's values, each refusing with the file, the key and what to write instead."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrans.errors import InputError


def refuse(path: Path, key: str, problem: str, remedy: str) -> InputError:
    """The error that says what is wrong with the value under ``key``."""
    return InputError(f"{path} ({key})" if key else path, problem, remedy)


def check_keys(path: Path, where: str, section: Any, known: Iterable[str]) -> None:
    """Refuse a section that is no dictionary, or has a key that nothing reads."""
    if not isinstance(section, Mapping):
        raise refuse(path, where, f"is {section!r}, not a section", "Write {…}")
    for key in section:
        if key not in known:
            close = difflib.get_close_matches(str(key), list(known), n=1)
            remedy = f"Did you mean {close[0]}" if close else f"Known are {', '.join(known)}"
            raise refuse(path, where, f"has the unknown key {key!r}", remedy)


def choice(path: Path, key: str, value: Any, allowed: Sequence[str]) -> str:
    """``value`` when it is one of ``allowed``."""
    if value not in allowed:
        raise refuse(path, key, f"is {value!r}", f"Use one of {', '.join(allowed)}")
    return value


def number(
    path: Path,
    key: str,
    value: Any,
    whole: bool = False,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:
    """``value`` when it is a finite number within the bounds (``above`` excludes its own value)."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (whole and value != int(value)):
        raise refuse(path, key, f"is {value!r}, not a {'whole ' if whole else ''}number", "Give a number")
    if not (value > above and least <= value <= most):
        bounds = f"above {above:g}" if above > -math.inf else f"at least {least:g}"
        raise refuse(
            path, key, f"is {value!r}", f"Give a number {bounds}" + (f", at most {most:g}" * (most < math.inf))
        )
    return int(value) if whole else float(value)


def numbers(path: Path, key: str, values: Any, count: int, above: float = -math.inf) -> list[float]:
    """``values`` when they are ``count`` finite numbers."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        raise refuse(path, key, f"is {values!r}", f"Give {count} numbers")
    return [number(path, key, value, above=above) for value in values]


def regular_expressions(path: Path, key: str, patterns: Any) -> dict[str, str] | None:
    """Column -> regular expression, each of them valid."""
    if patterns is None:
        return None
    check_keys(path, key, patterns, patterns if isinstance(patterns, Mapping) else ())
    for column, pattern in patterns.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise refuse(path, f"{key}#{column}", f"is no regular expression ({error})", "Mend it") from error
    return dict(patterns)
