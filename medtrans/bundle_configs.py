"""Bundles' configs, written out from what all bundles share and the little that each says of itself.

    python -m medtrans.bundle_configs bundles

``bundles/common/`` holds the configs that all bundles share, ``bundles/<name>/method.json`` what a bundle changes in
them: ``{"train": {…}, "metadata": {…}, …}`` by the name of the file. What only some bundles share lies in
``bundles/common/layers/<layer>.json``, written as a method.json is, and comes before the changes of each bundle that
names it: ``{"layers": ["two_way", "unpaired"], …}``. What is written to ``bundles/<name>/`` is complete, a MONAI bundle
that needs none of these to run and can be copied anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from medtrans.errors import InputError
from medtrans.files import written_whole

COMMON, LAYERS, METHOD, WIDTH = "common", "layers", "method.json", 120
TRAIN, INFERENCE = "train.json", "inference.json"
Config = dict[str, Any]


def merged(base: Any, changes: Any) -> Any:
    """``base`` with ``changes``, after JSON Merge Patch (RFC 7396): dictionaries merge, null removes a key.

    A component (a dictionary with ``_target_``) takes the place of another one instead of taking over its arguments.
    A new key goes before the next key of ``changes`` that ``base`` has, so that files read in a sensible order.
    """
    if not isinstance(changes, dict) or not isinstance(base, dict) or "_target_" in changes:
        return changes
    result: Config = dict(base)
    names = list(changes)
    for place, name in enumerate(names):
        if name not in result:
            result = _inserted(result, name, next((n for n in names[place:] if n in base), None))
        result[name] = merged(base.get(name), changes[name])
    return {name: value for name, value in result.items() if name not in changes or changes[name] is not None}


def _inserted(config: Config, name: str, before: str | None) -> Config:
    keys = list(config)
    keys.insert(keys.index(before) if before else len(keys), name)
    return {key: config.get(key) for key in keys}


def rendered(value: Any, indent: int = 0, used: int = 0, paragraphs: frozenset[str] = frozenset()) -> str:
    """JSON with whatever fits into a line on one line, and an empty line before the keys in ``paragraphs``.

    Args:
        value: what to render.
        indent: spaces before the closing bracket.
        used: characters of the line that stand before the value.
        paragraphs: keys of the outermost dictionary.
    """
    compact = json.dumps(value)
    if not isinstance(value, dict | list) or not value or (used + len(compact) < WIDTH and indent):
        return compact
    inner = " " * (indent + 4)
    heads = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    values = list(value.values()) if isinstance(value, dict) else value
    lines = [
        ("\n" if head[1:-3] in paragraphs else "") + inner + head + rendered(item, indent + 4, len(inner + head))
        for head, item in zip(heads, values, strict=True)
    ]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(lines) + "\n" + " " * indent + closing


def bundle_files(bundle: Path) -> dict[str, str]:
    """What belongs into the folder ``bundle``: path in it -> text.

    Raises:
        InputError: ``method.json``, a layer that it names or a file of ``common/`` cannot be read.
    """
    common, method = bundle.parent / COMMON, _read(bundle / METHOD)
    shared = {path.name: _read(path) for path in sorted(common.glob("*.json"))}
    layers = [_read(common / LAYERS / f"{name}.json") for name in method.pop(LAYERS, ())]
    texts = {}
    for name, config in _configs(shared, [*layers, method]).items():
        heads = re.findall(r'^\n    "(\S+?)": ', _text(common / name), re.MULTILINE) if name in shared else ()
        texts[name] = rendered(config, paragraphs=frozenset(heads)) + "\n"
    texts["logging.conf"] = _text(common / "logging.conf")
    files = {"LICENSE": _text(common / "LICENSE")}
    # The root files make `--config_file bundles/<name>/train.json` work; real ones, as links break on Windows.
    files |= {f"configs/{name}": text for name, text in texts.items()}
    return files | {name: text for name, text in texts.items() if "/" not in name}


def _configs(shared: Mapping[str, Config], changes: Sequence[Mapping[str, Config | None]]) -> dict[str, Config]:
    """The bundle's configs by name of file: the shared ones with all changes in their order, and further overlays."""
    configs = dict(shared)
    for name, part in (item for layer in changes for item in layer.items()):
        file = f"{name}.json"
        if part is None:
            configs.pop(file, None)
        else:
            configs[file] = merged(configs[file], part) if file in configs else part
    configs[INFERENCE] = _with_network(configs[INFERENCE], configs[TRAIN]["network_def"])
    return configs


def _with_network(inference: Config, network: Config) -> Config:
    """The inference config with training's network: what is built before a training has recorded its own."""
    described = {"network" if name == "_target_" else name: value for name, value in network.items()}
    return {**inference, "network_def": {**inference["network_def"], **described}}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "Give the folder with all bundles") from error


def _read(path: Path) -> Config:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise InputError(path, f"is not readable JSON ({error})", "Mend it") from error


def write_bundle(bundle: Path, files: Mapping[str, str]) -> list[str]:
    """Write the ``files`` whose text has changed, and return their names."""
    changed = []
    for name, text in files.items():
        path = bundle / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
            changed.append(name)
    return changed


def main(bundles: Annotated[Path, typer.Argument(help="Folder with common/ and a folder for each bundle.")]) -> None:
    """Write every bundle's configs from common/ and its method.json."""
    for method in sorted(bundles.glob(f"*/{METHOD}")):
        changed = write_bundle(method.parent, bundle_files(method.parent))
        typer.echo(f"{method.parent.name}: {', '.join(changed) or 'nothing changed'}")


if __name__ == "__main__":
    typer.run(main)
