"""3D Slicer module: the volume in view goes to a medtrans server (MONAI Label), its synthetic counterpart comes back.

One file for Slicer 5, whose Python is 3.9 or newer: standard library and what Slicer brings, nothing to install. Add
the folder of this file to Slicer's "Additional module paths". :class:`Client` also works where there is no Slicer.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.parser import BytesHeaderParser
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

try:
    import ctk
    import qt
    import slicer
    import vtk
    from slicer.ScriptedLoadableModule import (
        ScriptedLoadableModule,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
        ScriptedLoadableModuleWidget,
    )
except ImportError:  # outside Slicer only the client is of use
    ScriptedLoadableModule = ScriptedLoadableModuleLogic = object
    ScriptedLoadableModuleTest = ScriptedLoadableModuleWidget = object

ADDRESS = "http://127.0.0.1:8000"
WARNING = "SYNTHETIC — NOT FOR DIAGNOSIS"
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd")
CONNECT_SECONDS = 10.0  # a server that does not even take the connection by then is not there
QUICK_SECONDS = 60.0  # questions that a server answers from memory; it answers none while it translates
LONG_SECONDS = 3600.0  # a large volume on a server without a GPU
BLOCK = 1 << 20  # bytes sent at a time
PET_UNITS, SUV_TYPE = "0054,1001", "0054,1006"  # in DICOM
LOOPBACK = ("127.0.0.1", "localhost", "::1")


# ---------------------------------------------------------------------------------------------------- the server


class ServerError(Exception):
    """What went wrong between this client and the server, in one line for the person at the screen."""


class NothingFoundError(ServerError):
    """The server knows no such thing (HTTP 404)."""


class Model(NamedTuple):
    """A translation that the server offers, as its ``/info/`` says it.

    ``options`` are the numbers of its configuration that a request may change (overlap, batch size), ``volumes`` how
    many it translates together, ``one_of_several`` whether it makes further targets, so that a request must name one,
    ``source_unit`` what the source must be in, empty where the server does not say so.
    """

    name: str
    source: str
    target: str
    unit: str
    description: str
    options: dict[str, float]
    volumes: int = 1
    one_of_several: bool = False
    source_unit: str = ""

    @property
    def title(self) -> str:
        """Such as ``PET (SUV) → CT (HU), medgan``."""
        source, target = (f" ({unit})" if unit else "" for unit in (self.source_unit, self.unit))
        return f"{self.source}{source} → {self.target}{target}, {self.name}"


class Answer(NamedTuple):
    """A translated volume: the ``path`` of its file and what the server says of it."""

    path: str
    params: dict[str, Any]


def models_of(info: dict[str, Any]) -> list[Model]:
    """Return the translations of an ``/info/``, one for each target of a model.

    Models that name no source and target are other apps' and left out.
    """
    models: list[Model] = []
    for name, about in sorted(info["models"].items()):
        if isinstance(about, dict) and about.get("source") and about.get("target"):
            models += _translations(name, about)
    return models


def _translations(name: str, about: dict[str, Any]) -> Iterator[Model]:
    targets = about.get("targets") or [about["target"]]
    unit = str(about.get("unit") or "") if len(targets) == 1 else ""  # that of the first; the answer says its own
    options = {
        key: value
        for key, value in (about.get("config") or {}).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    volumes = len(about.get("sources") or [about["source"]])
    source_units = about.get("source_units") or []
    source_unit = str(source_units[0] or "") if len(source_units) == volumes == 1 else ""
    description, several = str(about.get("description") or ""), len(targets) > 1
    for target in targets:
        yield Model(name, str(about["source"]), str(target), unit, description, options, volumes, several, source_unit)


NO_UNIT = ("", "1", "nounits", "nounit", "arbitrary", "au", "us", "none", "unknown")
SPELLINGS = {"hnsfu": "HU", "hu": "HU", "hounsfieldunit": "HU", "bqml": "Bq/ml", "suv": "SUV", "suvbw": "SUV"}


def plain_unit(unit: str) -> str:
    """Return one spelling for those of DICOM, UCUM and the server: ``HU``, ``Bq/ml``, ``SUV``; empty for none.

    SUV is by body weight; by lean body mass or surface it is another unit.
    """
    plain = re.sub(r"[^a-z0-9]", "", unit.lower())
    if "suv" in plain:
        plain = plain.replace("gml", "").replace("cm2ml", "")
        plain = "suvlbm" if plain.startswith("suvlbm") else plain
    return "" if plain in NO_UNIT else SPELLINGS.get(plain, plain)


class Client:
    """Talks to one MONAI Label server: one connection a request, errors as one-line :class:`ServerError`.

    ``token`` is sent as ``Authorization: Bearer`` and kept in memory only. Redirects are refused, so that neither token
    nor volume reaches another host. :meth:`cancel` ends an upload that runs in another thread.
    """

    def __init__(
        self, address: str = ADDRESS, token: str = "", quick: float = QUICK_SECONDS, slow: float = LONG_SECONDS
    ):
        self.address = _checked_address(address)
        self._token = _checked_token(token)
        self._quick, self._slow = quick, slow
        self._form: _Form | None = None
        self._cancelled = threading.Event()
        host = urlsplit(self.address).hostname
        self.encrypted = self.address.startswith("https:")
        self.local = host in LOOPBACK
        # A proxy of the institution must not see what stays on this computer.
        proxies = urllib.request.ProxyHandler({} if self.local else None)
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            proxies,
            _PlainHandler(),
            _EncryptedHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def info(self) -> dict[str, Any]:
        """Return what the server offers: ``models``, ``trainers``, ``datastore``."""
        info = self._json("GET", "/info/")
        if not (isinstance(info, dict) and isinstance(info.get("models"), dict)):
            raise ServerError(f"{self.address} answers, but not as a MONAI Label server does: check address and port.")
        return info

    def translate(self, model: str, volume: str, folder: str, params: dict[str, Any] | None = None) -> Answer:
        """Send the file ``volume`` to ``model`` and keep the synthetic volume in ``folder``.

        The server sees neither name nor place of the file. ``params`` go along as JSON (``{"overlap": 0.5}``).
        """
        asked = {"result_extension": ".nii.gz", "result_dtype": "float32", **(params or {})}
        form = _Form({"params": json.dumps(asked)}, "file", volume, self._cancelled)
        with self._open("POST", f"/infer/{quote(model, safe='')}?output=all", form) as response:
            body = _whole(response, self.address)
            return _answer(response.headers, body, folder)

    def add_image(self, case: str, volume: str, subject: str = "") -> None:
        """Put the file ``volume`` into the server's datastore as the source image of ``case``.

        ``subject`` goes along as who it is: pairs of one person must not both train and validate a model.
        """
        params = {"subject": checked_case(subject)} if subject else {}
        form = _Form({"params": json.dumps(params)}, "file", volume, self._cancelled)
        self._json("PUT", "/datastore/image?" + urlencode({"image": checked_case(case)}), form)

    def add_target(self, case: str, volume: str) -> None:
        """Put the file ``volume`` into the datastore as what ``case`` is to be translated to."""
        form = _Form({"params": "{}"}, "label", volume, self._cancelled)
        self._json("PUT", "/datastore/label?" + urlencode({"image": checked_case(case), "tag": "final"}), form)

    def remove_image(self, case: str) -> None:
        """Take ``case`` with its target out of the datastore."""
        self._json("DELETE", "/datastore/image?" + urlencode({"id": checked_case(case)}))

    def train(self, trainer: str, max_epochs: int, pretrained: bool = True) -> dict[str, Any]:
        """Start training on the pairs in the datastore; returns the task."""
        asked = json.dumps({"max_epochs": max_epochs, "pretrained": pretrained}).encode()
        return self._json("POST", f"/train/{quote(trainer, safe='')}", asked) or {}

    def training_status(self) -> dict[str, Any]:
        """Return the task that runs (``status``, ``details``), else the last one, else ``{}``."""
        for question in ("/train/?check_if_running=true", "/train/"):
            try:
                return self._json("GET", question) or {}
            except NothingFoundError:
                continue
        return {}

    def stop(self) -> dict[str, Any]:
        """Stop the training that runs; returns its task, ``{}`` where none ran."""
        return self._json("DELETE", "/train/") or {}

    def cancel(self) -> None:
        """End the uploads of this client; ask a new one from here on."""
        self._cancelled.set()

    @property
    def sent(self) -> float:
        """How much of the present upload is sent, 0 to 1."""
        form = self._form
        return form.sent / form.length if form else 0.0

    def _json(self, method: str, selector: str, body: bytes | _Form | None = None) -> Any:
        with self._open(method, selector, body) as response:
            text = _whole(response, self.address)
        try:
            return json.loads(text)
        except ValueError:
            raise ServerError(
                f"{self.address} answers, but not as a MONAI Label server does: check address and port."
            ) from None

    def _open(self, method: str, selector: str, body: bytes | _Form | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        patience = self._quick
        if isinstance(body, _Form):
            headers.update({"Content-Type": body.content_type, "Content-Length": str(body.length)})
            self._form, patience = body, self._slow
        elif body is not None:
            headers["Content-Type"] = "application/json"
        data: Any = body
        request = urllib.request.Request(self.address + selector, data, headers, method=method)
        try:
            return self._opener.open(request, timeout=patience)
        except urllib.error.HTTPError as refusal:
            raise _refused(refusal) from None
        except (OSError, http.client.HTTPException) as problem:
            raise _unreachable(problem, self.address, patience, self._cancelled) from None
        finally:
            if isinstance(body, _Form):
                body.close()


def checked_case(case: str) -> str:
    """Return ``case`` if a server can keep a file under it: letters, digits, ``-`` and ``_``."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", case):
        raise ServerError("An ID is 1 to 64 letters, digits, - or _, without the patient's name: choose another.")
    return case


