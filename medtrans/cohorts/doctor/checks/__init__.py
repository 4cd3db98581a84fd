"""The checks, one file each: every module here that defines a ``Check`` is found by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from medtrans.cohorts.doctor.check import Check
from medtrans.errors import InputError


def available() -> dict[str, type[Check]]:
    """Every check by its name, in the order of tables."""
    found: dict[str, type[Check]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Check) and not inspect.isabstract(member) and member.__module__ == module.__name__:
                if member.name in found:
                    raise TypeError(f"{member} and {found[member.name]} share the name {member.name!r}")
                found[member.name] = member
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def create(settings: Mapping[str, Any] | None = None) -> list[Check]:
    """The checks with their thresholds set.

    Args:
        settings: ``{"alignment#warning_mm": 2}`` or nested, ``{"alignment": {"warning_mm": 2}}``; ``false`` in the
            place of a check's thresholds leaves it out.

    Raises:
        InputError: a check or threshold is unknown, or a value is no number.
    """
    known = available()
    chosen: dict[str, dict[str, Any] | bool] = {}
    for key, value in (settings or {}).items():
        name, _, threshold = key.partition("#")
        if name not in known:
            raise InputError(f"--set {key}", f"there is no check {name!r}", f"Choose from {', '.join(known)}")
        if threshold:
            value = {threshold: value}
        elif not isinstance(value, bool | dict):
            raise InputError(f"--set {key}={value}", "says no threshold", f"Write {name}#threshold=value, or false")
        before = chosen.get(name)
        chosen[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    wanted = {name: check for name, check in known.items() if chosen.get(name) is not False}
    given = {name: value for name, value in chosen.items() if isinstance(value, dict)}
    return [check(given.get(name)) for name, check in wanted.items()]
