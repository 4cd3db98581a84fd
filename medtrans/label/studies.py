"""The volumes that a server shows: a folder of NIfTI files, however deep, and no path outside it."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from medtrans.cohorts.cases import Cases
from medtrans.cohorts.exclusion import FILE as EXCLUDED
from medtrans.errors import InputError
from medtrans.files import check_writable
from medtrans.label.listing import VOLUMES
from medtrans.label.watching import Watcher
from medtrans.label.within import LABELS, NamedWithin, checked_name, is_name

TABLE = "cases.csv"
logger = logging.getLogger(__name__)


class StudiesFolder(NamedWithin):
    """A folder of volumes: flat, or as `medtrans convert` and `medtrans prepare` write them, in sub-folders.

    The id of a volume is its path in the folder, without its ending; of a data set its masks are left out. MONAI Label
    keeps its list in ``datastore_v2.json`` there, and targets in ``labels/final``.

    Args:
        folder: the studies.
        watch: look for new files all the time.

    Raises:
        InputError: the folder cannot be written, or its table of cases cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str], watch: bool = True) -> None:
        self._nameless = 0  # volumes whose names cannot be ids
        super().__init__(folder, labels_dir=LABELS, extensions=VOLUMES, auto_reload=False)
        self.watcher = self._watched() if watch else None

    def _watched(self) -> Watcher | None:
        """MONAI Label's own watching sees the volumes of the folder itself only."""
        observer = PollingObserver() if self._is_on_mount(self.root) else Observer()
        tables = (TABLE, EXCLUDED, os.path.basename(self._datastore_config_path))
        try:
            return Watcher(observer, Path(self.root), VOLUMES, tables, self.refresh)
        except OSError as error:
            logger.warning("new studies will not be seen until the server starts again (%s)", error.strerror)
            return None

    def remove_image(self, image_id: str) -> None:
        """Remove an image with its labels.

        Raises:
            ImageNotFoundException: there is no such image.
            InputError: it cannot be removed, or a table of cases names it.
        """
        with self.alone:
            volumes = data_set_volumes(Path(self.root)) or set()
            if checked_name(image_id) in self._datastore.objects and self.get_image_uri(image_id) in volumes:
                remedy = f"Leave its case out with {EXCLUDED}"
                raise InputError(f"the image {image_id}", "is part of a prepared data set", remedy)
            super().remove_image(image_id)

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """Volumes below ``path``, relative to it.

        Hidden ones are left out, those of this datastore's other lists, what links to elsewhere, and names that no
        client could ask for.
        """
        top = os.path.realpath(path)
        listed = list(self._volumes_below(top, patterns))
        usable = {name: name for name in listed if is_name(self._to_id(name)[0])}
        if top == self.root and len(listed) - len(usable) > self._nameless:
            self._nameless = len(listed) - len(usable)
            logger.warning("%d volumes are left out: their names hold \\, : or control characters", self._nameless)
        return usable

    def _volumes_below(self, top: str, patterns: Sequence[str]) -> Iterator[str]:
        wanted = data_set_volumes(Path(top))
        for folder, folders, files in os.walk(top):
            left_out = LABELS if folder == self.root else None
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name.casefold() != left_out)
            for name in sorted(files):
                if name.startswith(".") or not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                    continue
                path = os.path.join(folder, name)
                real = os.path.realpath(path) if os.path.islink(path) else path
                if os.path.isfile(real) and self._within(real) and (wanted is None or real in wanted):
                    yield Path(path).relative_to(top).as_posix()


def data_set_volumes(folder: Path) -> set[str] | None:
    """The files of a prepared data set's modalities, links followed; None where the folder is none."""
    if not (folder / TABLE).is_file():
        return None
    return {os.path.realpath(path) for case in Cases.read(folder) for path in case.volumes.values()}


def check_studies(folder: Path) -> None:
    """Say what to do with a folder that holds a scanner's export and no volumes, or cannot be written.

    Raises:
        InputError: it is no folder, holds DICOM files only, or MONAI Label could not keep its list there.
    """
    from pydicom.misc import is_dicom

    if not folder.is_dir():
        raise InputError(folder, "is no folder", "Give a folder of volumes, or the address of a DICOMweb server")
    files = [path for path in folder.rglob("*") if path.is_file()]
    volumes = any(fnmatch.fnmatch(path.name, pattern) for path in files for pattern in VOLUMES)
    if not volumes and any(is_dicom(path) for path in files[:50]):
        remedy = "Make volumes with `medtrans convert`, or give the address of the DICOMweb server that has them"
        raise InputError(folder, "holds DICOM files and no volumes", remedy)
    check_writable(folder)
