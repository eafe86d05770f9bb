"""`GET /api/storage`: what is stored takes so much room, and what of it was dropped."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from fastapi import Depends, FastAPI, Response
from pydantic import BaseModel, Field

from sensorflow.amounts import FOREVER, told_time
from sensorflow.disk import Drop, Fill, Held, Size, Tier, Why
from sensorflow.history.retention import Policy, growth, reached
from sensorflow.web.gate import Gate
from sensorflow.web.routes import asked, reader
from sensorflow.web.schemas import KEY_IN_HEADER, refusals

MAX_DROPS: Final = 20
"""Drops of one answer."""


class KnowsDisk(Protocol):
    """The database's room, as this route needs it; `storage.disk.Disk` states the promise."""

    async def fill(self) -> Fill: ...

    async def held(self) -> Mapping[Tier, Held]: ...

    async def drops(self, limit: int) -> list[Drop]: ...

    async def sizes(self) -> list[Size]: ...


class TierInfo(BaseModel):
    """What a tier holds."""

    tier: Tier
    bytes: int = Field(description="With its indexes; on SQLite an estimate.")
    rows: int = Field(description="An estimate.")
    oldest: datetime | None = Field(
        description="Of raw: `recorded_at` of the first reading in the stream; else a bucket's day."
    )
    newest: datetime | None
    retention: str = Field(description=f"As it is set: `30d`, or `{FOREVER}`.")


class Forecast(BaseModel):
    """What comes if it goes on as in the last days, up to seven."""

    bytes_per_day: int | None = Field(description="null where too little is known.")
    reached_at: datetime | None = Field(
        description="When something has to be dropped for the budget; null where that is not "
        "foreseen."
    )


class DropInfo(BaseModel):
    """What was dropped at a time."""

    at: datetime
    why: Why
    tier: Tier
    rows: int
    bytes: int
    oldest: datetime | None = Field(description="The oldest that was dropped; null where unknown.")
    newest: datetime | None = Field(
        description="The newest that was dropped; of rollups: all buckets before it were."
    )


class StorageInfo(BaseModel):
    """The room that the database takes, without the spool."""

    bytes: int = Field(description="What is in use.")
    bytes_on_disk: int = Field(
        description="The files: what was dropped may leave room in them, which is used again."
    )
    budget: int | None = Field(description="`DISK_BUDGET`; null where none is set.")
    forecast: Forecast
    tiers: list[TierInfo]
    drops: list[DropInfo] = Field(description=f"The last {MAX_DROPS}, newest first.")


Tell = Callable[[], Awaitable[dict[str, Any]]]
"""Tells what the route answers. Raises `StorageUnavailable`."""


def add_storage(app: FastAPI, gate: Gate, tell: Tell) -> None:
    """Add the route, for who may read."""

    @app.get(
        "/api/storage",
        tags=["operation"],
        summary="The room that is taken, and what was dropped",
        response_model=StorageInfo,
        dependencies=[Depends(reader(gate))],
        responses=refusals("503"),
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def storage() -> Response:
        told = await asked(tell())
        return Response(msgspec.json.encode(told), media_type="application/json")


async def tell_storage(disk: KnowsDisk, policy: Policy) -> dict[str, Any]:
    """Everything of `StorageInfo`, as it is now. Raises `StorageUnavailable`."""
    now = datetime.now(UTC)
    fill = await disk.fill()
    per_day = growth([*await disk.sizes(), Size(now, fill.used)])
    held = await disk.held()
    return {
        "bytes": fill.used,
        "bytes_on_disk": fill.on_disk,
        "budget": policy.budget,
        "forecast": {
            "bytes_per_day": None if per_day is None else round(per_day),
            "reached_at": reached(policy, fill.used, per_day, now),
        },
        "tiers": [
            {
                "tier": tier,
                "bytes": held[tier].bytes,
                "rows": held[tier].rows,
                "oldest": held[tier].oldest,
                "newest": held[tier].newest,
                "retention": told_time(policy.limits.get(tier)),
            }
            for tier in Tier
        ],
        "drops": [
            {
                "at": drop.at,
                "why": drop.why,
                "tier": drop.dropped.tier,
                "rows": drop.dropped.rows,
                "bytes": drop.dropped.bytes,
                "oldest": drop.dropped.oldest,
                "newest": drop.dropped.newest,
            }
            for drop in await disk.drops(MAX_DROPS)
        ],
    }
