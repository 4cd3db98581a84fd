"""What a bundle's config asks of its surroundings: where it lies, and whether its keys are spelt right."""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from medtrans.errors import InputError, input_error_behind
from medtrans.files import check_writable

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

logger = logging.getLogger(__name__)

# Ids that MONAI's bundle runner, MONAI Label and mlflow tracking read themselves, so that no config refers to them.
READ_BY_MONAI = {"run", "training", "evaluating", "inferring", "initialize", "finalize", "imports", "train", "validate"}
READ_BY_MONAI |= {"evaluator", "trainer", "network_def", "inferer", "dataset", "preprocessing", "postprocessing"}
READ_BY_MONAI |= {"pre_transforms", "post_transforms"}
READ_BY_MONAI |= {"bundle_root", "device", "dataset_dir", "output_dir", "dataloader", "handlers", "_meta_"}
RUN_OPTIONS = {"tracking", "meta_file", "logging_file", "workflow_type", "args_file", "run_id", "init_id", "final_id"}
RUN_OPTIONS |= {"workflow_name", "config_file", "properties_path"}
GROWING = {"losses", "optimizers", "key_metric", "additional_metrics", "inference", "phantom", "identity", "settings"}
GROWING |= {"schedulers", "stop_after"}
RECORDED_NETWORK = "medtrans.recorded_network"  # passes on to its ``network`` what it does not take itself
COMPONENT_KEYS = {"_target_", "_mode_", "_disabled_", "_requires_", "_desc_", "_code_"}


def _frames() -> Iterator[FrameType]:
    """The calling functions, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _workflow() -> Any:
    """The ConfigWorkflow whose config is being evaluated, or None (a plain ConfigParser, for instance)."""
    from monai.bundle import ConfigWorkflow

    for frame in _frames():
        if isinstance(candidate := frame.f_locals.get("self"), ConfigWorkflow):
            return candidate
    return None


def calling_parser() -> ConfigParser | None:
    """The ConfigParser whose config is being evaluated, or None."""
    from monai.bundle import ConfigParser

    for frame in _frames():
        if isinstance(candidate := frame.f_locals.get("self"), ConfigParser):
            return candidate
    return None


def bundle_root(default: str = ".") -> str:
    """Folder of the bundle whose config is being evaluated, whatever the working directory.

    MONAI's own default, ``"."``, is the working directory: models would land wherever the command was typed.
    """
    workflow = _workflow()
    if workflow is None:
        return default
    root = Path(workflow.config_root_path).resolve()
    return str(root.parent if root.name == "configs" else root)


def check_configuration(*folders: str | os.PathLike[str]) -> None:
    """Refuse misspelt keys, which MONAI accepts in silence, and log the settings. For a config's ``initialize``.

    Args:
        folders: where the run writes.

    Raises:
        InputError: a key that nothing reads, data that the recorded contract would not be of, or a folder that cannot
            be written.
    """
    sys.excepthook = _told_in_one_line
    files, overrides = _command()
    check_keys(files, overrides)
    _check_data()
    for folder in folders:
        check_writable(folder)
    if overrides:
        logger.info("settings from the command line: %s", ", ".join(f"{k}={v!r}" for k, v in overrides.items()))


def _check_data() -> None:
    """Refuse a list of files as training data, as MONAI Label's own monaibundle app gives it.

    The contract in models/modalities.json would be another data set's, and replace that of the trained model.
    """
    parser = calling_parser()
    if parser is not None and isinstance(parser.get("train::dataset::data"), list):
        problem = "is a list of files, which say neither subject nor modality nor unit"
        raise InputError("train::dataset::data", problem, "Give `dataset_dir`; train from a client by `medtrans label`")


def check_keys(files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Check the ids of overlays and overrides against the config before them, and against what all files refer to.

    A new top-level id, or a new one in ``train`` or ``validate``, must be referred to; dictionaries that are meant to
    grow, such as ``losses``, take any name.

    Args:
        files: the base config, then overlays; nothing is checked where one is not JSON (YAML of the user's own).
        overrides: id -> value.

    Raises:
        InputError: a key that nothing reads, or a file that is no JSON object.
    """
    from monai.bundle import ConfigParser

    written = [_json_object(file) for file in files if file.endswith(".json")]
    if len(written) != len(files) or not written:
        return
    text = json.dumps([*written, list(overrides.values())], default=str)
    for place, (file, content) in list(enumerate(zip(files, written, strict=True)))[1:]:
        before = ConfigParser.load_config_files(list(files[:place])) or {}
        for key in content:
            _check_id(key, before, file, text)
    merged = ConfigParser.load_config_files(list(files)) or {}
    for key in overrides:
        _check_id(key, merged, ", ".join(files), text)


