"""Where a training begins: with new networks, or with those of a trained bundle and their weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrans.described_component import refuse_no_network
from medtrans.errors import InputError

OF_IMAGES = ("image_size", "axis")  # settings that a training records, and that belong to its data
THREE_D = "three_d.json"
WEIGHTS = re.compile(r"/([\w.-]+\.pt)\b")
BEGINNING = "pretrained"  # config id of the files


def config_files(bundle: Path, overlays: Sequence[str | Path], recorded: Mapping[str, Any]) -> list[str]:
    """``train.json`` and its overlays, with that of volumes where the trained bundle was one of volumes.

    Args:
        bundle: its folder.
        overlays: names in its ``configs``, or paths.
        recorded: what :func:`medtrans.cohorts.recorded_settings` gives; empty before training.

    Raises:
        InputError: it has no train.json, or there is no such overlay.
    """
    configs = bundle / "configs"
    if not (configs / "train.json").is_file():
        raise InputError(bundle, "cannot be trained (it has no configs/train.json)", "Give the bundle's folder")
    chosen = [_found(Path(overlay), configs) for overlay in overlays]
    volumes = recorded.get("spatial_dims") == 3 and "spatial_dims" not in said_in(chosen)
    between = [configs / THREE_D] if volumes and (configs / THREE_D).is_file() else []
    return [str(path) for path in (configs / "train.json", *between, *chosen)]


def _found(overlay: Path, configs: Path) -> Path:
    for path in (configs / overlay, overlay):
        if path.is_file():
            return path.resolve()
    raise InputError(overlay, "does not exist", f"Give the path of a config, or the name of one in {configs}")


def said_in(files: Sequence[str | Path]) -> set[str]:
    """The ids that overlays set."""
    return {key for file in files if str(file).endswith(".json") for key in json.loads(Path(file).read_text("utf-8"))}


def of_images(recorded: Mapping[str, Any], overlays: Sequence[str | Path]) -> dict[str, Any]:
    """The size and direction of the images that the bundle was trained on, unless an overlay says another."""
    said = said_in(overlays)
    return {key: recorded[key] for key in OF_IMAGES if key in recorded and key not in said}


def from_weights(files: Sequence[str], models: Path, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides with which the generators begin as a trained bundle's: its networks as recorded, its weights.

    Discriminators begin anew: a bundle does not carry theirs.

    Args:
        files: the training's configs.
        models: the trained bundle's ``ckpt_dir``.
        recorded: what :func:`medtrans.cohorts.recorded_settings` gives.

    Raises:
        InputError: weights of one of its generators are not there, what is recorded is no network, or the config
            builds its networks in another way than bundles do.
    """
    from monai.bundle import ConfigParser

    config = ConfigParser.load_config_files(list(files))
    overrides: dict[str, Any] = {BEGINNING: {}}
    for name, file in weight_files(config).items():
        path, built = models / file, config.get(name)
        if not path.is_file():
            raise InputError(path, "does not exist: the bundle is not wholly trained", "Train without `pretrained`")
        if not isinstance(built, str) or not built.startswith("$"):
            problem = f"builds {name} in a way that weights cannot be given to"
            raise InputError(files[-1], problem, "Train without `pretrained`")
        if network := recorded.get(name):
            refuse_no_network(network, models / "modalities.json")
            overrides[f"{name}_def"] = network
        overrides[BEGINNING][name] = str(path)
        overrides[name] = f"$medtrans.engines.load_network({built[1:]}, @{BEGINNING}::{name})"
    return overrides


def weight_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Config id of each generator -> name of the file that keeps its best weights."""
    found = {}
    for handler in config["validate"]["handlers"]:
        if isinstance(handler, Mapping) and str(handler.get("_target_")).endswith("BestModel"):
            network, file = str(handler.get("network")), WEIGHTS.search(str(handler.get("path")))
            if network.startswith("@") and file:
                found[network[1:]] = file[1]
    return found
