"""Who may watch the stream, what of it, and from where on; the same over WebSocket and SSE."""

import re
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from sensorflow.errors import Reason, Refusal
from sensorflow.keys.limits import ConnectionLimit
from sensorflow.live.catchup import CatchUp
from sensorflow.readings import check_sensor_id
from sensorflow.web import asgi
from sensorflow.web.gate import Gate

MAX_SENSORS: Final = 100
"""Sensors that one subscriber may name."""

_CURSOR: Final = re.compile("[0-9]{1,19}")
_HIGHEST_ID: Final = 2**63 - 1


class Asked(NamedTuple):
    """What a subscriber wants."""

    sensors: frozenset[str] | None
    """None: all."""
    since: int | None
    """The cursor to resume after; None: begin with the newest reading."""


class Admission:
    """Lets a subscriber in, or raises the `Refusal` that says why not."""

    def __init__(self, gate: Gate, connections: ConnectionLimit, catch_up: CatchUp) -> None:
        self._gate = gate
        self._connections = connections
        self._catch_up = catch_up

    async def check(self, scope: asgi.Scope, headers: Mapping[bytes, bytes]) -> tuple[bytes, Asked]:
        """Return what identifies the key's holder, and what is asked for."""
        holder = self._gate.require_reader(scope, headers)
        asked = _asked(scope["query_string"], headers.get(b"last-event-id"))
        if asked.since is not None and await self._catch_up.is_ahead(asked.since):
            raise Refusal(
                Reason.CURSOR_AHEAD,
                f"The stream has not come as far as {asked.since}; connect without a cursor.",
                field="since",
            )
        return holder, asked

    @contextmanager
    def place(self, holder: bytes) -> Iterator[None]:
        """Hold one of the key's live connections."""
        if not self._connections.acquire(holder):
            raise Refusal(
                Reason.TOO_MANY_CONNECTIONS,
                "This key has as many live connections as it may have; close one first.",
                retry_after=30,
            )
        try:
            yield
        finally:
            self._connections.release(holder)


def _asked(query: bytes, last_event_id: bytes | None) -> Asked:
    sensors: list[str] = []
    since = None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "sensor_id":
            sensors.append(check_sensor_id(value))
        elif name == "since":
            since = read_cursor(value, "since")
    check_sensors(sensors)
    if last_event_id:
        # A browser that reconnects asks the same address again, with its cursor in this header.
        since = read_cursor(last_event_id.decode("latin-1"), "since")
    return Asked(frozenset(sensors) or None, since)


def check_sensors(sensors: Sized) -> None:
    """Raise a `Refusal` where more are named than one reader may."""
    if len(sensors) > MAX_SENSORS:
        raise Refusal(
            Reason.TOO_MANY_SENSORS,
            f"{len(sensors)} sensors are named; name up to {MAX_SENSORS}, or none to have all.",
            field="sensor_id",
        )


def read_cursor(value: str, field: str) -> int:
    """The id that a parameter gives. Raises a `Refusal`."""
    if not _CURSOR.fullmatch(value) or int(value) > _HIGHEST_ID:
        raise Refusal(
            Reason.BAD_CURSOR,
            "The cursor must be the id of a reading, a whole number from 0 on.",
            field=field,
        )
    return int(value)