def _json_object(file: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(file, f"is not readable JSON ({error})", "Mend it") from error
    if not isinstance(content, dict):
        raise InputError(file, "is not a JSON object", "Write {…}")
    return content


def _command() -> tuple[list[str], dict[str, Any]]:
    """Config files and overrides that ``monai.bundle`` was started with; empty when it was not."""
    for frame in _frames():
        given = frame.f_locals
        if frame.f_code.co_name == "create_workflow" and isinstance(given.get("_args"), dict):
            files = given.get("config_file") or []
            options = {key: value for key, value in given["_args"].items() if key not in RUN_OPTIONS}
            return ([files] if isinstance(files, str) else [str(file) for file in files]), options
    return [], {}


def _check_id(key: str, config: dict[str, Any], where: str, text: str) -> None:
    """``key``, perhaps nested, names something in ``config``, something referred to, or a constructor's argument."""
    *path, leaf = key.lstrip("+").replace("#", "::").split("::")
    node: Any = config
    for name in path:
        node = _child(node, name, where)
    if not isinstance(node, dict) or leaf in node:
        return
    if "_target_" in node:
        taken = _taken(node)
        if taken is not None and leaf not in taken and leaf not in COMPONENT_KEYS:
            raise _misspelt(f"{where} ({'#'.join(path)})", leaf, taken)
        return
    name = "(::|#)".join(re.escape(part) for part in (*path, leaf))
    if leaf not in READ_BY_MONAI and not GROWING.intersection(path) and not re.search(rf"[@%]{name}\b", text):
        raise _misspelt(where if not path else f"{where} ({'#'.join(path)})", leaf, node)


def _child(node: Any, name: str, where: str) -> Any:
    if isinstance(node, list):
        return node[int(name)] if name.lstrip("-").isdigit() and int(name) < len(node) else None
    if not isinstance(node, dict):
        return None  # a reference or an expression: MONAI resolves it
    if name not in node:
        raise _misspelt(where, name, node)
    return node[name]


def _taken(component: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The arguments that a component may have; None where it takes any, or cannot be told."""
    target = str(component["_target_"])
    if target != RECORDED_NETWORK:
        return _parameters(target)
    network = _parameters(str(component.get("network")))
    return None if network is None else ("recorded", "network", *network)


@functools.cache  # MONAI lists its modules anew for every look-up
def _parameters(target: str) -> tuple[str, ...] | None:
    """The names that a component's constructor takes; None where it takes any, or cannot be told."""
    import pydoc

    from monai.bundle import ComponentLocator

    module = ComponentLocator().get_component_module_name(target)
    component = pydoc.locate(f"{module}.{target}" if isinstance(module, str) else target)
    try:
        parameters = inspect.signature(component).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else tuple(p.name for p in parameters)


def _misspelt(where: str, name: str, known: Collection[str]) -> InputError:
    close = difflib.get_close_matches(name, known, n=1)
    remedy = f"Did you mean {close[0]!r}?" if close else f"It has: {', '.join(sorted(known))}"
    return InputError(where, f"has no key {name!r}", remedy.rstrip("?"))


def _told_in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show bad input as one line instead of a traceback through the config parser."""
    known = input_error_behind(error)
    if known is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {known}", file=sys.stderr)
