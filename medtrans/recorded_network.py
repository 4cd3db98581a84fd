"""The network of a training, and other settings: written down by its config; the network built again by inference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medtrans.bundle import calling_parser
from medtrans.described_component import refuse_no_network
from medtrans.errors import InputError
from medtrans.files import files_by_content

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from torch import nn


def describe_network(component: str = "network_def") -> dict[str, Any] | None:
    """The config of a network as it is being evaluated, overlays and overrides included, without references.

    Args:
        component: id of the network's component.

    Returns:
        JSON-ready ``{"_target_": …, <argument>: value, …}``; None where the config builds it in another way.

    Raises:
        InputError: an argument is no plain value, so that it could not be written down.
    """
    parser = calling_parser()
    if parser is None or not isinstance(parser[component], dict):
        return None
    described = _plain(parser, component)
    try:
        return json.loads(json.dumps(described))
    except TypeError as error:
        problem = f"has an argument that cannot be written down ({error}): inference could not build the network again"
        raise InputError(component, problem, "Write it as a value, or as a component with `_target_`") from error


def describe_setting(setting: str) -> Any:
    """What a config says under ``setting`` as it is being evaluated, overlays and overrides included.

    Args:
        setting: id in the config, such as ``"train::degradation"``.

    Returns:
        JSON-ready; components as they are written, without references. What is no plain value is named as Python does,
        a file by its name and content.
    """
    parser = calling_parser()
    return None if parser is None else files_by_content(json.loads(json.dumps(_plain(parser, setting), default=str)))


def _plain(parser: ConfigParser, id_: str) -> Any:
    """The config under ``id_`` with references and expressions evaluated, and components left as they are written."""
    config = parser[id_]
    if isinstance(config, dict | list):
        parts = config.items() if isinstance(config, dict) else enumerate(config)
        plain = {key: _plain(parser, f"{id_}::{key}") for key, _ in parts}
        return plain if isinstance(config, dict) else list(plain.values())
    if isinstance(config, str) and config.startswith("@"):
        return _plain(parser, config[1:])
    return parser.get_parsed_content(id_) if isinstance(config, str) and config.startswith("$") else config


def recorded_network(recorded: Mapping[str, Any] | None, network: str, **settings: Any) -> nn.Module:
    """The network that training recorded, or before any training the bundle's own, for use without training.

    Once weights are read into it, spectral normalisation is folded into them: the same outputs, a network that
    TorchScript and ONNX can express.

    Args:
        recorded: what :func:`describe_network` returned; None before training.
        network: name of the bundle's network class.
        settings: its arguments.

    Raises:
        InputError: the recorded network cannot be built here, or is none.
    """
    from monai.bundle import ConfigParser

    if not recorded:
        return _folding(ConfigParser({"network_def": {"_target_": network, **settings}}))
    refuse_no_network(dict(recorded), "models/modalities.json")
    try:
        return _folding(ConfigParser({"network_def": dict(recorded)}))
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        remedy = "Install what it was trained with, or train again"
        raise InputError(
            f"the trained network {recorded.get('_target_')}", f"cannot be built ({reason})", remedy
        ) from error


def _folding(parser: ConfigParser) -> nn.Module:
    """The parser's network; spectral normalisation is folded as soon as weights are read."""
    network = parser.get_parsed_content("network_def")
    network.register_load_state_dict_post_hook(_fold)
    return network


def _fold(network: nn.Module, _keys: Any) -> None:
    from medtrans.networks import folded

    folded(network)
