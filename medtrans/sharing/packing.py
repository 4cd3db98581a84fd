"""A trained bundle as one zip that MONAI's own commands open elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from medtrans.engines.checkpoints import load_network
from medtrans.errors import InputError
from medtrans.sharing.archive import MANIFEST, Content, as_json, manifest, write_archive
from medtrans.sharing.contents import documents, refuse_private_paths, weight_files
from medtrans.sharing.facts import Facts, facts_of
from medtrans.sharing.metadata import as_metadata, filled
from medtrans.sharing.model_card import model_card
from medtrans.weights import read_weights

CARD = "docs/MODEL_CARD.md"


@dataclass(frozen=True)
class Packing:
    """How a bundle is packed.

    Attributes:
        models: folder of its weights; None is the bundle's own.
        training: folder with the training's validation.csv; None is the bundle's ``eval``.
        report: folder of `medtrans evaluate`, for the model card.
        notes: Markdown file whose text goes into the model card.
        name: of the packed bundle and its folder; empty takes the bundle's.
        version: empty takes the bundle's.
        large_files: address of the folder from which the weights are fetched, instead of packing them.
    """

    models: Path | None = None
    training: Path | None = None
    report: Path | None = None
    notes: Path | None = None
    name: str = ""
    version: str = ""
    large_files: str = ""


def pack(bundle: Path, out: Path, packing: Packing = Packing()) -> Path:
    """Write a bundle with its weights, contract of intensities, metadata and model card into a zip.

    Args:
        bundle: folder of a trained bundle.
        out: the zip, or the folder for ``<name>_v<version>.zip``.
        packing: see :class:`Packing`.

    Returns:
        The zip.

    Raises:
        InputError: the bundle is incomplete, untrained, its weights do not fit, or a file names a path of this machine.
    """
    bundle = bundle.expanduser().resolve()
    models = (packing.models or bundle / "models").expanduser().resolve()
    contents: dict[str, Content] = dict(documents(bundle))
    files = weight_files(bundle)
    facts = facts_of(models, files, packing.training or bundle / "eval", packing.report)
    _check_weights(bundle, models, files)
    metadata = filled(as_metadata(_bytes(contents["configs/metadata.json"])), facts, packing.name, packing.version)
    for place in ("configs/metadata.json", "metadata.json"):
        if place in contents:
            contents[place] = as_json(metadata)
    contents[CARD] = model_card(metadata, facts, _notes(packing.notes)).encode()
    contents["models/modalities.json"] = as_json(facts.modalities)
    if packing.large_files:
        contents["large_files.yml"] = _large_files(packing.large_files, facts).encode()
    else:
        contents |= {f"models/{name}": models / name for name in files}
    folder = _plain_name(packing.name or bundle.name)
    contents[MANIFEST] = manifest(contents, name=folder, version=metadata["version"])
    path = out if out.suffix.lower() == ".zip" else out / f"{folder}_v{metadata['version']}.zip"
    return write_archive(path, folder, contents)


def _plain_name(name: str) -> str:
    """``name``, refused where it could not be a folder's everywhere."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"the name {name!r}", "is no plain name of a folder", "Use letters, digits, dots, - and _")
    return name


def _check_weights(bundle: Path, models: Path, files: list[str]) -> None:
    """Refuse weights that hold code, or do not fit the network that inference would build for them."""
    from monai.bundle import ConfigParser

    for name in files:
        read_weights(models / name)
    for direction, name in (("source_to_target", "model.pt"), ("target_to_source", "model_to_source.pt")):
        if name in files:
            parser = ConfigParser()
            parser.read_config(str(bundle / "configs/inference.json"))
            parser.update({"bundle_root": str(bundle), "ckpt_dir": str(models), "direction": direction})
            load_network(parser.get_parsed_content("network_def"), models / name)


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _notes(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})", "Give a text file") from error
    refuse_private_paths(text, path)
    return text


def _large_files(address: str, facts: Facts) -> str:
    """What MONAI's `download_large_files` reads."""
    if "://" not in address:
        raise InputError(f"the address {address!r}", "is no URL", "Give one such as https://host/folder")
    lines = ["large_files:"]
    for name, digest in facts.weights.items():
        lines += [f'- path: "models/{name}"', f'  url: "{address.rstrip("/")}/{name}"']
        lines += [f'  hash_val: "{digest}"', '  hash_type: "sha256"']
    return "\n".join(lines) + "\n"
