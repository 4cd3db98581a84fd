"""Image quality, 2D and 3D, with and without mask.

Every module of this folder that defines an :class:`ImageMetric` is found by itself: a new metric is one new file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from medtrans.errors import InputError
from medtrans.metrics.base import DataRange, ImageMetric, MapMetric

__all__ = ["DataRange", "ImageMetric", "MapMetric", "available", "create"]


def available() -> dict[str, type[ImageMetric]]:
    """Every metric by its name, in the order of tables."""
    found: dict[str, type[ImageMetric]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if not issubclass(member, ImageMetric) or inspect.isabstract(member):
                continue
            if member.__module__ == module.__name__:
                if member.name in found:
                    raise TypeError(f"{member} and {found[member.name]} share the name {member.name!r}")
                found[member.name] = member
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def create(
    names: Sequence[str] | None = None, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> list[ImageMetric]:
    """The metrics called ``names``; by default those that are reported without being asked for.

    Args:
        names: keys of :func:`available`.
        settings: constructor arguments by metric name, for example ``{"lpips": {"weights": path}}``.

    Raises:
        InputError: a name is unknown.
    """
    known = available()
    for name in names or ():
        if name not in known:
            raise InputError(f"metric {name!r}", "does not exist", f"Choose from {', '.join(known)}")
    chosen = [known[name] for name in names] if names is not None else [m for m in known.values() if m.by_default]
    return [metric(**(settings or {}).get(metric.name, {})) for metric in chosen]


globals().update({metric.__name__: metric for metric in available().values()})  # medtrans.metrics.SSIM, as in configs
