"""A MONAI Label inference task: one direction of a trained bundle, from a volume to the synthetic volume."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from medtrans.cohorts import translation_items
from medtrans.cohorts.modalities import read_modalities
from medtrans.cohorts.selection import plain_unit
from medtrans.engines.many_cases import Inference
from medtrans.engines.synthesis import Method, record, sources_of
from medtrans.errors import InputError, input_error_behind
from medtrans.files import file_hash
from medtrans.label.derived import send_derived
from medtrans.label.served import ServedBundle, modality_names
from medtrans.label.told import refusal, without_folders

FLOATS = ("float32", "float", "<f4", "f4")
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
SOURCE_UNIT = "source_unit"  # of a request: what its image is in, where the client knows
LIKE = "like"  # of a request: folder of the DICOM series that the image was made from
EDITABLE = {"overlap": 0.25, "batch_size": 8}  # of the inference config, what a client may set for one request
NOTICE = "SYNTHETIC, NOT FOR DIAGNOSIS"
logger = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()  # a network and its windows are one


class TranslationTask(InferTask):
    """A model of the server; the same configuration as `medtrans translate`, so the same voxels.

    It answers with a float32 volume on the source's own grid, in the target's unit. The weights are read with the first
    request, and again when they have changed.

    Args:
        bundle: what is served.
        direction: ``"source_to_target"`` or ``"target_to_source"``.
        folder: for the volumes that are on their way to a client.
        send: called with the folder of a derived series, to put it where the source series is from.
    """

    def __init__(
        self, bundle: ServedBundle, direction: str, folder: Path, send: Callable[[Path], Any] | None = None
    ) -> None:
        metadata = bundle.metadata
        super().__init__(InferType.OTHERS, [], 3, str(metadata.get("description", "")))
        self.bundle, self.direction, self.folder, self.send = bundle, direction, folder, send
        self.title, self.version = str(metadata.get("name") or bundle.name), str(metadata.get("version") or "")
        self._built: tuple[Any, ...] = (None, None, "")  # what decides the translator, it, and the hash of its weights

    def is_valid(self) -> bool:
        """Whether it is trained."""
        return self.bundle.translates(self.direction)

    def get_path(self, validate: bool = True) -> str:
        """The file of its weights."""
        return str(self.bundle.weights(self.direction))

    @property
    def modalities(self) -> dict[str, Any]:
        """The contract of models/modalities.json, in this direction."""
        return read_modalities(self.bundle.models / "modalities.json", self.direction)

    def info(self) -> dict[str, Any]:
        """What clients are told: source, target and unit beside what MONAI Label tells of every model."""
        modalities = self.modalities
        source, target = (modality_names(modalities, side) for side in ("source", "target"))
        return super().info() | {
            "description": f"{self.title}: {', '.join(source)} to {', '.join(target)}",
            "bundle": self.title,
            "version": self.version,
            "direction": self.direction,
            "source": ", ".join(source),
            "target": ", ".join(target),
            "sources": source,
            "targets": target,
            "source_units": [str(entry.get("unit") or "") for entry in modalities["source"]],
            "unit": modalities["target"][0]["unit"],
            "notice": NOTICE,
        }

    def config(self) -> dict[str, Any]:
        """What a client may set for one request."""
        return EDITABLE | {key: value for key, value in self.bundle.settings.items() if key in EDITABLE}

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Translate ``request["image"]``, a path, with the volumes of further channels in ``request["channels"]``.

        Returns:
            The file, and what is to be known of it.

        Raises:
            MONAILabelException: the volume is refused, with the line that `medtrans translate` would say.
        """
        try:
            ending, target = self._ending(request), self._target(request)
            place = Path(request.get("folder") or self.folder)
            with _one_at_a_time, tempfile.TemporaryDirectory(dir=place) as work:
                outputs, seconds = self._translate(request, Path(work))
                sent = send_derived(outputs[target], request[LIKE], self.send) if request.get(LIKE) else {}
                path = _kept(outputs[target], place, ending)
            return str(path), self._told(path, target, seconds) | sent
        except MONAILabelException:
            raise
        except Exception as error:  # MONAI raises its own from what a component of the config refuses
            known = input_error_behind(error)
            if known is None:
                raise
            told = refusal(known, [str(request["image"])])
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, told) from error

    def _ending(self, request: Mapping[str, Any]) -> str:
        """The file type; a client that asks for integers would show labels."""
        wanted = request.get("result_dtype") or "float32"
        if wanted not in FLOATS:
            problem = f"would cut physical units to {wanted}: a synthetic volume is no label map"
            raise InputError("result_dtype", problem, "Leave it out, and load the answer as a scalar volume")
        ending = str(request.get("result_extension") or ENDINGS[0])
        if ending not in ENDINGS:
            raise InputError(f"result_extension {ending}", "is not known", f"Use one of {', '.join(ENDINGS)}")
        return ending

    def _target(self, request: Mapping[str, Any]) -> int:
        """Which of the target modalities is sent: an answer holds one volume."""
        names = modality_names(self.modalities, "target")
        wanted = request.get("target") or names[0]
        if wanted not in names:
            raise InputError(f"target {wanted!r}", "is not what this model makes", f"Use one of {', '.join(names)}")
        return names.index(wanted)

    def _translate(self, request: Mapping[str, Any], work: Path) -> tuple[list[Path], float]:
        """The written volumes, one a target, and how many seconds it took."""
        paths = [str(request["image"]), *(str(path) for path in request.get("channels") or ())]
        sources = self.modalities["source"]
        if len(paths) != len(sources):
            named = ", ".join(entry["modality"] for entry in sources)
            problem = f"translates {len(sources)} volumes ({named}), but was given {len(paths)}"
            raise InputError(self.title, problem, 'Name the others of the same subject in "channels", in this order')
        _refuse_unit(str(request.get(SOURCE_UNIT) or ""), sources[0])
        items = translation_items(paths, sources, work=work)
        if len(items) != 1:
            raise InputError("image", f"holds {len(items)} volumes", "Send one volume at a time")
        translator = self._translator(request, work)
        outcome = translator.outcome(items[0])
        if outcome["status"] == "failed":
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, without_folders(outcome["reason"], paths))
        outputs = [work / name for name in outcome["output"].split(";")]
        method = Method.of(self.bundle.folder, self._built[2])
        record(outputs, self.modalities["target"], sources_of(items[0]["source"]), method)
        return outputs, float(outcome["seconds"])

    def _translator(self, request: Mapping[str, Any], work: Path) -> Any:
        """The bundle's own evaluator, built again when the weights or the settings have changed."""
        settings = self.bundle.settings | {key: _number(key, request[key]) for key in EDITABLE if key in request}
        files = [self.bundle.weights(self.direction), self.bundle.models / "modalities.json"]
        decides = json.dumps(settings, sort_keys=True), [file.stat().st_mtime_ns for file in files]
        if self._built[0] != decides:
            self._built = decides, self._evaluator(settings), file_hash(files[0])
        evaluator = self._built[1]
        evaluator.table = work / evaluator.table.name
        for transform in evaluator.postprocess.transforms:
            if hasattr(transform, "output_dir"):
                transform.output_dir = work
        return evaluator

    def _evaluator(self, settings: Mapping[str, Any]) -> Any:
        config = self.bundle.folder / "configs" / "inference.json"
        options = {
            **settings,
            **({"direction": self.direction} if "direction" in self.bundle.inference else {}),
            "bundle_root": str(self.bundle.folder),
            "ckpt_dir": str(self.bundle.models),
            "output_dir": str(self.folder),
            "dataset#data": [],
        }
        return Inference((str(config),), json.dumps(options)).workflow().parser.get_parsed_content("evaluator")

    def _told(self, path: Path, target: int, seconds: float) -> dict[str, Any]:
        """What goes with a volume."""
        entry = self.modalities["target"][target]
        lower, upper = entry["window"][:2]
        return {
            "target": entry["modality"],
            "unit": entry["unit"],
            "display": {"window": upper - lower, "level": (lower + upper) / 2},
            "model": self.title,
            "version": self.version,
            "model_sha256": self._built[2],
            "notice": NOTICE,
            "file": path.name,
            "seconds": seconds,
        }


def _number(key: str, value: Any) -> float:
    """What a client sets, where it is a number: a text beginning with $ would be run by the config."""
    if isinstance(value, bool) or not isinstance(value, (int, type(EDITABLE[key]))):
        raise InputError(f"{key} {value!r}", "is no such number", f"Give one such as {EDITABLE[key]}")
    return value


def _refuse_unit(unit: str, entry: Mapping[str, Any]) -> None:
    """Refuse an image in another unit than the model's, as the sidecar of a converted one would be."""
    wanted = str(entry.get("unit") or "")
    if plain_unit(unit) and plain_unit(wanted) and plain_unit(unit) != plain_unit(wanted):
        problem = f"is in {unit}, but the model translates {entry['modality']} in {wanted}"
        raise InputError("image", problem, f"Give it in {wanted}, or use another bundle")


def _kept(volume: Path, folder: Path, ending: str) -> Path:
    """The volume under a name of its own, in the wanted format; MONAI Label removes it when it is sent."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="synthetic-", suffix=ending, delete=False) as file:
        path = Path(file.name)
    if ending == ".nii.gz":
        shutil.move(volume, path)
    else:
        import SimpleITK

        SimpleITK.WriteImage(SimpleITK.ReadImage(str(volume)), str(path))
    return path
