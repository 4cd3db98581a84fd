"""One file a family of named, weighted loss terms.

Every module of this folder that defines a :class:`LossTerm` is found by itself: a new loss is one new file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm, LossTerms

__all__ = ["LossTerm", "LossTerms", "Observed", "available"]


def available() -> dict[str, type[LossTerm]]:
    """Every loss term by the name of its class, as bundles write it: ``medtrans.losses.<name>``.

    Abstract classes, and those whose name begins with an underscore, are what terms share, not terms.
    """
    found: dict[str, type[LossTerm]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for name, member in inspect.getmembers(module, inspect.isclass):
            own = member.__module__ == module.__name__ and not name.startswith("_") and not inspect.isabstract(member)
            if own and issubclass(member, LossTerm) and member is not LossTerm:
                if name in found:
                    raise TypeError(f"{member} and {found[name]} share the name {name!r}")
                found[name] = member
    return dict(sorted(found.items()))


globals().update(available())  # medtrans.losses.L1, as in configs
