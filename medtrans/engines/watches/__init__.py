"""What to keep an eye on while a model trains. Every module of this folder that defines a :class:`Watch` is found."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from medtrans.engines.watches.watch import Watch

__all__ = ["Watch", "available"]


def available() -> dict[str, type[Watch]]:
    """Every watch by its name, in alphabetical order."""
    found: dict[str, type[Watch]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Watch) and member is not Watch and member.__module__ == module.__name__:
                if member.name in found:
                    raise TypeError(f"{member} and {found[member.name]} share the name {member.name!r}")
                found[member.name] = member
    return dict(sorted(found.items()))
