"""Studies of a DICOMweb server: series fetched when they are asked for, converted as `medtrans convert` does."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monailabel.interfaces.exception import ImageNotFoundException
from pydicom.dataset import Dataset
from pydicom.uid import UID

from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.label.studies import NamedWithin
from medtrans.scans import convert_export
from medtrans.scans.dicomweb import Access, fetch_series, search_series

CONVERTED = ("converted", "kept")


class DicomWebStudies(NamedWithin):
    """The series of some modalities; the id of one is its SeriesInstanceUID.

    MONAI Label's own class for DICOMweb converts by ITK, knows no SUV and stores labels as segmentations. Here a series
    goes through `medtrans convert`, so that the volume is that of the exported files, and targets stay in the cache.

    Args:
        url: root of the service.
        modalities: DICOM's codes, such as MR.
        cache: folder of fetched series and their volumes.
        access: how the server lets us in.

    Raises:
        InputError: the address or the credentials cannot be.
    """

    def __init__(self, url: str, modalities: Iterable[str], cache: Path, access: Access | None = None) -> None:
        self.url, self.access, self.modalities = url.rstrip("/"), access or Access(), sorted(set(modalities))
        folder = cache / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        super().__init__(str(folder), extensions=("*.nii.gz",))
        self.folder = Path(self._datastore.image_path()).resolve()

    def name(self) -> str:
        """The address of the service."""
        return self.url

    def series(self) -> list[Dataset]:
        """What the server tells of the series of the modalities that are translated.

        Raises:
            InputError: the server cannot be reached, or lets us not in.
        """
        of_each = [search_series(self.url, {"Modality": name}, self.access) for name in self.modalities]
        return [series for of_one in of_each for series in of_one]

    def list_images(self) -> list[str]:
        """SeriesInstanceUIDs, of original and derived series alike."""
        return [str(series.SeriesInstanceUID) for series in self.series()]

    def json(self) -> dict[str, Any]:
        """MONAI Label's list, with the series that were not asked for yet."""
        listed = super().json()
        known = listed["objects"]
        for series in self.series():
            told = {"image": {"ext": ".nii.gz", "info": {"Modality": str(series.get("Modality", ""))}}, "labels": {}}
            known.setdefault(str(series.SeriesInstanceUID), told)
        return listed

    def get_image_uri(self, image_id: str) -> str:
        """Path of the volume, fetched and converted when it is asked for first; its sidecar lies beside it.

        Raises:
            ImageNotFoundException: the server has no such series.
            InputError: the series is refused, or is more than one volume.
        """
        if not UID(image_id).is_valid:
            raise ImageNotFoundException(f"{image_id!r} is no SeriesInstanceUID")
        volume = self.folder / f"{image_id}.nii.gz"
        if not volume.is_file():
            self._convert(self.series_folder(image_id), volume)
            self._reconcile_datastore()  # so that targets can be kept with it
        return str(volume)

    def series_folder(self, image_id: str) -> Path:
        """The DICOM files of a series, fetched whole or not at all.

        Raises:
            ImageNotFoundException: the server has no such series.
        """
        folder = self.folder / image_id
        if not folder.is_dir():
            found = search_series(self.url, {"SeriesInstanceUID": image_id}, self.access)
            if not found:
                raise ImageNotFoundException(f"The DICOMweb server has no series {image_id}")
            fetch_series(self.url, str(found[0].StudyInstanceUID), image_id, folder, self.access)
        return folder

    def _convert(self, folder: Path, volume: Path) -> None:
        with tempfile.TemporaryDirectory(dir=volume.parent, prefix=".converting-") as work:
            table = convert_export(folder, Path(work))
            done = table[table["status"].isin(CONVERTED)]
            if len(done) != 1:
                reasons = "; ".join(sorted(set(table["reason"].dropna().astype(str)) - {""}))
                problem = f"is {len(done)} volumes, not one" + (f": {reasons}" if reasons else "")
                raise InputError(f"series {folder.name}", problem, "Convert it with `medtrans convert` and choose one")
            made = Path(work, done.iloc[0]["path"])
            sidecar = made.with_name(made.name.removesuffix(".gz").removesuffix(".nii") + ".json")
            for source, target in ((sidecar, volume.with_name(f"{folder.name}.json")), (made, volume)):
                with written_whole(target) as temporary:
                    shutil.copyfile(source, temporary)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a target volume in the cache; nothing is sent to the server.

        Raises:
            ImageNotFoundException: the server has no such series.
            InputError: see :meth:`NamedWithin.save_label`.
        """
        self.get_image_uri(image_id)
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refused: images come from the DICOMweb server.

        Raises:
            InputError: always.
        """
        raise InputError("these studies", "are of a DICOMweb server", "Send images to the server itself")

    def remove_image(self, image_id: str) -> None:
        """Refused likewise.

        Raises:
            InputError: always.
        """
        raise InputError("these studies", "are of a DICOMweb server", "Remove images on the server itself")

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series of the server without a target volume in the cache."""
        labelled = set(self.get_labeled_images())
        return [image for image in self.list_images() if image not in labelled]
