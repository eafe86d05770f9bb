"""`/healthz` and `/readyz`: whether the process lives, and whether readings are taken."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from sensorflow.keys.keyring import Scope
from sensorflow.web import asgi
from sensorflow.web.gate import Gate
from sensorflow.web.schemas import refusals


class Status(StrEnum):
    """What becomes of a reading that is sent now."""

    OK = "ok"
    """It is stored."""
    SPOOLING = "spooling"
    """It is safe in the spool, for the database is away."""
    UNAVAILABLE = "unavailable"
    """It is refused."""


class DatabaseHealth(msgspec.Struct):
    """Whether the database takes readings, and since when that is so."""

    available: bool
    since: datetime


class SpoolHealth(msgspec.Struct):
    """What waits in the folders of all workers, of others as of a second ago."""

    readings: int
    bytes: int


class BusHealth(msgspec.Struct):
    """Whether other workers' readings come by notice (or only with the next poll)."""

    listening: bool


class Health(msgspec.Struct, omit_defaults=True):
    """A worker's state."""

    status: Status
    database: DatabaseHealth | None = None
    spool: SpoolHealth | None = None
    bus: BusHealth | None = None


CheckHealth = Callable[[], Awaitable[Health]]


def add_health(app: FastAPI, gate: Gate, check: CheckHealth) -> None:
    """Add both routes; the details are for who sends the read key."""

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["operation"], summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Readings are taken now, by the database or by the spool",
        description="With the API_KEY_WS also the state of the database, the spool and the bus, and"
        " the address that readings of who asks would carry.",
        responses={**refusals(), 503: {"description": "They are refused."}},
    )
    async def readyz(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        detailed = b"x-api-key" in headers or b"authorization" in headers
        if detailed:
            gate.require(request.scope, Scope.READ, headers, url_key=False)
        health = await check()
        told: dict[str, Any] = {"status": health.status}
        if detailed:
            told = msgspec.to_builtins(health) | {"client_ip": asgi.client_address(request.scope)}
        code = 503 if health.status is Status.UNAVAILABLE else 200
        return Response(msgspec.json.encode(told), code, media_type="application/json")
