"""MONAI Label's list of the volumes of a folder, for several threads at once and thousands of volumes."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

VOLUMES = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha")
# Of MONAI Label's methods, those that read or change the list: some empty it for a moment.
OF_THE_LIST = (
    "datalist", "get_image_uri", "get_image_info", "get_label_uri", "get_label_info", "get_labels_by_image_id",
    "get_labeled_images", "get_unlabeled_images", "list_images", "add_image", "remove_image", "save_label",
    "remove_label", "update_image_info", "update_label_info", "refresh", "status", "json", "_reconcile_datastore",
)  # fmt: skip


class SharedList(LocalDatastore):
    """A list that one thread at a time reads or changes, as long as it has the re-entrant lock ``alone``.

    Args:
        folder: of the volumes.
        options: of MONAI Label's class.
    """

    def __init__(self, folder: str, **options: Any) -> None:
        self.alone = threading.RLock()
        super().__init__(folder, **options)

    def _to_id(self, file: str) -> tuple[str, str]:
        """Id and ending; MONAI Label removes the ending wherever in the name it occurs."""
        for ending in (pattern[1:] for pattern in VOLUMES):
            if file.endswith(ending):
                return file.removesuffix(ending), ending
        return os.path.splitext(file)

    def _add_non_existing_images(self) -> int:
        """List new images; MONAI Label's own looks through all names for each."""
        self._init_from_datastore_file()
        listed, count = self._datastore.objects, 0
        for file in self._list_files(self._datastore.image_path(), self._extensions):
            image_id, ending = self._to_id(file)
            if image_id not in listed:
                listed[image_id] = ImageLabelModel(image=_entry(file, ending))
                count += 1
        return count

    def _add_non_existing_labels(self, tag: str) -> int:
        """List new labels, likewise; those of no image are left out."""
        self._init_from_datastore_file()
        count = 0
        for file in self._list_files(self._datastore.label_path(tag), self._extensions):
            label_id, ending = self._to_id(file)
            study = self._datastore.objects.get(label_id)
            if study is not None and tag not in study.labels:
                study.labels[tag] = _entry(file, ending)
                count += 1
        return count


def _entry(file: str, ending: str) -> DataModel:
    return DataModel(ext=ending, info={"ts": int(time.time()), "name": file})


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def locked(self: SharedList, *args: Any, **options: Any) -> Any:
        with self.alone:
            return method(self, *args, **options)

    return locked


for _name in OF_THE_LIST:
    setattr(SharedList, _name, _alone(getattr(LocalDatastore, _name)))
