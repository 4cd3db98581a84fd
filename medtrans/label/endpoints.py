"""MONAI Label's web app, with the endpoints that translation needs and none of the others, behind the gate."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import AsyncIterator
from typing import Any

import jwt
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from medtrans.errors import InputError
from medtrans.label.gate import AccessToken, BoundedBodies, OwnOrigins
from medtrans.label.page import start_page
from medtrans.label.server import LOCAL_NAMES, Serving
from medtrans.label.trainer import EDITABLE

# Of MONAI Label's endpoints, those that translation needs. Left out: other people's servers by proxy, sessions, logs,
# whole slide images, uploads of weights, and pages that load scripts from elsewhere.
KEPT = {
    "info": {"GET /info/"},
    "infer": {"POST /infer/{model}"},
    "train": {"GET /train/", "DELETE /train/"},
    "batch_infer": {"GET /batch/infer", "POST /batch/infer/{model}", "DELETE /batch/infer"},
    "activelearning": {"POST /activelearning/{strategy}"},
    "model": {"GET /model/{model}", "GET /model/info/{model}"},
    "datastore": {
        "GET /datastore/",
        *(f"{method} /datastore/{of}" for of in ("image", "label") for method in ("GET", "HEAD", "PUT", "DELETE")),
        *(f"{method} /datastore/{of}/info" for of in ("image", "label") for method in ("GET", "PUT")),
        "GET /datastore/dataset",
    },
    "login": {"GET /auth/", "POST /auth/token", "GET /auth/token/valid"},
}


def guarded_app(serving: Serving) -> FastAPI:
    """The endpoints of MONAI Label as a web app; the environment must say what it serves, see ``prepare_environment``.

    Raises:
        InputError: the studies or a bundle are refused.
    """
    from monailabel.config import settings
    from monailabel.endpoints.user import auth
    from monailabel.interfaces.utils.app import app_instance

    auth.jwt = _OneAlgorithm  # PyJWT 2 takes no token without being told the algorithm
    app = FastAPI(title="medtrans on MONAI Label", docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.label = app_instance()
    for module in KEPT if settings.MONAI_LABEL_AUTH_ENABLE else KEPT.keys() - {"login"}:
        app.include_router(_narrowed(module))
    _add_routes(app)
    _add_errors(app)
    _add_gate(app, serving)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.label.server_mode(True)  # and no on_init_complete: there are no sessions to clean up
    yield


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


def _add_routes(app: FastAPI) -> None:
    from monailabel.config import settings
    from monailabel.endpoints import train
    from monailabel.endpoints.user.auth import RBAC

    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))

    @app.post("/train/{model}", dependencies=[admin])
    def train_model(model: str, params: dict[str, Any] | None = None, enqueue: bool = False) -> Any:
        """Train in a process of its own, with the settings that a client may choose and no others."""
        if model not in app.state.label.info()["trainers"]:
            raise InputError(f"the trainer {model!r}", "does not exist", "GET /info/ lists them")
        unknown = sorted(set(params or {}) - {*EDITABLE, "model"})
        if unknown:
            raise InputError(f"the setting {unknown[0]!r}", "is not a client's to choose", f"Use {', '.join(EDITABLE)}")
        return train.run_model(model, params, False, enqueue)

    @app.get("/", dependencies=[user], include_in_schema=False)
    def page() -> HTMLResponse:
        """What the server offers."""
        return HTMLResponse(start_page(app.state.label.info()))


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

    @app.exception_handler(ValueError)
    async def unreadable(request: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"detail": f"the request cannot be read: {error}"}, 400)


class _OneAlgorithm:
    """What MONAI Label calls of PyJWT, with the algorithm of Keycloak's keys said."""

    decode = staticmethod(functools.partial(jwt.decode, algorithms=["RS256"]))