def _checked_address(address: str) -> str:
    address = address.strip()
    if "://" not in address:
        address = "http://" + address
    address = address.rstrip("/")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and address.isascii()
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment or re.search(r"\s", address):
        raise ServerError(f"The server's address looks like {ADDRESS} or https://host/path: check what is entered.")
    return address


def _checked_token(token: str) -> str:
    token = token.strip()
    if not re.fullmatch(r"[!-~]*", token):  # what is wrong with it stays unsaid: messages get copied
        raise ServerError("The access token holds blanks or other characters that no token has: enter it again.")
    return token


class _QuickToConnect:
    """Waits CONNECT_SECONDS for the connection, and as long as the request says for the answer."""

    timeout: Any
    sock: Any

    def connect(self) -> None:
        patience, self.timeout = self.timeout, min(self.timeout, CONNECT_SECONDS)
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(patience)
        self.blocksize = BLOCK


class _Plain(_QuickToConnect, http.client.HTTPConnection):  # type: ignore[misc]
    pass


class _Encrypted(_QuickToConnect, http.client.HTTPSConnection):  # type: ignore[misc]
    pass


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Plain, request)


class _EncryptedHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Encrypted, request)


class _Form:
    """A ``multipart/form-data`` body (RFC 7578) that is read from the disk as it is sent."""

    def __init__(self, fields: dict[str, str], name: str, path: str, cancelled: threading.Event):
        boundary = secrets.token_hex(16)
        ending = next((end for end in VOLUME_ENDINGS if path.endswith(end)), "")
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="volume{ending}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        tail = f"\r\n--{boundary}--\r\n"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.length = len(head) + os.path.getsize(path) + len(tail)
        self.sent = 0
        self._cancelled = cancelled
        self._parts: list[Any] = [io.BytesIO(head.encode("ascii")), open(path, "rb"), io.BytesIO(tail.encode("ascii"))]  # noqa: SIM115

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, ``size`` at most, none at the end."""
        if self._cancelled.is_set():
            raise ConnectionAbortedError
        while self._parts:
            piece = self._parts[0].read(size)
            if piece:
                self.sent += len(piece)
                return piece
            self._parts.pop(0).close()
        return b""

    def close(self) -> None:
        """Let go of the file."""
        while self._parts:
            self._parts.pop().close()


def _whole(response: Any, address: str) -> bytes:
    try:
        return response.read()
    except (socket.timeout, TimeoutError):  # noqa: UP041 - two classes before Python 3.10
        raise ServerError(f"{address} stopped in the middle of its answer: try again.") from None
    except (OSError, http.client.HTTPException):
        raise ServerError(f"The connection to {address} broke off in the middle of the answer: try again.") from None


def _answer(headers: Any, body: bytes, folder: str) -> Answer:
    """Keep the image of a ``multipart/form-data`` answer in ``folder``."""
    boundary = headers.get_boundary()
    if headers.get_content_maintype() != "multipart" or not boundary:
        raise ServerError("The server answered without a volume: is the model one of medtrans?")
    params: dict[str, Any] = {}
    path = ""
    for part, content in _parts_of(body, b"--" + boundary.encode("ascii", "replace")):
        name = part.get_param("name", header="content-disposition")
        if name == "params":
            params = _params(content)
        elif name == "image":
            # Of the server's file name only a known ending counts: it must not choose where the file goes.
            ending = next((end for end in VOLUME_ENDINGS if (part.get_filename() or "").endswith(end)), ".nii.gz")
            path = os.path.join(folder, "synthetic" + ending)
            with open(path, "wb") as file:
                file.write(content)
    if not path:
        raise ServerError("The server answered without a volume: is the model one of medtrans?")
    return Answer(path, params)


def _parts_of(body: bytes, mark: bytes) -> Iterator[tuple[Any, memoryview]]:
    """Yield headers and content of the parts; the content is a view of ``body``, volumes are large."""
    view = memoryview(body)
    start = body.find(mark) + len(mark)
    while start >= len(mark) and body[start : start + 2] != b"--":
        end = body.find(b"\r\n" + mark, start)
        head = body.find(b"\r\n\r\n", start, end)
        if end < 0 or head < 0:
            raise ServerError("The server's answer is incomplete: try again.")
        yield BytesHeaderParser().parsebytes(body[start:head].lstrip()), view[head + 4 : end]
        start = end + 2 + len(mark)


def _params(content: memoryview) -> dict[str, Any]:
    try:
        params = json.loads(bytes(content))
    except ValueError:
        return {}
    return params if isinstance(params, dict) else {}


def _refused(refusal: urllib.error.HTTPError) -> ServerError:
    """Say in one line why the server refused: ``{"detail": …}``, text or nothing but a status."""
    with refusal:
        if 300 <= refusal.code < 400:
            return ServerError(f"The server sends us on to another address (HTTP {refusal.code}): enter that one.")
        reason = _reason(refusal) or str(refusal.reason)
    if refusal.code == 401 or refusal.code == 403:
        return ServerError(f"The server does not let us in (HTTP {refusal.code}: {reason}): enter a valid token.")
    if reason == "Internal Server Error":
        reason = "an internal error, the server's log says which"
    kind = NothingFoundError if refusal.code == 404 else ServerError
    return kind(f"The server refused (HTTP {refusal.code}): {reason}")


def _reason(refusal: urllib.error.HTTPError) -> str:
    try:
        text = refusal.read(1 << 16).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return ""
    try:
        detail = json.loads(text)
    except ValueError:
        detail = "" if text.startswith("<") else text  # a web server's own page says no more than the status
    if isinstance(detail, dict):
        detail = detail.get("detail", "")
    if isinstance(detail, list):  # what FastAPI says of fields that do not fit
        detail = "; ".join(str(item.get("msg", item)) if isinstance(item, dict) else str(item) for item in detail)
    return " ".join(str(detail).split())[:300]


def _unreachable(problem: Exception, address: str, patience: float, cancelled: threading.Event) -> ServerError:
    """Say in one line why no answer came."""
    cause = getattr(problem, "reason", problem)
    if cancelled.is_set():
        return ServerError("Cancelled.")
    if isinstance(cause, (socket.timeout, TimeoutError)):  # two classes before Python 3.10
        return ServerError(f"{address} did not answer in time ({patience:g} s): is it busy, or the address wrong?")
    if isinstance(cause, ConnectionRefusedError):
        return ServerError(f"No server listens at {address}: is it started, and address and port right?")
    if isinstance(cause, socket.gaierror):
        return ServerError(f"There is no computer of the name in {address}: check the address.")
    if isinstance(cause, (BrokenPipeError, ConnectionResetError, http.client.HTTPException)):
        return ServerError(f"{address} broke off the connection: is the volume too large for it, or did it stop?")
    return ServerError(f"No connection to {address}: {' '.join(str(cause).split())[:200]}")


class Job:
    """A function that runs in a thread of its own and never touches Slicer; ``folder`` goes when it is abandoned."""

    def __init__(self, work: Callable[[], Any], folder: str = ""):
        self.result: Any = None
        self.error: Exception | None = None
        self.folder = folder
        self._work = work
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finished(self, patience: float = 0.02) -> bool:
        """Whether it is done; waits ``patience`` seconds, in which Slicer's Python lets the thread run."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._abandoned = True
        self.clear()

    def clear(self) -> None:
        """Remove its files, which hold a patient's images."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:
            self.error = error
        if self._abandoned:
            self.clear()


# ------------------------------------------------------------------------------------------------------- Slicer


class MedTransTranslate(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent: Any):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedTrans Translate"
        parent.categories = ["Image Synthesis"]
        parent.dependencies = []
        parent.contributors = ["The medtrans developers"]
        parent.helpText = (
            "Sends the chosen volume to a medtrans server (MONAI Label), which translates it to another modality, and "
            "shows the synthetic volume under it. Pairs of volumes can be given to the server, and a model trained on "
            f"them.<br><b>{WARNING}</b>"
        )
        parent.acknowledgementText = "medtrans is built on MONAI; Apache-2.0."


class MedTransTranslateLogic(ScriptedLoadableModuleLogic):
    """Volumes of the scene to files and back; runs in Slicer's main thread, knows no widgets."""

    def new_folder(self) -> str:
        """Return a new folder for files of one request, which only this user can read."""
        return tempfile.mkdtemp(prefix="medtrans-", dir=slicer.app.temporaryPath)

    def export(self, volume: Any, folder: str, name: str = "volume") -> str:
        """Write a scalar volume, without its transform, as NIfTI (mm, RAS); returns the path.

        The volume's own file and its name stay as they are.
        """
        if volume is None or volume.GetImageData() is None:
            raise ServerError("There are no voxels in this volume: load or choose another one.")
        path = os.path.join(folder, name + ".nii.gz")
        if not write_volume(volume, path) or not os.path.isfile(path):
            raise ServerError("Slicer could not write this volume as NIfTI: is it a scalar volume on a regular grid?")
        return path

    def checked_unit(self, volume: Any, model: Model) -> str:
        """Return the unit of the voxels, empty where nothing says it; one that ``model`` does not take is refused."""
        unit = unit_of(volume)
        if unit and plain_unit(model.source_unit) not in ("", unit):
            raise ServerError(
                f"This volume is in {unit}, but {model.name} translates {model.source} in {model.source_unit}: choose "
                "another volume. If its voxels were converted since it was loaded, save it as NIfTI and load that."
            )
        return unit

    def load(self, answer: Answer, volume: Any, model: Model) -> Any:
        """Bring the answer into the scene as a scalar volume on ``volume``'s grid, under its transform; the node.

        An answer on another grid is refused: shown over the source it would mislead.
        """
        name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} synthetic {model.target} - NOT FOR DIAGNOSIS")
        properties = {"name": name, "labelmap": False, "singleFile": True, "show": False}
        node = slicer.util.loadVolume(answer.path, properties)
        if not same_grid(node, volume):
            slicer.mrmlScene.RemoveNode(node)
            raise ServerError("The server's volume lies on another grid than the source and is not shown.")
        node.SetIJKToRASMatrix(ijk_to_ras(volume))  # to the last digit: NIfTI rounds directions
        node.SetName(name)
        node.SetAttribute("medtrans.warning", WARNING)
        node.SetAttribute("medtrans.model", model.name)
        node.SetAttribute("medtrans.unit", str(answer.params.get("unit", model.unit)))
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        forget_file(node)
        set_window(node, answer.params.get("display"))
        return node

    def show(self, node: Any, volume: Any, opacity: float = 0.0) -> None:
        """Show ``node`` in all slice views, ``volume`` over it with ``opacity`` 0 to 1."""
        slicer.util.setSliceViewerLayers(background=node, foreground=volume, foregroundOpacity=opacity)

    def check_pair(self, volume: Any, target: Any) -> None:
        """Refuse a pair that teaches nothing or something wrong: one volume twice, synthetic, moved by a transform.

        Grids may differ: the server resamples when it prepares the pairs.
        """
        if volume is None or target is None:
            raise ServerError("Choose the source volume above and the target volume that belongs to it.")
        if volume.GetID() == target.GetID():
            raise ServerError("Source and target are the same volume: choose the real image of the target modality.")
        if any(node.GetAttribute("medtrans.model") for node in (volume, target)):
            raise ServerError("One of the pair is synthetic: a model learns from real images only.")
        if volume.GetTransformNodeID() != target.GetTransformNodeID():
            raise ServerError("Source and target are under different transforms: harden them (module Transforms).")


