"""A datastore out of which neither names nor links lead: what it gives, writes and removes lies in its folder."""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from monailabel.interfaces.exception import ImageNotFoundException

from medtrans.errors import InputError
from medtrans.files import unwritable
from medtrans.label.listing import VOLUMES, SharedList

LABELS, LABELLED = "labels", "final"
TAG = re.compile(r"[\w-]+")


def checked_name(name: str) -> str:
    """The id of an image, where it cannot lead out of the folder, or in among the labels.

    Raises:
        InputError: it is absolute, goes upwards, is hidden, is no plain text, or is of a label.
    """
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and not any(sign in name for sign in ("\\", ":", "\0"))
    if not name or not plain or name.startswith("/") or any(part.startswith(".") for part in parts):
        raise InputError(f"the name {name!r}", "is none of a study", "Use a name that GET /datastore/?output=all lists")
    if not parts or parts[0].casefold() == LABELS:
        raise InputError(f"the name {name!r}", "is not that of an image: labels lie there", "Use another name")
    return name


def checked_tag(tag: str) -> str:
    """The tag of a label, one part of a path.

    Raises:
        InputError: it is anything but letters, digits, ``_`` and ``-``.
    """
    if not TAG.fullmatch(tag):
        raise InputError(f"the tag {tag!r}", "is none of a label", "Use letters, digits, _ and -, such as final")
    return tag


def is_name(name: str) -> bool:
    """Whether an image can have this name."""
    try:
        return bool(checked_name(name))
    except InputError:
        return False


