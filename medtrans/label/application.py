"""The MONAI Label app: trained bundles as models, bundles as trainers, studies of a folder or a DICOMweb server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First

from medtrans.cohorts.inputs import DICOM_MODALITY
from medtrans.cohorts.selection import plain_unit
from medtrans.errors import InputError
from medtrans.label.dicomweb import DicomWebStudies
from medtrans.label.options import TrainingOptions
from medtrans.label.served import OF_STUDIES, ServedBundle, TrainedHere
from medtrans.label.studies import StudiesFolder
from medtrans.label.trainer import BundleTrainer
from medtrans.label.transit import Transit
from medtrans.label.translation import LIKE, TranslationTask
from medtrans.scans.dicomweb import Access, send_series

NAME = "medtrans"
DESCRIPTION = "Medical image-to-image translation: every model answers with a synthetic volume, not for diagnosis"
CHANNELS = "channels"  # of a request: the volumes of further source modalities


class TranslationApp(MONAILabelApp):
    """The app that `medtrans label` starts.

    Args:
        app_dir: the folder of this app, nothing is written there.
        studies: folder, or address of a DICOMweb server.
        conf: ``{"medtrans": JSON}`` with ``bundles`` (see :meth:`ServedBundle.to_json`), ``work`` (folder for what is
            on its way, fetched and trained), ``access`` to a DICOMweb server, and ``training``, what
            :class:`~medtrans.label.options.TrainingOptions` takes.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.options = json.loads(conf["medtrans"])
        self.bundles = [ServedBundle.of_json(record) for record in self.options["bundles"]]
        self.work = Path(self.options["work"])
        self.transit = Transit(self.work)
        user, token_file, ca = (self.options["access"][key] for key in ("user", "token_file", "ca"))
        self._access = Access(user, token_file and Path(token_file), ca and Path(ca))
        super().__init__(app_dir, studies, conf, name=NAME, description=DESCRIPTION, version="2.0")

    def init_infers(self) -> dict[str, InferTask]:
        """Every direction of every bundle; those that are not trained (yet) are not shown."""
        here = [
            TrainedHere(bundle.name + OF_STUDIES, bundle.folder, trainings(bundle, self.work), bundle.settings)
            for bundle in self.bundles
        ]
        return {
            name: TranslationTask(bundle, direction, self.transit.folder, self._send)
            for bundle in [*self.bundles, *here]
            for name, direction in bundle.directions()
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        """Every bundle can be trained on the studies that have a target."""
        options = TrainingOptions(**self.options["training"])
        return {bundle.name: BundleTrainer(bundle, trainings(bundle, self.work), options) for bundle in self.bundles}

    def init_strategies(self) -> dict[str, Strategy]:
        """The next study without a target."""
        return {"first": First()}

    def init_datastore(self) -> Datastore:
        """The studies: a folder, or a DICOMweb server's series of the modalities that are translated."""
        if self.studies.startswith(("http://", "https://")):
            sources = self._sources()
            place = self.work / "dicomweb"
            return DicomWebStudies(self.studies, dicom_modalities(sources), place, self._access, pet_unit(sources))
        return StudiesFolder(self.studies, watch=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)

    def _sources(self) -> list[Mapping[str, Any]]:
        """What trained models know of each of their source modalities."""
        trained = [task for task in self.init_infers().values() if task.is_valid()]
        return [entry for task in trained for entry in task.modalities["source"]]

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Translate an image of the studies, or one that came with the request; no other path of this machine.

        Args:
            request: ``model``, ``image`` and what the model's config names; ``channels``: names of images in these
                studies, for the further source modalities of a model that has several; ``push``: also send a derived
                DICOM series to the DICOMweb server that the image is from; ``save_label``: also keep the volume with
                the image, as its label ``original``. Of the endpoint alone: ``upload``, the path of what came instead
                of ``image``, and ``folder``, where the volume is written.

        Raises:
            MONAILabelException: the model, an image or a setting is refused.
        """
        store = datastore or self.datastore()
        wanted = dict(request) | {CHANNELS: [store.get_image_uri(name) for name in _names(request.get(CHANNELS))]}
        wanted["image"] = request.get("upload") or store.get_image_uri(str(request["image"]))
        wanted[LIKE] = series_behind(str(request["image"]), store) if request.get("push") else ""
        result = super().infer(wanted, store)
        if request.get("save_label"):
            try:
                self._keep(request, result, store)
            except Exception:
                Path(result["file"]).unlink(missing_ok=True)
                raise
        return result

    def _keep(self, request: Mapping[str, Any], result: Mapping[str, Any], store: Datastore) -> None:
        """Keep a synthetic volume with its study, never in the place of a real target."""
        if request.get("upload"):
            raise InputError("save_label", "needs an image of the studies", "Add it first with PUT /datastore/image")
        tag, told = DefaultLabelTag.ORIGINAL.value, {"params": result["params"]}
        store.save_label(str(request["image"]), result["file"], tag, told)

    @property
    def trainers(self) -> dict[str, BundleTrainer]:
        """By name of the bundle."""
        return self._trainers

    def batch_infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Translate many studies; MONAI Label's own task counts GPUs and fails where there is none."""
        return super().batch_infer({**request, "multi_gpu": False}, datastore)

    def _send(self, folder: Path) -> None:
        """Put a derived series where the studies are from."""
        send_series(folder, self.studies, self._access)

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """Nothing: training starts when it is asked for."""
        return {}

    def _download_dcmqi_tools(self) -> None:
        """Not done: nothing is fetched from elsewhere, and no segmentation is written."""


def dicom_modalities(sources: Sequence[Mapping[str, Any]]) -> set[str]:
    """DICOM's codes of source modalities; every one of them where none says its own."""
    kinds = {DICOM_MODALITY.get(entry.get("kind", "")) for entry in sources}
    return {kind for kind in kinds if kind} or set(DICOM_MODALITY.values())


def pet_unit(sources: Sequence[Mapping[str, Any]]) -> str:
    """What PET is converted to: the unit that all models of PET were trained in, else SUV by body weight."""
    units = {plain_unit(str(entry.get("unit", ""))).replace("/", "") for entry in sources if entry.get("kind") == "PET"}
    return units.pop() if len(units) == 1 and units <= {"suv", "suvlbm", "suvbsa", "bqml"} else "suv"


def _names(channels: Any) -> list[str]:
    """The names of further channels' images.

    Raises:
        InputError: it is no list of names.
    """
    if not isinstance(channels or [], list) or not all(isinstance(name, str) for name in channels or []):
        raise InputError("channels", "is no list of names", 'Write for example ["case1/PD"]')
    return channels or []


def trainings(bundle: ServedBundle, work: Path) -> Path:
    """Folder of a bundle's trainings on these studies."""
    return work / "training" / bundle.name


def series_behind(image: str, store: Datastore) -> Path:
    """The DICOM files that an image was made from.

    Raises:
        InputError: the studies are no DICOMweb server's.
    """
    if not isinstance(store, DicomWebStudies):
        raise InputError("push", "needs the studies of a DICOMweb server", "Use `medtrans translate --dicom` instead")
    return store.series_folder(image)
