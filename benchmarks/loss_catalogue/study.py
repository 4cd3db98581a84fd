"""What all trainings share: the bundle's config, the budget, the heads, and the pix2pix that they go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from catalogue import catalogue
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from torch import Tensor

from medtrans.engines import TranslationTrainer
from medtrans.files import written_whole
from medtrans.methods import Method


class Study:
    """One folder of results: the data, the budget, and what is done already."""

    def __init__(self, folder: Path, bundle: Path, settings: dict[str, Any], start: int, epochs: int) -> None:
        self.folder, self.bundle, self.settings, self.start, self.epochs = folder, bundle, settings, start, epochs
        folder.mkdir(parents=True, exist_ok=True)
        self.entries = catalogue(folder / "segmenter.ts")

    def parser(self, losses: dict[str, Any] | None = None, order: int = 0) -> ConfigParser:
        """The bundle's training config, small, with these losses."""
        configs = self.bundle / "configs"
        parser = ConfigParser()
        parser.read_config([str(configs / "train.json"), str(configs / "quick.json")])
        parser.update(self.settings)
        parser["seed"] = int(parser["seed"]) + order
        if losses is not None:
            parser["losses"] = losses
        return parser

    def losses_of(self, name: str, weight: float) -> dict[str, Any]:
        """pix2pix's losses with the entry's."""
        entry = self.entries[name]
        losses = {key: value for key, value in self.parser()["losses"].items() if key != entry.replaces}
        return losses | ({name: {**entry.config, "weight": weight}} if entry.config else {})

    def trainer(self, parser: ConfigParser, epochs: int) -> TranslationTrainer:
        """Networks, data and optimisers from the seed."""
        set_determinism(int(parser.get_parsed_content("seed")))
        return TranslationTrainer(
            parser.get_parsed_content("device"),
            epochs,
            parser.get_parsed_content("train::dataloader"),
            parser.get_parsed_content("method"),
            seed=parser.get_parsed_content("seed"),
            threads=1,
        )


def batches(parser: ConfigParser, split: str) -> list[dict[str, Tensor]]:
    """Every fourth slice of a split, without augmentation."""
    parser["val_split"], parser["val_every"] = split, 4
    return list(parser.get_parsed_content("validate::dataloader"))


def held_out(study: Study) -> dict[str, dict[str, Tensor]]:
    """Every fourth slice of each head that does not train: ``(N, 1, X, Y)`` of source, target and mask, by head."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for split in ("validation", "test"):  # nothing is chosen by validation here
        parser = study.parser()
        parser["val_split"], parser["val_every"] = split, 4
        dataset = parser.get_parsed_content("validate::dataset")
        for index, told in enumerate(dataset.data):
            item = dataset[index]
            for key in ("source", "target", "mask"):
                found.setdefault(told["case"], {}).setdefault(key, []).append(
                    torch.as_tensor(item[key]).as_subclass(Tensor)
                )
    return {head: {key: torch.stack(planes) for key, planes in images.items()} for head, images in found.items()}


def train_start(study: Study) -> None:
    """The pix2pix that every training goes on from."""
    path = study.folder / "start.pt"
    if not path.is_file():
        trainer = study.trainer(study.parser(), study.start)
        trainer.run()
        with written_whole(path) as temporary:
            torch.save({name: network.state_dict() for name, network in trainer.method.networks.items()}, temporary)


def load_start(study: Study, method: Method) -> None:
    """Weights of the common start; optimisers begin anew."""
    state = torch.load(study.folder / "start.pt", weights_only=True)
    for name, network in method.networks.items():
        network.load_state_dict(state[name])