def write_volume(volume: Any, path: str) -> bool:
    """Write a volume without its transform; its own file stays what it was. Whether that went well."""
    if hasattr(slicer.util, "exportNode"):
        return bool(slicer.util.exportNode(volume, path, {}))
    # Slicers without it only save, and what is saved belongs to the new file from then on: so a copy is.
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "volume")
    try:
        copy.SetAndObserveImageData(volume.GetImageData())
        copy.SetIJKToRASMatrix(ijk_to_ras(volume))
        return bool(slicer.util.saveNode(copy, path, {}))
    finally:
        forget_file(copy)
        slicer.mrmlScene.RemoveNode(copy)


def unit_of(volume: Any) -> str:
    """Return the unit of a volume as Slicer knows it, else that of its DICOM images (PET); empty where none says it."""
    units = volume.GetVoxelValueUnits()
    if units is not None:
        return plain_unit(units.GetCodeValue() or units.GetCodeMeaning() or "")
    images = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not images or database is None:
        return ""
    unit, kind = (str(database.instanceValue(images[0], tag) or "").strip() for tag in (PET_UNITS, SUV_TYPE))
    return plain_unit(f"SUV{kind or 'bw'}" if unit == "GML" else "SUVbsa" if unit == "CM2ML" else unit)


def ijk_to_ras(volume: Any) -> Any:
    """Return the ``vtkMatrix4x4`` from voxels to mm of a volume."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def same_grid(one: Any, other: Any) -> bool:
    """Whether the corners of two volumes lie within a quarter of the smallest voxel and they have as many voxels."""
    if one.GetImageData() is None or other.GetImageData() is None:
        return False
    shape = tuple(one.GetImageData().GetDimensions())
    if shape != tuple(other.GetImageData().GetDimensions()):
        return False
    first, second = ijk_to_ras(one), ijk_to_ras(other)
    tolerance = min(other.GetSpacing()) / 4
    for corner in itertools.product(*[(0, size - 1) for size in shape]):
        for row in range(3):
            shift = sum(
                (first.GetElement(row, axis) - second.GetElement(row, axis)) * index
                for axis, index in enumerate((*corner, 1))
            )
            if abs(shift) > tolerance:
                return False
    return True


def forget_file(node: Any) -> None:
    """Let Slicer ask where to save: the file that the volume came from is removed."""
    storage = node.GetStorageNode()
    if storage is not None:
        slicer.mrmlScene.RemoveNode(storage)
        node.SetAndObserveStorageNodeID(None)


def set_window(node: Any, display: Any) -> None:
    """Set the server's window and level, ``{"window": …, "level": …}`` in the volume's unit; else Slicer chooses."""
    node.CreateDefaultDisplayNodes()
    try:
        window, level = float(display["window"]), float(display["level"])
    except (KeyError, TypeError, ValueError):
        node.GetDisplayNode().SetAutoWindowLevel(True)
        return
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(window, level)


class MedTransTranslateWidget(ScriptedLoadableModuleWidget):
    """The panel: server, translation, training."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = MedTransTranslateLogic()
        self.client: Client | None = None
        self.models: list[Model] = []
        self.options: dict[str, Any] = {}
        self.trainers: dict[str, dict[str, Any]] = {}
        self._job: Job | None = None
        self._done: Callable[[Any], None] = print
        self._message = ""
        self._watch: Job | None = None
        self._timer = _timer(50, self.poll)
        self._training_timer = _timer(3000, self.ask_training)
        self._build_status()
        self._build_server()
        self._build_translation()
        self._build_training()
        self.layout.addStretch(1)
        self._enable()

    def cleanup(self) -> None:
        """Let go of requests when the module is closed or loaded anew."""
        self._training_timer.stop()
        self.cancel()

    # the panel

    def _build_status(self) -> None:
        warning = qt.QLabel(f"<b style='color:#b00020'>{WARNING}</b>")
        self.status = qt.QLabel("Connect to a server.")
        self.status.setWordWrap(True)
        self.cancel_button = _button("Cancel", "Do not wait for the server any longer.", self.cancel)
        for widget in (warning, self.status, self.cancel_button):
            self.layout.addWidget(widget)

    def _build_server(self) -> None:
        form = self._section("Server")
        self.address = qt.QLineEdit()
        self.address.text = str(qt.QSettings().value("MedTransTranslate/address", ADDRESS) or ADDRESS)
        self.token = qt.QLineEdit()
        self.token.setEchoMode(qt.QLineEdit.Password)
        self.token.setToolTip("Only for servers with authentication. It is kept in memory, never saved.")
        self.connect_button = _button("Connect", "List the models of this server.", self.connect)
        form.addRow("Address", self.address)
        form.addRow("Access token", self.token)
        form.addRow("", _button("Read token from file…", "The file holds the token and nothing else.", self.read_token))
        form.addRow(self.connect_button)

    def _build_translation(self) -> None:
        form = self._section("Translate")
        self.model_box = qt.QComboBox()
        self.model_box.connect("currentIndexChanged(int)", self.choose_model)
        self.source_box = _volume_box()
        self.source_box.connect("currentNodeChanged(vtkMRMLNode*)", self._enable)
        self.options_form = qt.QFormLayout()
        self.translate_button = _button("Translate", "Send the volume, show its synthetic counterpart.", self.translate)
        self.opacity = ctk.ctkSliderWidget()
        self.opacity.minimum, self.opacity.maximum, self.opacity.singleStep = 0.0, 1.0, 0.05
        self.opacity.value = 0.0
        self.opacity.connect("valueChanged(double)", self.set_opacity)
        form.addRow("Model", self.model_box)
        form.addRow("Source volume", self.source_box)
        form.addRow(self.options_form)
        form.addRow(self.translate_button)
        form.addRow("Source over synthetic", self.opacity)

    def _build_training(self) -> None:
        form = self._section("Train", collapsed=True)
        self.target_box = _volume_box(none=True)
        self.target_box.connect("currentNodeChanged(vtkMRMLNode*)", self._enable)
        self.subject = qt.QLineEdit()
        self.subject.text = _new_subject()
        self.subject.setToolTip("The same for all pairs of one person. Not the patient's name.")
        self.save_button = _button("Save target for training", "Give source and target to the server.", self.save_pair)
        self.trainer_box = qt.QComboBox()
        self.trainer_box.connect("currentIndexChanged(int)", self.choose_trainer)
        self.epochs = qt.QSpinBox()
        self.epochs.minimum, self.epochs.maximum, self.epochs.value = 1, 100000, 50
        self.pretrained = qt.QCheckBox("Go on from the server's weights")
        self.pretrained.checked = True
        self.train_button = _button("Train", "Train on the pairs that the server has.", self.train)
        self.stop_button = _button("Stop training", "Stop the training that runs on the server.", self.stop)
        self.training = qt.QLabel("")
        self.training.setWordWrap(True)
        form.addRow("Target volume", self.target_box)
        form.addRow("Subject ID", self.subject)
        form.addRow(self.save_button)
        form.addRow("Trainer", self.trainer_box)
        form.addRow("Epochs", self.epochs)
        for widget in (self.pretrained, self.train_button, self.stop_button, self.training):
            form.addRow(widget)

    def _section(self, title: str, collapsed: bool = False) -> Any:
        section = ctk.ctkCollapsibleButton()
        section.text, section.collapsed = title, collapsed
        self.layout.addWidget(section)
        return qt.QFormLayout(section)

    def _enable(self, *_: Any) -> None:
        """Only what can be done now can be pressed."""
        free = self._job is None
        source, target = self.source_box.currentNode(), self.target_box.currentNode()
        trainer = self.client is not None and bool(self.trainer_box.currentText)
        self.connect_button.enabled = free
        self.cancel_button.enabled = not free
        self.translate_button.enabled = bool(free and self.models and source)
        self.save_button.enabled = bool(free and self.client and source and target)
        self.train_button.enabled = self.stop_button.enabled = bool(free and trainer)

    # requests: in a thread, looked after by a timer, finished in the main thread

    def _start(self, message: str, work: Callable[[], Any], done: Callable[[Any], None], folder: str = "") -> None:
        self.status.text = self._message = message
        self._done = done
        self._job = Job(work, folder)
        self._enable()
        self._timer.start()

    def poll(self) -> None:
        """Look whether the request is done, then show what came of it."""
        job = self._job
        if job is None:
            return
        if not job.finished():
            sent = self.client.sent if self.client else 0.0
            self.status.text = f"{self._message} {sent:.0%} sent" if 0 < sent < 1 else self._message
            return
        self._timer.stop()
        self._job = None
        self._enable()
        error = job.error
        try:
            if error is None:
                self._done(job.result)
        except Exception as problem:
            error = problem
        job.clear()
        if error is not None:
            self._fail(error)

    def cancel(self) -> None:
        """Do not wait for the request any longer."""
        self._timer.stop()
        if self._job is None:
            return
        self._job.abandon()
        self._job = None
        if self.client is not None:
            self.client.cancel()
            self.client = Client(self.client.address, self.token.text)
        self.status.text = "Cancelled."
        self._enable()

    def _fail(self, error: Exception) -> None:
        """One message, never a traceback."""
        self.status.text = str(error) if isinstance(error, ServerError) else f"{type(error).__name__}: {error}"
        slicer.util.errorDisplay(self.status.text, windowTitle="MedTrans Translate")

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._fail(error)

    # what the buttons do

    def read_token(self) -> None:
        """Take the token from a file, without keeping where it is."""
        path = qt.QFileDialog.getOpenFileName(None, "File with the access token")
        if path:
            self._guarded(lambda: self._take_token(path))

    def _take_token(self, path: str) -> None:
        try:
            with open(path, encoding="utf-8") as file:
                self.token.text = _checked_token(file.read(1 << 16))
        except (OSError, UnicodeDecodeError):
            raise ServerError("This file cannot be read as text: choose the one with the access token.") from None

    def connect(self) -> None:
        """Ask the server what it offers."""
        self._guarded(self._connect)

    def _connect(self) -> None:
        self.models = []
        self.client = None
        client = Client(self.address.text, self.token.text)
        self._start(f"Asking {client.address} …", client.info, lambda info: self._connected(client, info))

    def _connected(self, client: Client, info: dict[str, Any]) -> None:
        self.client = client
        qt.QSettings().setValue("MedTransTranslate/address", client.address)
        models = models_of(info)
        self.model_box.clear()
        self.models = models
        for model in models:
            self.model_box.addItem(model.title)
        self.trainer_box.clear()
        self.trainers = {
            name: about.get("config") or {} for name, about in sorted((info.get("trainers") or {}).items())
        }
        for name in self.trainers:
            self.trainer_box.addItem(name)
        self.choose_trainer()
        self.choose_model()
        found = f"{len(models)} translations" if models else "No translation: is it a server of medtrans?"
        open_line = (
            "" if client.local or client.encrypted else " Not encrypted: token and images can be read on the way."
        )
        self.status.text = f"Connected to {client.address}. {found}.{open_line}"
        self._enable()
        self._training_timer.start()

    def choose_model(self, *_: Any) -> None:
        """Show the options of the chosen model."""
        while self.options_form.rowCount():
            self.options_form.removeRow(0)
        self.options = {}
        model = self._model()
        if model is None:
            return
        self.model_box.setToolTip(model.description)
        for key, value in model.options.items():
            box = self.options[key] = _number_box(value)
            self.options_form.addRow(key.replace("_", " "), box)

    def _model(self) -> Model | None:
        index = self.model_box.currentIndex
        return self.models[index] if 0 <= index < len(self.models) else None

    def translate(self) -> None:
        """Send the source volume to the chosen model."""
        self._guarded(self._translate)

    def _translate(self) -> None:
        client, model, volume = self.client, self._model(), self.source_box.currentNode()
        if client is None or model is None or volume is None:
            raise ServerError("Connect to a server and choose a model and a volume first.")
        if model.volumes > 1:
            raise ServerError(f"{model.name} translates {model.volumes} volumes together, this panel sends one.")
        params = {key: box.value for key, box in self.options.items()}
        unit = self.logic.checked_unit(volume, model)
        if unit:
            params["source_unit"] = unit
        if model.one_of_several:
            params["target"] = model.target
        folder = self.logic.new_folder()
        try:
            path = self.logic.export(volume, folder)
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        unsaid = f" It expects {model.source_unit}, this volume does not say its unit."
        self._start(
            f"{model.title}: the server is at work …" + (unsaid if model.source_unit and not unit else ""),
            lambda: client.translate(model.name, path, folder, params),
            lambda answer: self._translated(answer, volume, model),
            folder,
        )

    def _translated(self, answer: Answer, volume: Any, model: Model) -> None:
        if not slicer.mrmlScene.IsNodePresent(volume):
            raise ServerError("The source volume was closed meanwhile: the synthetic volume is not shown.")
        node = self.logic.load(answer, volume, model)
        self.opacity.value = 0.0
        self.logic.show(node, volume)
        unit = node.GetAttribute("medtrans.unit")
        unit = f" in {unit}" if unit else ""
        self.status.text = f"{node.GetName()}: synthetic {model.target}{unit} by {model.name}. {WARNING}"

    def set_opacity(self, value: float) -> None:
        """Fade the source in over the synthetic volume."""
        slicer.util.setSliceViewerLayers(foregroundOpacity=value)

    def save_pair(self) -> None:
        """Give source and target to the server's datastore."""
        self._guarded(self._save_pair)

    def _save_pair(self) -> None:
        client, subject = self.client, checked_case(self.subject.text.strip())
        volume, target = self.source_box.currentNode(), self.target_box.currentNode()
        self.logic.check_pair(volume, target)
        if client is None:
            raise ServerError("Connect to a server first.")
        case = checked_case(f"{subject}_{secrets.token_hex(4)}")
        folder = self.logic.new_folder()
        try:
            image, label = self.logic.export(volume, folder), self.logic.export(target, folder, "target")
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        work = functools.partial(_send_pair, client, case, subject, image, label)
        self._start(f"Sending the pair {case} …", work, lambda _: self._pair_saved(case, subject), folder)

    def _pair_saved(self, case: str, subject: str) -> None:
        self.status.text = f"The server keeps the pair as {case}. For the next one of this person, enter {subject}."
        self.subject.text = _new_subject()

    def choose_trainer(self, *_: Any) -> None:
        """Show what the chosen trainer would do by itself."""
        config = self.trainers.get(self.trainer_box.currentText) or {}
        if isinstance(config.get("max_epochs"), int):
            self.epochs.value = config["max_epochs"]
        self.pretrained.checked = bool(config.get("pretrained", True))

    def train(self) -> None:
        """Start training on the pairs in the server's datastore."""
        client, trainer = self.client, self.trainer_box.currentText
        if client is None or not trainer:
            return
        epochs, pretrained = int(self.epochs.value), bool(self.pretrained.checked)
        self._start(f"Starting {trainer} …", lambda: client.train(trainer, epochs, pretrained), self._training_begun)

    def stop(self) -> None:
        """Stop the training that runs."""
        client = self.client
        if client is not None:
            self._start("Stopping the training …", client.stop, self._training_begun)

    def _training_begun(self, task: dict[str, Any]) -> None:
        self.status.text = training_line(task)
        self.training.text = self.status.text
        self._training_timer.start()

    def ask_training(self) -> None:
        """Ask how the training is, one question at a time; a timer comes by until none runs."""
        client = self.client
        if self._watch is None:
            if client is None:
                self._training_timer.stop()
            elif self._job is None:  # while it translates, the server answers nothing else
                self._watch = Job(client.training_status)
        elif self._watch.finished():
            watch, self._watch = self._watch, None
            if watch.error is not None:
                self.training.text = f"{watch.error} It is asked again."  # a training outlives a busy network
            else:
                self._show_training(watch.result)

    def _show_training(self, task: dict[str, Any]) -> None:
        self.training.text = training_line(task)
        if task.get("status") not in ("SUBMITTED", "RUNNING"):
            self._training_timer.stop()
        if task.get("status") == "DONE":
            self.training.text += "\nConnect again to list what was trained."


