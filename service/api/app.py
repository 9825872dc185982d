"""The FastAPI application: routes, errors, the guard around everything, start and end of the workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from service.api import login, problems, routes
from service.api.desk import Desk, NotFound, NotReady
from service.api.guard import Guard, is_loopback
from service.api.problems import documented, problem
from service.api.routes import DeskIn
from service.api.schema import Health, Problem
from service.render.summary import tool_version

GRACE_S: Final = 60.0
_DESCRIPTION: Final = (
    "Reviews merge requests, rates what is found by severity, and keeps people's verdicts. Reviews run in "
    "the background: ask, then follow `Location` or its events."
)


def create_app(desk: Desk, mount: Callable[[FastAPI, Desk], None] | None = None) -> FastAPI:
    """The application for `desk`; `mount` adds the page."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        desk.start()
        yield
        await run_in_threadpool(desk.stop, GRACE_S)

    app = FastAPI(
        title="Terazi",
        version=tool_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    app.state.desk = desk
    problems.install(app)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(NotReady, _not_ready)
    app.include_router(routes.router)
    app.include_router(login.router)
    _operations(app)
    if mount is not None:
        mount(app, desk)
    app.add_middleware(Guard, settings=desk.settings, verify=desk.actor, metrics=desk.metrics)
    _describe(app, needs_token=not is_loopback(desk.settings.host))
    return app


def _operations(app: FastAPI) -> None:
    @app.get("/healthz", responses=documented(), summary="Alive?", tags=["operations"])
    async def healthz() -> Health:
        """The process answers."""
        return Health(status="ok")

    @app.get("/readyz", responses=documented(), summary="Ready?", tags=["operations"])
    def readyz(desk: DeskIn) -> Health:
        """The database answers and the workers live."""
        desk.check_ready()
        return Health(status="ok")

    @app.get(
        "/metrics",
        response_class=Response,
        responses={
            **documented(),
            200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."},
        },
        summary="Metrics",
        tags=["operations"],
    )
    def metrics(desk: DeskIn) -> Response:
        """Reviews, findings, latency, backend errors, queue depth."""
        return Response(desk.metrics.text(*desk.depth()), media_type=CONTENT_TYPE_LATEST)


def _describe(app: FastAPI, *, needs_token: bool) -> None:
    """Completes the OpenAPI document: the problem type, and the token where one is needed."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            parts = document.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            parts["schemas"].pop("HTTPValidationError", None)
            parts["schemas"].pop("ValidationError", None)
            if needs_token:
                parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"token": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _not_found(_request: Request, error: Exception) -> JSONResponse:
    return problem(404, str(error))


async def _not_ready(_request: Request, error: Exception) -> JSONResponse:
    return problem(409, str(error))
