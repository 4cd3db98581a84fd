"""The way to a DICOMweb server: its address, credentials that never show, certificates, proxies."""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from medtrans.errors import InputError

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

PASSWORD = "MEDTRANS_DICOMWEB_PASSWORD"  # the environment variable that holds it
EXAMPLE = "http://127.0.0.1:8042/dicom-web"
CONNECT, ANSWER = 10, 300  # seconds until a server is given up; storing takes its time
ATTEMPTS, PAUSE = 3, 250  # of a request that fails in passing; ms, doubled from one to the next
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """How the server lets us in. Holds no secret, so that nothing can print one.

    Attributes:
        user: name for HTTP basic authentication, its password in the environment variable PASSWORD.
        token_file: file that holds a bearer token.
        ca: PEM file of the authority that signed the server's certificate, where the system does not know it.
    """

    user: str = ""
    token_file: Path | None = None
    ca: Path | None = None


def connect(url: str, access: Access | None = None) -> DICOMwebClient:
    """A client of the DICOMweb service at ``url``; nothing is sent yet.

    It follows no redirection, because patient data go where they were sent only; reads no ``.netrc``; and uses the
    environment's proxies, but not for this machine.

    Raises:
        InputError: the address is none or holds credentials, credentials are missing or would travel unencrypted.
    """
    import requests
    from dicomweb_client import DICOMwebClient

    access = access or Access()
    parts = _checked(url)
    authorization = _authorization(access)
    near = _loopback(parts.hostname or "")
    if parts.scheme == "http" and not near:
        if authorization:
            raise InputError(url, "would get the credentials unencrypted", "Use https, with --ca if it signs its own")
        logger.warning("%s: plain http, patient data travel unencrypted", url)
    session = requests.Session()
    session.trust_env = False  # else .netrc replaces the credentials, and REQUESTS_CA_BUNDLE the authority
    session.proxies = {} if near else requests.utils.get_environ_proxies(url)
    session.verify = _authority(access.ca)
    session.max_redirects = 0
    session.headers["Accept"] = "application/dicom+json"
    session.auth = _signing(authorization)
    client = DICOMwebClient(parts.geturl().rstrip("/"), session, timeout=(CONNECT, ANSWER))
    client.set_http_retry_params(max_attempts=ATTEMPTS, wait_exponential_multiplier=PAUSE)
    return client


def _checked(url: str) -> SplitResult:
    """The parts of an address that may be shown."""
    if "@" in url:
        raise InputError("the URL", "holds a user name or password", f"Give --user, and the password in {PASSWORD}")
    if "?" in url or "#" in url:
        raise InputError("the URL", "holds more than an address ('?' or '#')", f"Give one such as {EXAMPLE}")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise InputError(url, "is no address of a DICOMweb service", f"Give one such as {EXAMPLE}")
    return parts


def _authorization(access: Access) -> str:
    """The header that lets us in, empty without credentials."""
    if access.user and access.token_file:
        raise InputError("--token-file", "does not go with --user", "Give one of them")
    if ":" in access.user:
        raise InputError("--user", "holds a colon", f"Give the name only, and the password in {PASSWORD}")
    if access.user:
        password = os.environ.get(PASSWORD, "")
        if not password:
            raise InputError("--user", f"needs a password in the environment variable {PASSWORD}", "Set it")
        return "Basic " + base64.b64encode(f"{access.user}:{password}".encode()).decode()
    return f"Bearer {_token(access.token_file)}" if access.token_file else ""


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "Give the file of the bearer token") from error
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise InputError(path, "holds no bearer token", "Write the token into it, alone")
    return token


def _loopback(host: str) -> bool:
    """Whether what is sent stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _authority(ca: Path | None) -> str | bool:
    """What certificates are judged by, as requests takes it."""
    if ca is None:
        return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    try:
        ssl.create_default_context(cafile=str(ca))
    except OSError as error:  # ssl's errors are among them
        raise InputError(ca, "holds no certificates that can be read", "Give the authority's PEM file") from error
    return str(ca)


def _signing(authorization: str) -> Callable[[Any], Any]:
    """What requests does to every request before it leaves."""

    def sign(request: Any) -> Any:
        request.headers.pop("Host", None)  # the client forgets the port in it
        if authorization:
            request.headers["Authorization"] = authorization
        return request

    return sign
