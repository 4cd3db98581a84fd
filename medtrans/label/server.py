"""``medtrans label``: MONAI Label's own server with our app, shut to everything that it need not be open to."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import socket
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medtrans.errors import InputError
from medtrans.files import check_writable
from medtrans.label.options import TrainingOptions
from medtrans.label.served import ServedBundle
from medtrans.scans.dicomweb.connection import Access

APP = Path(__file__).parent / "app"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Serving:
    """How a server is reached.

    Attributes:
        host: address it listens on.
        port: likewise.
        names: further names under which clients reach it.
        origins: web pages of other origins that may use it, such as an OHIF viewer's.
        token: what clients must know; empty where they need not.
        max_upload: bytes of one request.
        certificate, certificate_key: files, for https.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: Collection[str] = ()
    origins: Collection[str] = ()
    token: str = ""
    max_upload: int = 2**30
    certificate: Path | None = None
    certificate_key: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    @property
    def address(self) -> str:
        """Where clients find it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.certificate else ''}://{host}:{self.port}"

    @property
    def own_origins(self) -> set[str]:
        """Origins of pages that it serves itself."""
        names = {*LOCAL_NAMES, self.host, *self.names}
        hosts = {f"[{name}]" if ":" in name else name for name in names}
        return {f"http{'s' if self.certificate else ''}://{host}:{self.port}" for host in hosts}


@dataclass(frozen=True)
class Offer:
    """What a server offers.

    Attributes:
        studies: folder of volumes, or address of a DICOMweb server.
        bundles: its models and trainers.
        work: folder for what is fetched, on its way and trained.
        training: how bundles are trained where a client does not say.
        access: how the DICOMweb server lets us in.
    """

    studies: str
    bundles: list[ServedBundle]
    work: Path
    training: TrainingOptions = field(default_factory=TrainingOptions)
    access: Access = field(default_factory=Access)

    @property
    def remote(self) -> bool:
        """Whether the studies are a DICOMweb server's."""
        return self.studies.startswith(("http://", "https://"))


def check_installed() -> None:
    """Say how to get MONAI Label.

    Raises:
        InputError: it is not there.
    """
    if find_spec("monailabel") is None:
        remedy = "Set up its environment with `make label`, or `pip install 'medtrans[label]'` in a new one"
        raise InputError("MONAI Label", "is not installed here", remedy)


def check_serving(serving: Serving) -> None:
    """Refuse to be open to a network without asking who is there.

    Raises:
        InputError: the address is not this machine's own and clients need no token.
    """
    if not serving.local and not serving.token and not _oidc():
        problem = "would let everyone in the network read the studies and train"
        raise InputError(f"--host {serving.host}", problem, "Add --token-file, or set up MONAI Label's authentication")
    if serving.token and _oidc():
        problem = "and MONAI_LABEL_AUTH_ENABLE both use the Authorization header"
        raise InputError("--token-file", problem, "Use one of them")


def serve(offer: Offer, serving: Serving) -> None:
    """Run the server until it is stopped.

    Raises:
        InputError: see :func:`check_installed` and :func:`check_serving`; the studies or a bundle cannot be used.
    """
    check_installed()
    check_serving(serving)
    os.umask(0o077)  # what is fetched and trained is of patients
    for talkative in ("monailabel", "task_train", "task_batch_infer"):  # they tell paths, names and whole requests
        logging.getLogger(talkative).setLevel(logging.ERROR)
    with _listening(serving) as place, _alone(offer.work):
        prepare_environment(offer, serving)  # before anything of MONAI Label, which reads it once
        import uvicorn

        from medtrans.label.endpoints import guarded_app
        from medtrans.label.studies import check_studies

        if not offer.remote:
            check_studies(Path(offer.studies))
        app = guarded_app(serving)
        app.state.label.transit.clear()
        print(_greeting(app.state.label.info(), offer, serving), flush=True)
        keys: dict[str, Any] = {"ssl_certfile": serving.certificate, "ssl_keyfile": serving.certificate_key}
        # of a request that breaks, uvicorn would tell folders; what broke is told by the app itself
        uvicorn.Server(uvicorn.Config(app, log_level="critical", server_header=False, **keys)).run(sockets=[place])


@contextlib.contextmanager
def _listening(serving: Serving) -> Iterator[socket.socket]:
    """The socket of the server's address, taken before the work of starting.

    Raises:
        InputError: it is taken by another program, or is not this machine's.
    """
    try:
        family = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)[0][0]
        place = socket.create_server((serving.host, serving.port), family=family)
    except OSError as error:
        problem = f"cannot be listened on ({error.strerror or error})"
        raise InputError(f"{serving.host}:{serving.port}", problem, "Stop who listens there, or use --port") from error
    with place:
        yield place


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keep other servers off the folder of this one.

    Raises:
        InputError: there is one.
    """
    check_writable(work)
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(work, "is used by another server", "Give this one a folder of its own with --work") from error


def prepare_environment(offer: Offer, serving: Serving) -> None:
    """Say everything by environment variables, which MONAI Label and the processes it starts read."""
    import medtrans.label.pydicom_names  # noqa: F401  before anything of MONAI Label

    conf = {
        "bundles": [bundle.to_json() for bundle in offer.bundles],
        "work": str(offer.work.resolve()),
        "training": asdict(offer.training),
        "access": asdict(offer.access),
    }
    studies = offer.studies if offer.remote else str(Path(offer.studies).resolve())
    os.environ |= {
        "MONAI_LABEL_APP_DIR": str(APP),
        "MONAI_LABEL_STUDIES": studies.rstrip("/"),
        "MONAI_LABEL_APP_CONF": json.dumps({"medtrans": json.dumps(conf, default=str)}),
        "MONAI_LABEL_SERVER_PORT": str(serving.port),
        "MONAI_LABEL_SESSIONS": "false",  # images that stay on the server without being among the studies
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "PYTHONPATH": os.pathsep.join([str(APP), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def _oidc() -> bool:
    return os.environ.get("MONAI_LABEL_AUTH_ENABLE", "").lower() in ("1", "true", "yes", "on")


def _greeting(info: dict[str, Any], offer: Offer, serving: Serving) -> str:
    """What is served where, for the person who started it."""
    models = [f"  {name}: {model['source']} to {model['target']}" for name, model in info["models"].items()]
    trainers = ", ".join(info["trainers"])
    return "\n".join(
        [
            f"MONAI Label at {serving.address}, {info['datastore']['total']} studies of {offer.studies}",
            *(models or ["  no model yet: train one from a client"]),
            f"  to be trained: {trainers}",
            "Stop it with Ctrl-C.",
        ]
    )
