"""Components that a file of a training describes: built from values alone, so that reading it runs nothing it chose."""

from __future__ import annotations

import inspect
import pydoc
import sys
from typing import Any

from medtrans.errors import InputError

EXPRESSIONS = ("$", "@", "%")  # of MONAI's configs
OF_NETWORKS = ("medtrans.networks", "monai.networks", "torch.nn", "torchvision.models")  # whose functions make networks
ANEW = "Get it again, from whom you trust, or train again"


def refuse_code(component: Any, where: Any, remedy: str = ANEW) -> None:
    """Raise InputError where a described component holds an expression, or calls Python's own library.

    Training writes values down; what else stands there was put there. MONAI's parser would run it.

    Args:
        component: ``{"_target_": …, <argument>: value, …}``, arguments may be components, too.
        where: the file, for the message.
        remedy: likewise.
    """
    if isinstance(component, dict):
        target = component.get("_target_")
        if target is not None and str(target).split(".")[0] in sys.stdlib_module_names:
            raise InputError(where, f"calls {target}, which no training writes down", remedy)
        for value in component.values():
            refuse_code(value, where, remedy)
    elif isinstance(component, list | tuple):
        for value in component:
            refuse_code(value, where, remedy)
    elif isinstance(component, str) and component.startswith(EXPRESSIONS):
        raise InputError(where, f"holds an expression ({component[:1]}…), not a value", remedy)


def refuse_no_network(component: Any, where: Any) -> None:
    """Raise InputError where the component and those in it are not networks, besides what :func:`refuse_code` refuses.

    A network is a class of modules, or what a function of a library of networks makes.
    """
    from monai.bundle.config_item import ComponentLocator
    from torch import nn

    refuse_code(component, where)
    locator = ComponentLocator()
    for target in _targets(component):
        module = locator.get_component_module_name(target) if "." not in target else None
        found = pydoc.locate(f"{module}.{target}" if isinstance(module, str) else target)
        made = inspect.isfunction(found) and str(found.__module__).startswith(OF_NETWORKS)
        if found is not None and not made and not (isinstance(found, type) and issubclass(found, nn.Module)):
            raise InputError(where, f"says that {target} is a network", ANEW)


def _targets(component: Any) -> list[str]:
    """The names of all classes and functions that the component calls."""
    parts = component.values() if isinstance(component, dict) else component if isinstance(component, list) else ()
    own = [str(component["_target_"])] if isinstance(component, dict) and "_target_" in component else []
    return own + [target for part in parts for target in _targets(part)]