def training_line(task: dict[str, Any]) -> str:
    """Return what a task of the server's training says, in one line."""
    if not task:
        return "No training runs."
    details = [str(line) for line in task.get("details") or () if str(line).strip()]
    last = f": {details[-1][:300]}" if details else ""
    return f"Training {str(task.get('status', 'unknown')).lower()}{last}"


def _send_pair(client: Client, case: str, subject: str, image: str, label: str) -> None:
    client.add_image(case, image, subject)
    try:
        client.add_target(case, label)
    except ServerError:
        with contextlib.suppress(ServerError):  # half a pair is of no use
            client.remove_image(case)
        raise


def _new_subject() -> str:
    return f"slicer-{secrets.token_hex(4)}"


def _timer(milliseconds: int, slot: Callable[[], None]) -> Any:
    timer = qt.QTimer()
    timer.setInterval(milliseconds)
    timer.connect("timeout()", slot)
    return timer


def _button(text: str, tip: str, slot: Callable[[], None]) -> Any:
    button = qt.QPushButton(text)
    button.setToolTip(tip)
    button.connect("clicked()", slot)
    return button


def _volume_box(none: bool = False) -> Any:
    """Return a list of the scene's scalar volumes, without label maps and colour images."""
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.showChildNodeTypes = box.addEnabled = box.removeEnabled = box.showHidden = False
    box.selectNodeUponCreation = False  # else the source would jump to each synthetic volume
    box.noneEnabled = none
    box.setMRMLScene(slicer.mrmlScene)
    return box