class NamedWithin(SharedList):
    """A datastore whose names and links cannot lead out of it; every method that takes a name checks it first.

    A link to another file of the folder is as good as a file. To remove or replace it touches the link alone.

    Args:
        folder: of the volumes.
        options: of MONAI Label's class.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], **options: Any) -> None:
        self.root = os.path.realpath(folder)
        with _refused(str(folder)):
            super().__init__(str(folder), **options)

    def _filename(self, id: str, ext: str) -> str:  # noqa: A002  MONAI Label's name
        return super()._filename(checked_name(id), ext)

    def _within(self, path: str | os.PathLike[str]) -> bool:
        """Whether it lies in the folder when all links are followed."""
        real = os.path.realpath(path)
        return real == self.root or real.startswith(os.path.join(self.root, ""))

    def _place(self, folder: str, name: str) -> Path:
        """Where a file is or will be; it may itself be a link, the folders above it lead nowhere else."""
        path = Path(folder, name)
        if not self._within(path.parent):
            raise InputError(f"the name {name!r}", "leads out of the studies", "Use another name")
        return path

    def _image_place(self, image_id: str, ending: str) -> Path:
        return self._place(self._datastore.image_path(), self._filename(image_id, ending))

    def _label_place(self, image_id: str, tag: str, ending: str) -> Path:
        return self._place(self._datastore.label_path(checked_tag(tag)), self._filename(image_id, ending))

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image.

        Raises:
            ImageNotFoundException: there is none of this name.
        """
        path = super().get_image_uri(checked_name(image_id))
        if not path or not self._within(path) or not os.path.isfile(path):
            raise ImageNotFoundException(f"There is no image {image_id} in these studies")
        return path

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of an image, but for where it lies; empty where there is none, or a link leads elsewhere."""
        info = super().get_image_info(checked_name(image_id))
        path = info.pop("path", "")
        return info if path and self._within(path) else {}

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label; empty where there is none, or a link leads elsewhere."""
        path = super().get_label_uri(checked_name(label_id), checked_tag(label_tag))
        return path if path and self._within(path) else ""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image under a name; one that is there already is never replaced, on the list or not.

        Raises:
            InputError: the name is taken or cannot be one, the file is no volume, or the folder cannot be written.
        """
        with self.alone:
            _check_type(image_filename)
            place = self._image_place(image_id, "")
            if image_id in self._datastore.objects or _taken(place):
                raise InputError(f"the image {image_id}", "is there already", "Remove it first, or use another name")
            with _refused(f"the image {image_id}"):
                place.parent.mkdir(parents=True, exist_ok=True)
                return super().add_image(image_id, image_filename, image_info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a target volume with an image, in place of one that is there.

        Raises:
            InputError: the tag cannot be one, the file is no volume, or the folder cannot be written.
            ImageNotFoundException: there is no such image.
        """
        with self.alone:
            _check_type(label_filename)
            place = self._label_place(image_id, label_tag, self._to_id(os.path.basename(label_filename))[1])
            if image_id not in self._datastore.objects:
                raise ImageNotFoundException(f"There is no image {image_id} in these studies")
            before = self._datastore.label(image_id, label_tag)
            with _refused(f"the label of {image_id}"):
                place.parent.mkdir(parents=True, exist_ok=True)
                if before:  # of another ending perhaps
                    self._label_place(image_id, label_tag, before.ext).unlink(missing_ok=True)
                if place.is_symlink():  # else what it leads to would be overwritten
                    place.unlink()
                return super().save_label(image_id, label_filename, label_tag, label_info)

    def remove_image(self, image_id: str) -> None:
        """Remove an image with its labels.

        Raises:
            ImageNotFoundException: there is no such image.
            InputError: it cannot be removed.
        """
        with self.alone, _refused(f"the image {image_id}"):
            study = self._datastore.objects.get(checked_name(image_id))
            if study is None:
                raise ImageNotFoundException(f"There is no image {image_id} in these studies")
            for tag, label in study.labels.items():
                self._label_place(image_id, tag, label.ext).unlink(missing_ok=True)
            self._image_place(image_id, study.image.ext).unlink(missing_ok=True)
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label, if there is one.

        Raises:
            InputError: it cannot be removed.
        """
        with self.alone, _refused(f"the label of {label_id}"):
            label = self._datastore.label(checked_name(label_id), checked_tag(label_tag))
            if label:
                self._label_place(label_id, label_tag, label.ext).unlink(missing_ok=True)
            self.refresh()

    def pairs(self) -> list[dict[str, str]]:
        """Paths of image and final label of every study that has one, and ``subject`` where a client said whose."""
        with self.alone:
            found = []
            for image_id, study in self._datastore.filter_by_tag(LABELLED).items():
                image = self._image_place(image_id, study.image.ext)
                label = self._label_place(image_id, LABELLED, study.labels[LABELLED].ext)
                if all(self._within(path) and os.path.isfile(path) for path in (image, label)):
                    subject = study.image.info.get("subject")
                    whose = {"subject": str(subject)} if subject else {}
                    found.append({"image": os.path.realpath(image), "label": os.path.realpath(label)} | whose)
            return found

    def datalist(self, full_path: bool = True) -> list[dict[str, str]]:
        """Image and final label of every study that has one, and nothing else: MONAI Label takes all for paths."""
        found = [{key: pair[key] for key in ("image", "label")} for pair in self.pairs()]
        if full_path:
            return found
        return [{key: os.path.relpath(path, self.root) for key, path in pair.items()} for pair in found]

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """Volumes in a folder, hidden ones, such as are being written, and links to elsewhere left out."""
        found = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if is_name(name) and self._within(os.path.join(path, file))}

    def _add_non_existing_labels(self, tag: str) -> int:
        usable = TAG.fullmatch(tag) and self._within(self._datastore.label_path(tag))
        return super()._add_non_existing_labels(tag) if usable else 0

    def _remove_non_existing(self) -> int:
        self._init_from_datastore_file()
        return self._drop_refused() + super()._remove_non_existing()

    def _drop_refused(self) -> int:
        """Take from the list what leads elsewhere: links change, and the list is a file that others may write."""
        objects, before = self._datastore.objects, 0
        for image_id, study in list(objects.items()):
            before += 1 + len(study.labels)
            images = self._datastore.image_path()
            if not is_name(image_id) or not self._within(os.path.join(images, image_id + study.image.ext)):
                del objects[image_id]
                continue
            for tag, label in list(study.labels.items()):
                place = os.path.join(self._datastore.label_path(tag), image_id + label.ext)
                if not TAG.fullmatch(tag) or not self._within(place):
                    del study.labels[tag]
        return before - sum(1 + len(study.labels) for study in objects.values())


def _check_type(path: str) -> None:
    if not any(fnmatch.fnmatch(Path(path).name, pattern) for pattern in VOLUMES):
        known = ", ".join(pattern[1:] for pattern in VOLUMES)
        raise InputError(f"a file of type {''.join(Path(path).suffixes) or '(none)'}", "is no volume", f"Use {known}")


def _taken(place: Path) -> bool:
    """Whether a volume of this name is on the disk, also where the disk does not tell ``ONE`` from ``one``."""
    if not place.parent.is_dir():
        return False
    wanted = {_alike(place.name + pattern[1:]) for pattern in VOLUMES}
    return any(_alike(name) in wanted for name in os.listdir(place.parent))


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@contextmanager
def _refused(subject: str) -> Iterator[None]:
    """Say in words that something cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(subject, error) from error
