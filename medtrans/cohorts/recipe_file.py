"""A recipe file as plain values: a MONAI config with the overrides set and its references resolved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from medtrans.cohorts.recipe_checks import refuse
from medtrans.cohorts.recipe_defaults import filled
from medtrans.errors import InputError


def override(text: str) -> tuple[str, Any]:
    """``"size#0=192"`` -> ``("size#0", 192)``; the value is read as JSON, or taken as text.

    Raises:
        InputError: there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text}", "is not of the form key=value", "Write for example --set size#0=192")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def read_config(path: Path, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe with every reference resolved, and modality -> the intensity rule that it names.

    Raises:
        InputError: the file is absent or no config, an override fits nowhere, or a reference cannot be resolved.
    """
    from monai.bundle import ConfigParser

    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise InputError(path, problem, "Copy one from data_prep/ and edit it")
    try:
        parser = ConfigParser()
        parser.read_config(path)
    except Exception as error:
        raise InputError(path, f"is not a readable config ({error})", "Mend its JSON") from error
    if not isinstance(parser.config, dict) or not isinstance(parser.config.get("modalities"), dict):
        raise refuse(path, "modalities", "is missing", 'Say "modalities": {"T1": {…}, …}')
    parser = ConfigParser(filled(parser.config)) if overrides else parser
    for key, value in overrides.items():
        _set(path, parser, key, deepcopy(value))
    try:
        parser.parse(reset=True)
        plain = _resolved(parser, "")
        entries = {name: entry for name, entry in plain["modalities"].items() if isinstance(entry, dict)}
        ids = {name: f"modalities::{name}::intensity" for name, entry in entries.items() if "intensity" in entry}
        return plain, {name: parser.get_parsed_content(key) for name, key in ids.items()}
    except Exception as error:
        raise InputError(
            path, f"cannot be evaluated ({root_cause(error)})", "Check its references and _target_s"
        ) from error


def _set(path: Path, parser: Any, key: str, value: Any) -> None:
    """Override one value; :func:`check_keys` refuses afterwards what nothing reads."""
    try:
        parser.set(value, key, recursive=True)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise refuse(path, key, "does not exist in the recipe", "Compare --set with the recipe's keys") from error


def _resolved(parser: Any, key: str) -> Any:
    """Plain JSON values below ``key``: references and expressions evaluated, components left as their description."""
    config = parser[key] if key else parser.config
    if isinstance(config, dict):
        return {name: _resolved(parser, f"{key}::{name}" if key else name) for name in config}
    if isinstance(config, list):
        return [_resolved(parser, f"{key}::{index}") for index in range(len(config))]
    if isinstance(config, str) and not key.endswith("_target_") and config[:1] in ("@", "$", "%"):
        return parser.get_parsed_content(key)
    return config


def root_cause(error: BaseException) -> BaseException:
    """What first went wrong, below MONAI's own errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def component(config: Mapping[str, Any]) -> Any:
    """The object that a ``_target_`` description stands for."""
    from monai.bundle import ConfigParser

    return ConfigParser({"component": dict(config)}).get_parsed_content("component")
