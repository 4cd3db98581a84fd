"""The endpoints that take something from a client: volumes to translate, studies, targets, trainings.

They stand in for MONAI Label's own, under the same addresses. Those let a request choose paths, tags and environments
of the server, and leave files behind where a request fails. Translations run in threads, so that the server answers
meanwhile.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.background import BackgroundTasks
from monailabel.config import settings
from monailabel.endpoints import infer, train
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.utils.async_tasks.task import AsyncTask

from medtrans.errors import InputError
from medtrans.label.application import TranslationApp
from medtrans.label.trainer import EDITABLE as OF_TRAINING
from medtrans.label.translation import EDITABLE as OF_TRANSLATION
from medtrans.label.translation import SOURCE_UNIT

# What a client may say of one translation; clients of MONAI Label say more, which is passed over.
OF_REQUEST = {
    *(*OF_TRANSLATION, SOURCE_UNIT, "target", "channels"),
    *("result_extension", "result_dtype", "push", "save_label"),
}
OF_BATCH = {*OF_TRANSLATION, "max_batch_size"}
WRITES = ("push", "save_label")

router = APIRouter()
USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
MAYBE_FILE, FILE, LABEL = File(None), File(...), File(...)


@router.post("/infer/{model}", tags=["Infer"])
def translate(
    request: Request,
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    params: str = Form("{}"),
    file: UploadFile | None = MAYBE_FILE,
    output: Literal["image", "json", "all"] | None = None,
    user: User = USER,
) -> Any:
    """Translate a study of the server, or a file that comes along."""
    label: TranslationApp = request.app.state.label
    chosen = {key: value for key, value in _object(params).items() if key in OF_REQUEST}
    if any(chosen.get(key) for key in WRITES):
        _check_role(user, settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)
    if file is None and not image:
        raise InputError("the request", "names no image and brings no file", "Add ?image=NAME, or the form field file")
    with label.transit.request() as folder:
        if file is not None:
            chosen |= {"upload": str(folder.received(file))}
        result = label.infer({**chosen, "model": model, "image": image, "folder": str(folder.path)})
        answer = infer.send_response(label.datastore(), result, output, background_tasks)
        background_tasks.tasks.clear()  # the folder is removed with all that is in it
        background_tasks.add_task(folder.remove)
        folder.keep()
        return answer


@router.post("/batch/infer/{model}", tags=["Infer"])
def translate_many(
    request: Request,
    model: str,
    images: Literal["all", "labeled", "unlabeled"] = "all",
    params: dict[str, Any] | None = None,
    user: User = ADMIN,
) -> Any:
    """Translate studies of the server in a process of its own, and keep the volumes as their label ``original``."""
    if model not in request.app.state.label.info()["models"]:
        raise InputError(f"the model {model!r}", "does not exist", "GET /info/ lists them")
    chosen = {key: value for key, value in (params or {}).items() if key in OF_BATCH}
    if not all(isinstance(value, (int, float)) for value in chosen.values()):
        raise InputError("a setting of the batch", "is no number", f"Give numbers for {', '.join(sorted(OF_BATCH))}")
    asked = {"model": model, "images": images, "save_label": True, "label_tag": DefaultLabelTag.ORIGINAL.value}
    task, detail = AsyncTask.run("batch_infer", request=asked, params=chosen)
    if task is None:
        raise HTTPException(429, detail)
    return task


@router.post("/train/{model}", tags=["Train"])
def train_model(
    request: Request,
    model: str,
    params: dict[str, Any] | None = None,
    enqueue: bool = False,
    user: User = ADMIN,
) -> Any:
    """Train in a process of its own, with the settings that a client may choose and no others."""
    trainers = request.app.state.label.trainers
    if model not in trainers:
        raise InputError(f"the trainer {model!r}", "does not exist", "GET /info/ lists them")
    unknown = sorted(set(params or {}) - {*OF_TRAINING, "model"})
    if unknown:
        raise InputError(f"the setting {unknown[0]!r}", "is not a client's to choose", f"Use {', '.join(OF_TRAINING)}")
    trainers[model].chosen(params or {})  # refuses what is none
    return train.run_model(model, params, False, enqueue)


@router.put("/datastore/image", tags=["Datastore"])
@router.put("/datastore/", tags=["Datastore"], include_in_schema=False)
def add_image(
    request: Request,
    image: str = "",
    params: str = Form("{}"),
    file: UploadFile = FILE,
    user: User = ANNOTATOR,
) -> dict[str, str]:
    """Add a volume to the studies."""
    label, info = request.app.state.label, _object(params)
    with label.transit.request() as folder:
        volume = folder.received(file)
        name = image or Path(file.filename or "").name.split(".")[0]
        return {"image": label.datastore().add_image(name, str(volume), info)}


@router.put("/datastore/label", tags=["Datastore"])
def save_label(
    request: Request,
    image: str,
    tag: str = DefaultLabelTag.FINAL.value,
    params: str = Form("{}"),
    label: UploadFile = LABEL,
    user: User = ANNOTATOR,
) -> dict[str, str]:
    """Keep a target volume with a study."""
    app, info = request.app.state.label, _object(params)
    with app.transit.request() as folder:
        kept = app.datastore().save_label(image, str(folder.received(label)), tag, info)
        return {"image": image, "label": kept}


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request, user: User = USER) -> dict[str, Any]:
    """How the endpoints are called."""
    return request.app.openapi()


@router.get("/", include_in_schema=False)
def page(request: Request, user: User = USER) -> Response:
    """What the server offers, for people."""
    from medtrans.label.page import start_page

    return Response(start_page(request.app.state.label.info()), media_type="text/html")


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError as error:
        raise InputError("params", f"is no JSON ({error})", 'Write for example {"overlap": 0.5}') from error
    if not isinstance(content, dict):
        raise InputError("params", "is no JSON object", 'Write for example {"overlap": 0.5}')
    return content


def _check_role(user: User, role: str) -> None:
    if settings.MONAI_LABEL_AUTH_ENABLE and role not in user.roles:
        raise HTTPException(403, f'Role "{role}" is required to write to the studies')