def _number_box(value: float) -> Any:
    """Return a field for an option: a share (0 to 0.99), another decimal, or a whole number."""
    if isinstance(value, int):
        box = qt.QSpinBox()
        box.minimum, box.maximum = min(0, value), max(1024, value)
    else:
        box = qt.QDoubleSpinBox()
        box.minimum, box.maximum = min(0.0, value), 0.99 if value < 1 else max(1e6, value)
        box.singleStep = 0.05
    box.value = value
    return box


class MedTransTranslateTest(ScriptedLoadableModuleTest):
    """Slicer's own "Reload and Test": a tiny volume to a file and back as an answer, without a server."""

    def runTest(self) -> None:  # noqa: N802 - Slicer's name
        """Run all tests."""
        self.setUp()
        self.test_answer_becomes_a_scalar_volume_on_the_source_grid()

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear(0)

    def test_answer_becomes_a_scalar_volume_on_the_source_grid(self) -> None:
        """The file that the server would send is shown as a volume under the source's transform."""
        logic = MedTransTranslateLogic()
        volume, transform = _tiny_volume(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        volume.SetAndObserveTransformNodeID(transform.GetID())
        folder = logic.new_folder()
        try:
            path = logic.export(volume, folder)
            answer = Answer(path, {"display": {"window": 80.0, "level": 40.0}})
            node = logic.load(answer, volume, Model("toy", "T1", "CT", "HU", "", {}))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        assert node.GetClassName() == "vtkMRMLScalarVolumeNode"
        assert "NOT FOR DIAGNOSIS" in node.GetName()
        assert node.GetTransformNodeID() == transform.GetID()
        assert same_grid(node, volume)
        assert node.GetDisplayNode().GetWindow() == 80.0
        logic.show(node, volume)


def _tiny_volume() -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(5, 4, 3)
    image.AllocateScalars(vtk.VTK_FLOAT, 1)
    for k, j, i in itertools.product(range(3), range(4), range(5)):
        image.SetScalarComponentFromDouble(i, j, k, 0, 100.0 * k + 10.0 * j + i)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "tiny")
    volume.SetSpacing(1.0, 1.5, 2.0)
    volume.SetOrigin(-10.0, 5.0, 30.0)
    volume.SetAndObserveImageData(image)
    volume.CreateDefaultDisplayNodes()
    return volume
