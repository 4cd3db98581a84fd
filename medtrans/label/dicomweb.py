"""Studies of a DICOMweb server: series fetched when they are asked for, converted as `medtrans convert` does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.exception import ImageNotFoundException
from pydicom.uid import UID

from medtrans.errors import InputError
from medtrans.files import folder_written_whole, written_whole
from medtrans.label.studies import NamedWithin
from medtrans.scans import convert_export

CONVERTED = ("converted", "kept")


class DicomWebStudies(DICOMWebDatastore, NamedWithin):
    """The series of some modalities; the id of one is its SeriesInstanceUID.

    MONAI Label's own datastore converts by ITK, knows no SUV and stores labels as segmentations. Here the series goes
    through `medtrans convert`, so that the volume is the same as of the exported files, and targets stay in the cache.

    Args:
        client: of the DICOMweb server.
        modalities: DICOM's codes, such as MR.
        cache: folder of fetched series and their volumes.
    """

    def __init__(self, client: Any, modalities: Iterable[str], cache: Path) -> None:
        self.modalities = sorted(set(modalities))
        super().__init__(client, search_filter={}, cache_path=str(cache), convert_to_nifti=True)

    def list_images(self) -> list[str]:
        """SeriesInstanceUIDs of the modalities that the models translate."""
        return [str(found["0020000E"]["Value"][0]) for found in self._series]

    @property
    def _series(self) -> list[dict[str, Any]]:
        found = [self._client.search_for_series(search_filters={"Modality": name}) for name in self.modalities]
        return [series for of_one in found for series in of_one]

    def get_image_uri(self, image_id: str) -> str:
        """Path of the volume, fetched and converted when it is asked for first; its sidecar lies beside it.

        Raises:
            ImageNotFoundException: the server has no such series.
            InputError: the series is refused, or is more than one volume.
        """
        if not UID(image_id).is_valid:
            raise ImageNotFoundException(f"{image_id!r} is no SeriesInstanceUID")
        volume = Path(self._datastore.image_path()).resolve() / f"{image_id}.nii.gz"
        if not volume.is_file():
            self._convert(self.series_folder(image_id), volume)
            self._listed(image_id, volume)
        return str(volume)

    def series_folder(self, image_id: str) -> Path:
        """The DICOM files of a series, fetched whole or not at all.

        Raises:
            ImageNotFoundException: the server has no such series.
        """
        folder = Path(self._datastore.image_path()).resolve() / image_id
        if not folder.is_dir():
            if not self._client.search_for_series(search_filters={"SeriesInstanceUID": image_id}):
                raise ImageNotFoundException(f"The DICOMweb server has no series {image_id}")
            with folder_written_whole(folder) as work:
                dicom_web_download_series(None, image_id, str(work), self._client)
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

    def _listed(self, image_id: str, volume: Path) -> None:
        """Note the volume in MONAI Label's list, so that targets can be kept with it."""
        self._reconcile_datastore()
        self._datastore.objects[image_id].image.info["SeriesInstanceUID"] = image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:  # type: ignore[override]
        """Keep a target volume in the cache; nothing is sent to the server."""
        self.get_image_uri(image_id)
        return NamedWithin.save_label(self, image_id, label_filename, label_tag, label_info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refused: images come from the DICOMweb server.

        Raises:
            InputError: always.
        """
        raise InputError("these studies", "are of a DICOMweb server", "Send images to the server itself")

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:  # type: ignore[override]
        """Path of a target volume in the cache."""
        return NamedWithin.get_label_uri(self, label_id, label_tag)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series with a target volume in the cache."""
        return LocalDatastore.get_labeled_images(self, label_tag, labels)

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The other series of the server."""
        labelled = set(self.get_labeled_images())
        return [image for image in self.list_images() if image not in labelled]

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Source and target of every series with a target volume in the cache."""
        return LocalDatastore.datalist(self, full_path)
