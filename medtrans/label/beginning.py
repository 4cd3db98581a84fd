"""Where a training begins: with new networks, or with those of a trained bundle and their weights."""

from __future__ import annotations

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


def chosen_overlays(bundle: Path, overlays: Sequence[str | Path]) -> list[str]:
    """The paths of overlays, which are names in the bundle's ``configs``, or paths.

    Raises:
        InputError: there is no such overlay.
    """
    return [str(_found(Path(overlay), bundle / "configs")) for overlay in overlays]


def config_files(bundle: Path, overlays: Sequence[str], recorded: Mapping[str, Any]) -> list[str]:
    """``train.json`` and its overlays, with that of volumes where the trained bundle was one of volumes.

    Args:
        bundle: its folder.
        overlays: paths.
        recorded: what :func:`medtrans.cohorts.recorded_settings` gives; empty before training.

    Raises:
        InputError: it has no train.json.
    """
    configs = bundle / "configs"
    if not (configs / "train.json").is_file():
        raise InputError(bundle, "cannot be trained (it has no configs/train.json)", "Give the bundle's folder")
    volumes = recorded.get("spatial_dims") == 3 and "spatial_dims" not in said_in(overlays)
    between = [configs / THREE_D] if volumes and (configs / THREE_D).is_file() else []
    return [str(path) for path in (configs / "train.json", *between, *overlays)]


def _found(overlay: Path, configs: Path) -> Path:
    for path in (configs / overlay, overlay):
        if path.is_file():
            return path.resolve()
    raise InputError(overlay, "does not exist", f"Give the path of a config, or the name of one in {configs}")


def said_in(overlays: Sequence[str]) -> dict[str, Any]:
    """Config id -> value of what overlays set, the last one's where several do."""
    from monai.bundle import ConfigParser

    said = [item for file in overlays for item in ConfigParser.load_config_file(file).items()]
    return {key.lstrip("+").replace("#", "::"): value for key, value in said}


def of_images(recorded: Mapping[str, Any], overlays: Sequence[str]) -> dict[str, Any]:
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


def overruled(chosen: Mapping[str, Any], settings: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen in vain, because weights are of another value.

    Args:
        chosen: config id -> value.
        settings: the overrides of the training, those of :func:`from_weights` among them.
        recorded: what :func:`medtrans.cohorts.recorded_settings` gives.

    Returns:
        Config id -> ``{"chosen", "taken"}``. Expressions are passed over: what they come to is the config's.

    Raises:
        InputError: the weights are of images with another number of dimensions, for which nothing else would fit.
    """
    dims = recorded.get("spatial_dims")
    if dims and _differs(chosen.get("spatial_dims", dims), dims):
        problem = f"is {chosen['spatial_dims']}, but the bundle's weights are of {dims} dimensions"
        raise InputError("the setting spatial_dims", problem, "Leave it out, or train with pretrained false")
    found = {}
    for key, value in chosen.items():
        first, *inner = key.replace("#", "::").split("::")
        if first in settings and (first in OF_IMAGES or first.endswith("_def")):
            taken = settings[first]
            for name in inner:
                taken = taken.get(name) if isinstance(taken, Mapping) else None
            if _differs(value, taken):
                found[key] = {"chosen": value, "taken": taken}
    return found


def _differs(value: Any, taken: Any) -> bool:
    if isinstance(value, Mapping):
        inside = taken if isinstance(taken, Mapping) else {}
        return any(_differs(part, inside.get(key)) for key, part in value.items())
    return value != taken and not (isinstance(value, str) and value.startswith(("$", "@")))


def weight_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Config id of each generator -> name of the file that keeps its best weights."""
    found = {}
    for handler in config["validate"]["handlers"]:
        if isinstance(handler, Mapping) and str(handler.get("_target_")).endswith("BestModel"):
            network, file = str(handler.get("network")), WEIGHTS.search(str(handler.get("path")))
            if network.startswith("@") and file:
                found[network[1:]] = file[1]
    return found
