"""The HTTP application: the only place where routes, errors and the outermost layers meet."""

import importlib
import pkgutil
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

import api.routes
from api.edge import LASTING, Edge
from api.errors import answer_misspelled, answer_refusal, answer_unrouted
from api.feed import Tail
from api.limiting import RateLimits
from api.openapi import document
from api.rebuilding import Rebuilds
from api.routing import Index
from api.services import Services
from api.streaming import Board
from domain.errors import ToyboxError

EXPOSED = (
    "ETag",
    "Idempotency-Key",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Toybox-Incomplete-Since",
    "Toybox-Lag",
    "Toybox-Position",
    "X-Correlation-Id",
)
"""Headers of answers that a page from another origin may read."""


def routers() -> Sequence[APIRouter]:
    """Every module of `api.routes` is registered by lying there."""
    names = [found.name for found in pkgutil.walk_packages(api.routes.__path__, "api.routes.") if not found.ispkg]
    return [importlib.import_module(name).router for name in names]


def routed(app: FastAPI, given: Sequence[APIRouter] | None = None) -> FastAPI:
    """The application with these routes in it, or with every one."""
    own = (route for router in given or routers() for route in router.routes if isinstance(route, APIRoute))
    app.router.routes[:] = [Index(own, endless=LASTING)]
    return app


def create_app(services: Services, given: Sequence[APIRouter] | None = None) -> FastAPI:
    """An application with everything it needs; `close_feeds` it before its server stops."""
    app = FastAPI(
        redirect_slashes=False,
        openapi_url=None,  # /openapi.json is a route like any other: it takes a key
        docs_url=None,
        redoc_url=None,
        # FastAPI would ask the environment for a tracer with every request: a tenth of a command's time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
        middleware=_layers(services),
        exception_handlers={
            ToyboxError: answer_refusal,
            RequestValidationError: answer_misspelled,
            HTTPException: answer_unrouted,
        },
    )
    app.state.services = services
    app.state.tail = Tail(services.reader)
    app.state.board = Board(
        services.reader,
        services.keyring,
        services.objects,
        services.drafts,
        services.audience,
        nearby=services.nearby,
    )
    app.state.rebuilds = Rebuilds(services.connections, services.reader)
    app.openapi = lambda: document(app)
    return routed(app, given)


async def close_feeds(app: FastAPI) -> None:
    """End every live feed with a place to resume from: a server that stops waits for open answers."""
    tail: Tail = app.state.tail
    await tail.close()
    board: Board = app.state.board
    await board.close()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    yield
    await close_feeds(app)
    rebuilds: Rebuilds = app.state.rebuilds
    await rebuilds.close()


def _layers(services: Services) -> list[Middleware]:
    limits = RateLimits(services.rate_limit, time.monotonic) if services.rate_limit else None
    layers = [
        Middleware(
            Edge, authenticate=services.authenticate, limits=limits, metrics=services.metrics, random=services.random
        ),
    ]
    if services.cors_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(services.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
                           "Last-Event-ID", "Prefer", "Range", "X-Api-Key", "X-Correlation-Id", "traceparent"],
            expose_headers=list(EXPOSED),
            max_age=600,
        )  # fmt: skip
        layers.insert(0, cors)  # outside: a browser must be able to read refusals, too
    return layers
