"""What a server offers: the bundles it was given, and each direction of a trained one as a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrans.cohorts.modalities import DIRECTIONS, read_modalities
from medtrans.errors import InputError
from medtrans.label.training import latest_models

FOLDER = Path("bundles")
OF_STUDIES = "_studies"  # a model that was trained on the server's own studies
TO_SOURCE = "_to_source"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ServedBundle:
    """A bundle of the server, trained or not.

    Attributes:
        name: under which clients know it.
        folder: the bundle's folder.
        ckpt_dir: where its models lie.
        settings: config id -> value, for its inference.
    """

    name: str
    folder: Path
    ckpt_dir: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        """Folder with ``model.pt`` and ``modalities.json`` once it is trained."""
        return self.ckpt_dir

    @property
    def inference(self) -> dict[str, Any]:
        """Its inference.json, as it is written."""
        return json.loads((self.folder / "configs" / "inference.json").read_text(encoding="utf-8"))

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata.json; empty where it has none."""
        path = self.folder / "configs" / "metadata.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def directions(self) -> Iterator[tuple[str, str]]:
        """Name and direction of every model that there could be, trained or not."""
        yield self.name, DIRECTIONS[0]
        if "direction" in self.inference:
            yield self.name + TO_SOURCE, DIRECTIONS[1]

    def weights(self, direction: str) -> Path:
        """The file that holds the generator of a direction; methods of one network for both have one file."""
        own = direction == DIRECTIONS[1] and "model_to_source" in str(self.inference.get("model"))
        return self.models / ("model_to_source.pt" if own else "model.pt")

    def translates(self, direction: str) -> bool:
        """Whether the direction is trained and leads to another modality."""
        contract = self.models / "modalities.json"
        if not (contract.is_file() and self.weights(direction).is_file()):
            return False
        modalities = read_modalities(contract, direction)
        return modality_names(modalities, "source") != modality_names(modalities, "target")

    def to_json(self) -> dict[str, Any]:
        """What :meth:`of_json` takes."""
        places = {"folder": str(self.folder), "ckpt_dir": str(self.ckpt_dir)}
        return {"name": self.name, **places, "settings": self.settings}

    @classmethod
    def of_json(cls, record: dict[str, Any]) -> ServedBundle:
        """The bundle that :meth:`to_json` described."""
        return cls(record["name"], Path(record["folder"]), Path(record["ckpt_dir"]), record["settings"])


class TrainedHere(ServedBundle):
    """A bundle with the models of its latest training on the server's studies, which is a model of its own.

    Its ``ckpt_dir`` is the folder of all its trainings there.
    """

    @property
    def models(self) -> Path:
        """Those of the latest training that has a model."""
        return latest_models(self.ckpt_dir) or self.ckpt_dir


def modality_names(modalities: dict[str, Any], side: str) -> list[str]:
    """Names of the ``"source"`` or ``"target"`` modalities, one a channel."""
    return [entry["modality"] for entry in modalities[side]]


def served_bundles(
    chosen: Sequence[str], settings: dict[str, Any] | None = None, folder: Path = FOLDER
) -> list[ServedBundle]:
    """The bundles behind ``--bundles``.

    Args:
        chosen: names in ``folder``, or folders of bundles, each with ``=FOLDER`` behind it where its models lie
            elsewhere; none takes every trained bundle of ``folder``.
        settings: config id -> value, for the inference of each.
        folder: where names are looked up.

    Raises:
        InputError: there is no such bundle, two have one name, or none is trained.
    """
    bundles = [_bundle(text, folder, settings or {}) for text in chosen] or _trained(folder, settings or {})
    names = [bundle.name for bundle in bundles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"--bundles {twice}", "is named twice", "Rename one of the folders")
    return bundles


def _bundle(text: str, folder: Path, settings: dict[str, Any]) -> ServedBundle:
    given, _, models = text.partition("=")
    path = Path(given).expanduser()
    root = path if (path / "configs" / "inference.json").is_file() else folder / given
    if not (root / "configs" / "inference.json").is_file():
        known = ", ".join(_names(folder)) or "none"
        packed = path.is_file() and path.suffix == ".zip"
        remedy = "Unpack it with `medtrans bundle unpack`" if packed else f"There are in {folder}: {known}"
        raise InputError(f"--bundles {given}", "is not a bundle's folder (no configs/inference.json)", remedy)
    name = root.resolve().name
    if not NAME.fullmatch(name):
        raise InputError(root, "has a name that cannot stand in an address", "Use letters, digits, '_', '-' and '.'")
    trained = Path(models).expanduser() if models else root / "models"
    if models and not trained.is_dir():
        raise InputError(f"--bundles {text}", f"names models in {models}, which is no folder", "Give its ckpt_dir")
    return ServedBundle(name, root.resolve(), trained.resolve(), settings)


def _names(folder: Path) -> list[str]:
    return sorted(path.parents[1].name for path in folder.glob("*/configs/inference.json"))


def _trained(folder: Path, settings: dict[str, Any]) -> list[ServedBundle]:
    bundles = [_bundle(name, folder, settings) for name in _names(folder)]
    trained = [bundle for bundle in bundles if bundle.translates(DIRECTIONS[0])]
    if not trained:
        problem = f"has no trained bundle ({len(bundles)} untrained)" if bundles else "holds no bundles"
        remedy = "Train one, or name bundles with --bundles: also untrained ones, to train them from a client"
        raise InputError(folder, problem, remedy)
    return trained
