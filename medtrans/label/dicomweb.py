"""Studies of a DICOMweb server: series fetched when they are asked for, converted as `medtrans convert` does."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.interfaces.exception import ImageNotFoundException
from pydicom import dcmread
from pydicom.uid import UID

from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.label.asked import SeriesListing
from medtrans.label.listing import VOLUMES
from medtrans.label.within import NamedWithin
from medtrans.scans import Conversion, convert_export
from medtrans.scans.dicomweb import Access, fetch_series, search_series
from medtrans.scans.dicomweb.connection import connect
from medtrans.scans.dicomweb.refusals import refusal
from medtrans.scans.dicomweb.searching import instances_there

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
        pet_unit: of PET volumes, see :class:`medtrans.scans.Conversion`.

    Raises:
        InputError: the address, the credentials or the unit cannot be; the cache cannot be written.
    """

    def __init__(
        self, url: str, modalities: Iterable[str], cache: Path, access: Access | None = None, pet_unit: str = "suv"
    ) -> None:
        self.url, self.access, self.conversion = url.rstrip("/"), access or Access(), Conversion(pet_unit=pet_unit)
        self.listing = SeriesListing(self.url, modalities, self.access)
        kept_as = self.url if pet_unit == "suv" else f"{self.url} {pet_unit}"  # volumes of one unit must not be others'
        super().__init__(cache / hashlib.sha256(kept_as.encode()).hexdigest()[:16], extensions=VOLUMES)
        self.folder = Path(self.root)

    def name(self) -> str:
        """The address of the service."""
        return self.url

    def list_images(self) -> list[str]:
        """SeriesInstanceUIDs, without those of series that medtrans derived: these can be asked for all the same.

        Raises:
            InputError: the server cannot be reached, or lets us not in.
        """
        return [str(series.SeriesInstanceUID) for series in self.listing.now()]

    def status(self) -> dict[str, Any]:
        """Counts; as of the last answer where the server gives none, so that all else works without it."""
        listed = {str(series.SeriesInstanceUID) for series in self.listing.lately()}
        with self.alone:
            studies = [study.labels for study in self._datastore.objects.values()]
            tags = sorted({tag for labels in studies for tag in labels})
            return {
                "total": len(listed),
                "completed": len(self.get_labeled_images()),
                "label_tags": {tag: sum(tag in labels for labels in studies) for tag in tags},
            }

    def json(self) -> dict[str, Any]:
        """MONAI Label's list, with the series that were not asked for yet.

        Raises:
            InputError: the server cannot be reached, or lets us not in.
        """
        listed = super().json()
        known = listed["objects"]
        for series in self.listing.now():
            told = {"image": {"ext": ".nii.gz", "info": {"Modality": str(series.get("Modality", ""))}}, "labels": {}}
            known.setdefault(str(series.SeriesInstanceUID), told)
        return listed

    def get_image_uri(self, image_id: str) -> str:
        """Path of the volume, of the images that the server has now; its sidecar lies beside it.

        Raises:
            ImageNotFoundException: the server has no such series.
            InputError: the server cannot be reached, or the series is refused, or is more than one volume.
        """
        volume = self.folder / f"{image_id}.nii.gz"
        with self._of_one(image_id):
            folder = self._current(image_id)
            if not volume.is_file():
                self._convert(folder, volume)
                self.refresh()  # so that targets can be kept with it
        return str(volume)

    def series_folder(self, image_id: str) -> Path:
        """The DICOM files of a series, fetched whole or not at all.

        Raises:
            ImageNotFoundException: the server has no such series.
            InputError: the server cannot be reached.
        """
        with self._of_one(image_id):
            return self._current(image_id)

    @contextmanager
    def _of_one(self, image_id: str) -> Iterator[None]:
        """Nobody else fetches or converts this series: no thread, and no other process, such as that of a batch."""
        if not UID(image_id).is_valid:
            raise ImageNotFoundException(f"{image_id!r} is no SeriesInstanceUID")
        with FileLock(self.folder / f".{image_id}.lock"):
            yield

    def _current(self, image_id: str) -> Path:
        """The folder of the series, fetched again where the server has other images of it by now."""
        folder = self.folder / image_id
        study, there = self._on_server(image_id)
        if not there:
            self._forget(image_id)
            self.refresh()
            raise ImageNotFoundException(f"The DICOMweb server has no series {image_id}")
        if not folder.is_dir() or _images_in(folder) != there:
            fresh = self.folder / f".fetched-{image_id}"
            shutil.rmtree(fresh, ignore_errors=True)  # of one who was killed
            fetch_series(self.url, study, image_id, fresh, self.access)
            self._forget(image_id)
            fresh.rename(folder)
        return folder

    def _on_server(self, image_id: str) -> tuple[str, set[str]]:
        """StudyInstanceUID, and the SOPInstanceUIDs of the series there; none where it is gone."""
        found = search_series(self.url, {"SeriesInstanceUID": image_id}, self.access)
        if not found:
            return "", set()
        study = str(found[0].StudyInstanceUID)
        try:
            return study, instances_there(connect(self.url, self.access), study, image_id)
        except Exception as error:
            raise refusal(error, self.url) or error from error

    def _forget(self, image_id: str) -> None:
        """Drop what was made of an earlier state of the series, its volume first: that would be given to clients."""
        for ending in (".nii.gz", ".json"):
            (self.folder / f"{image_id}{ending}").unlink(missing_ok=True)
        shutil.rmtree(self.folder / image_id, ignore_errors=True)

    def _convert(self, folder: Path, volume: Path) -> None:
        with tempfile.TemporaryDirectory(dir=volume.parent, prefix=".converting-") as work:
            table = convert_export(folder, Path(work), self.conversion)
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


def _images_in(folder: Path) -> set[str]:
    """SOPInstanceUIDs of the files of a fetched series."""
    headers = (dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]) for path in folder.iterdir())
    return {str(header.SOPInstanceUID) for header in headers}
