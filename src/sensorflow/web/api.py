"""The routes that need no speed: health, metrics, browser sessions, the page."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from sensorflow import __version__
from sensorflow.errors import Reason, Refusal
from sensorflow.history.series import SeriesReader
from sensorflow.keys.keyring import Scope
from sensorflow.keys.sessions import LIFETIME
from sensorflow.metrics import Metrics
from sensorflow.web.changes import ManagesSensors, add_changes
from sensorflow.web.gate import SESSION_COOKIE, Gate
from sensorflow.web.health import CheckHealth, add_health
from sensorflow.web.openapi import describe
from sensorflow.web.page import add_page
from sensorflow.web.problems import MEDIA_TYPE, problem
from sensorflow.web.schemas import KEY_IN_HEADER, ref, refusals
from sensorflow.web.sensors import add_sensors
from sensorflow.web.series import add_series
from sensorflow.web.storage import Tell, add_storage

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_REASONS: Final = {
    404: (Reason.NOT_FOUND, "There is nothing at this path; /docs lists what there is."),
    405: (Reason.METHOD_NOT_ALLOWED, "This path does not take that method; see /docs."),
}


def create_api(
    gate: Gate,
    metrics: Metrics,
    check: CheckHealth,
    storage: ManagesSensors,
    series: SeriesReader,
    tell: Tell,
    lifespan: Lifespan,
) -> FastAPI:
    """FastAPI's part of the edge."""
    app = FastAPI(
        title="SensorFlow Server",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    _add_problems(app, metrics)
    add_health(app, gate, check)
    _add_sessions(app, gate)
    add_sensors(app, gate, storage)
    add_changes(app, gate, storage)
    add_series(app, gate, series)
    add_storage(app, gate, tell)

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Counters in Prometheus' text format",
        response_class=PlainTextResponse,
        responses=refusals(),
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def metrics_text(_: Annotated[None, Depends(_reader(gate))]) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    add_page(app)
    return app


def _reader(gate: Gate) -> Callable[[Request], Awaitable[None]]:
    async def require_reader(request: Request) -> None:
        gate.require(request.scope, Scope.READ, dict(request.scope["headers"]), url_key=False)

    return require_reader


def _add_sessions(app: FastAPI, gate: Gate) -> None:
    @app.post(
        "/api/session",
        tags=["page"],
        status_code=204,
        summary="Sign a browser in with the read key",
        responses=refusals(),
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def sign_in(request: Request) -> Response:
        gate.require(request.scope, Scope.READ, dict(request.scope["headers"]), url_key=False)
        response = Response(status_code=204)
        response.set_cookie(
            SESSION_COOKIE,
            gate.open_session(),
            max_age=LIFETIME,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @app.get(
        "/api/session",
        tags=["page"],
        status_code=204,
        summary="Whether this browser is signed in",
        responses={401: {"description": "It is not.", **ref("Problem", MEDIA_TYPE)}},
    )
    async def session(request: Request) -> Response:
        if not gate.has_session(dict(request.scope["headers"])):
            raise Refusal(Reason.KEY_MISSING, "This browser is not signed in.")
        return Response(status_code=204)

    @app.delete("/api/session", tags=["page"], status_code=204, summary="Sign a browser out")
    async def sign_out() -> Response:
        response = Response(status_code=204)
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return response


def _add_problems(app: FastAPI, metrics: Metrics) -> None:
    """Give every error of FastAPI's part the one body shape."""

    def respond(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
        metrics.refused(refusal.reason)
        status, raw, body = problem(refusal)
        response = Response(body, status, headers)
        response.raw_headers += [header for header in raw if header[0] != b"content-length"]
        return response

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> Response:
        return respond(error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        reason, detail = _REASONS.get(
            error.status_code, (Reason.BAD_REQUEST, f"The request is refused: {error.detail}.")
        )
        headers = dict(error.headers or {})
        if reason is Reason.METHOD_NOT_ALLOWED:
            headers["Allow"] = _allowed(app, request)
        return respond(Refusal(reason, detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return respond(Refusal(Reason.BAD_REQUEST, f"{field}: {first['msg']}.", field=field))

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, _error: Exception) -> Response:
        return respond(Refusal(Reason.INTERNAL_ERROR, "The server failed; its log says why."))


def _allowed(app: FastAPI, request: Request) -> str:
    """The methods that a path takes, over all of its routes; the router knows the first only."""
    methods: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))
