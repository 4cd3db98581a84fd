"""Who and what gets through to the server: bounded uploads, no pages of other origins, holders of the token."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medtrans.errors import InputError

SHORTEST_TOKEN = 16
HEARD_OUT = 2**26  # bytes


class TooLargeError(Exception):
    """A body grew beyond what is accepted."""


class BoundedBodies:
    """Refuse bodies of more than ``limit`` bytes: by what they announce, and by what comes.

    Args:
        app: what comes behind.
        limit: bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 where the body is too large."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > self.limit:
            return await self._refused(scope, receive, send)
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.limit:
                raise TooLargeError
            return message

        async def unless_refused(message: Message) -> None:
            if came <= self.limit:
                await send(message)

        with suppress(TooLargeError):  # where nothing in between made an answer of it
            await self.app(scope, counted, unless_refused)
        if came > self.limit:
            await self._refused(scope, receive, send)

    async def _refused(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _heard_out(receive)
        detail = f"More than the {self.limit / 2**20:.0f} MiB that this server takes; see --max-upload"
        await JSONResponse({"detail": detail}, 413, {"Connection": "close"})(scope, receive, send)


async def _heard_out(receive: Receive) -> None:
    """Drop what still comes, up to a bound: a client that is cut off while it sends often sees no answer."""
    dropped, more = 0, True
    while more and dropped < HEARD_OUT:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = bool(message.get("more_body")) and message["type"] == "http.request"


class OwnOrigins:
    """Refuse requests that a browser sends for a page of another origin, simple ones that need no CORS included.

    Args:
        app: what comes behind.
        origins: that are allowed, such as ``http://127.0.0.1:8000``.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self.app, self.origins = app, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 where the origin is another."""
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or origin in self.origins:
            return await self.app(scope, receive, send)
        detail = "Pages of this origin may not use the server; see --allow-origin"
        return await JSONResponse({"detail": detail}, 403)(scope, receive, send)


class AccessToken:
    """Refuse requests without ``Authorization: Bearer TOKEN``.

    Args:
        app: what comes behind.
        token: the secret.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 without the token; what a browser asks before a request of another origin needs none."""
        if scope["type"] != "http" or scope["method"] == "OPTIONS":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("authorization", "").encode()
        if hmac.compare_digest(given, self.expected):
            return await self.app(scope, receive, send)
        headers = {"WWW-Authenticate": "Bearer"}
        return await JSONResponse({"detail": "An access token is needed"}, 401, headers)(scope, receive, send)


def read_token(path: Path) -> str:
    """The token in a file that is the user's own.

    Raises:
        InputError: the file cannot be read, others may read it, or the token is too short to be a secret.
    """
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})", "Give the file of the token") from error
    if mode & 0o077:
        raise InputError(path, "can be read by others", f"Take their rights: chmod 600 {path}")
    if len(token) < SHORTEST_TOKEN or not token.isascii() or any(sign.isspace() for sign in token):
        problem = f"holds no token of at least {SHORTEST_TOKEN} letters, digits and signs"
        raise InputError(path, problem, "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'")
    return token
