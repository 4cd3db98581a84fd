"""MONAI Label's web app, with the endpoints that translation needs and none of the others, behind the gate."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import background_executors
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from medtrans.errors import InputError
from medtrans.label.gate import AccessToken, BoundedBodies, OwnOrigins
from medtrans.label.oidc import Tokens
from medtrans.label.server import LOCAL_NAMES, Serving

logger = logging.getLogger(__name__)

# Of MONAI Label's endpoints, those that translation needs as they are; what takes something from a client is ours. Left
# out: other people's servers by proxy, sessions, logs, whole slide images, uploads of weights, archives of everything,
# and pages that load scripts from elsewhere.
KEPT = {
    "info": {"GET /info/"},
    "train": {"GET /train/", "DELETE /train/"},
    "batch_infer": {"GET /batch/infer", "DELETE /batch/infer"},
    "activelearning": {"POST /activelearning/{strategy}"},
    "model": {"GET /model/{model}", "GET /model/info/{model}"},
    "datastore": {
        "GET /datastore/",
        *(f"{method} /datastore/{of}" for of in ("image", "label") for method in ("GET", "HEAD", "DELETE")),
        *(f"{method} /datastore/{of}/info" for of in ("image", "label") for method in ("GET", "PUT")),
    },
    "login": {"GET /auth/", "POST /auth/token", "GET /auth/token/valid"},
}
BACKGROUND = ("train", "batch_infer")  # what MONAI Label does in processes of their own


def guarded_app(serving: Serving) -> FastAPI:
    """The endpoints of MONAI Label as a web app; the environment must say what it serves, see ``prepare_environment``.

    Raises:
        InputError: the studies or a bundle are refused.
    """
    from monailabel.config import settings
    from monailabel.endpoints.user import auth
    from monailabel.interfaces.utils.app import app_instance

    auth.jwt = Tokens
    title = "medtrans on MONAI Label"
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.label = app_instance()
    for module in KEPT if settings.MONAI_LABEL_AUTH_ENABLE else KEPT.keys() - {"login"}:
        app.include_router(_narrowed(module))
    app.include_router(importlib.import_module("medtrans.label.receiving").router)
    _add_errors(app)
    _add_gate(app, serving)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.label.server_mode(True)  # and no on_init_complete: there are no sessions to clean up
    yield
    for name in BACKGROUND:  # those that wait, then the one that runs: a server that ends leaves nothing behind
        if executor := background_executors.get(name):
            executor.shutdown(wait=False, cancel_futures=True)
        AsyncTask.stop(name)


def _narrowed(module: str) -> APIRouter:
    """The router of one of MONAI Label's modules of endpoints, with those that are kept."""
    router: APIRouter = importlib.import_module(f"monailabel.endpoints.{module}").router
    router.routes[:] = [
        route
        for route in router.routes
        if isinstance(route, APIRoute) and all(f"{method} {route.path}" in KEPT[module] for method in route.methods)
    ]
    return router


def _add_gate(app: FastAPI, serving: Serving) -> None:
    """What a request goes through, the first first."""
    origins = {origin.rstrip("/") for origin in serving.origins}
    hosts = [*LOCAL_NAMES, serving.host, *serving.names]
    app.user_middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=[f"[{host}]" if ":" in host else host for host in hosts]),
        Middleware(OwnOrigins, origins=origins | serving.own_origins),
        *([Middleware(CORSMiddleware, allow_origins=sorted(origins), **_CORS)] if origins else []),
        *([Middleware(AccessToken, token=serving.token)] if serving.token else []),
        Middleware(BoundedBodies, limit=serving.max_upload),
    ]


_CORS: dict[str, Any] = {"allow_methods": ["*"], "allow_headers": ["*"], "allow_credentials": False}


def _add_errors(app: FastAPI) -> None:
    """What is refused is told in one line, as on the command line."""
    from monailabel.interfaces.exception import (
        ImageNotFoundException,
        LabelNotFoundException,
        MONAILabelException,
    )

    @app.exception_handler(InputError)
    async def refused(request: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(MONAILabelException)
    async def failed(request: Request, error: MONAILabelException) -> JSONResponse:
        absent = isinstance(error, (ImageNotFoundException, LabelNotFoundException))
        return JSONResponse({"detail": error.msg}, 404 if absent else 400)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s: %s", request.method, request.url.path, type(error).__name__)  # no study, no folder
        return JSONResponse({"detail": f"the server failed ({type(error).__name__}); see its log"}, 500)
