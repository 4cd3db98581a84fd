"""A MONAI Label train task: a bundle trained on the studies that have a target volume."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.train import TrainTask

from medtrans.errors import InputError
from medtrans.label.options import TrainingOptions
from medtrans.label.served import ServedBundle
from medtrans.label.told import logged_without_folders, refusal
from medtrans.label.training import latest_stats, train_on_pairs

EDITABLE = ("max_epochs", "val_split", "pretrained", "device")  # what a client may set


class BundleTrainer(TrainTask):
    """Train a bundle on pairs of image and final label; the result is a model beside the bundle's own.

    Args:
        bundle: what is trained.
        folder: of its trainings.
        options: as the server was started with; clients may change some of them.
    """

    def __init__(self, bundle: ServedBundle, folder: Path, options: TrainingOptions) -> None:
        super().__init__(f"Train {bundle.metadata.get('name') or bundle.name} on the studies that have a target volume")
        self.bundle, self.folder, self.options = bundle, folder, options

    def config(self) -> dict[str, Any]:
        """What a client may set, as it stands; an empty device is the config's choice."""
        train = json.loads((self.bundle.folder / "configs" / "train.json").read_text(encoding="utf-8"))
        standing = {key: getattr(self.options, key) for key in EDITABLE}
        return standing | {
            "max_epochs": self.options.max_epochs or train.get("max_epochs"),
            "device": self.options.device or "",
        }

    def stats(self) -> dict[str, Any]:
        """What the latest training came to; empty before."""
        return _without_places(latest_stats(self.folder) or {})

    def chosen(self, request: Mapping[str, Any]) -> TrainingOptions:
        """The options, with what a client chose.

        Raises:
            InputError: a value is none that can be.
        """
        return dataclasses.replace(
            self.options, **{key: request[key] for key in EDITABLE if request.get(key, "") not in ("", None)}
        )

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; MONAI Label calls it in a process of its own.

        Raises:
            MONAILabelException: the studies or the settings are refused.
        """
        given = [self.options.recipe, *self.options.overlays]
        paths = [self.bundle.folder, self.bundle.models, self.folder, *(Path(path) for path in given if path)]
        bundle, models = self.bundle.folder, self.bundle.models
        try:
            options = self.chosen(request)
            pairs = datastore.pairs() if hasattr(datastore, "pairs") else datastore.datalist()
            with logged_without_folders(paths):
                stats = train_on_pairs(bundle, models, pairs, self.folder, options)
        except InputError as error:  # MONAI Label shows the traceback, that of a cause as well
            raise MONAILabelException(MONAILabelError.APP_TRAIN_FAILED, refusal(error, paths)) from None
        print(json.dumps(_without_places(stats)), flush=True)  # MONAI Label shows the last lines of a task
        return _without_places(stats)


def _without_places(stats: Mapping[str, Any]) -> dict[str, Any]:
    """What a training came to, without the server's folders."""
    return {key: value for key, value in stats.items() if key not in ("model", "models")}
