"""What a request for stored readings asks for, by its address and its headers."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from sensorflow.errors import Reason, Refusal
from sensorflow.history.ranges import parse_range
from sensorflow.history.raw import Cursor, Selection
from sensorflow.ingest.formats import check_name
from sensorflow.readings import MAX_MEASUREMENTS, check_sensor_id
from sensorflow.web.admission import check_sensors, read_cursor

JSON_LIMIT: Final = 1_000
"""Readings of one answer in JSON, where `limit` does not say."""

MAX_JSON: Final = 10_000
"""Readings of one answer in JSON."""

_ONCE: Final = ("start", "end", "after", "cursor", "limit", "format")
_LIMIT: Final = re.compile("[1-9][0-9]{0,17}")


class Format(StrEnum):
    """The forms of an answer, by the value of `format=`."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


_ACCEPTED: Final = {
    "text/csv": Format.CSV,
    "application/x-ndjson": Format.NDJSON,
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/json": Format.JSON,
}


class Asked(NamedTuple):
    """A request that can be answered."""

    selection: Selection
    after: int | None
    cursor: Cursor | None
    limit: int | None
    format: Format

    @property
    def json_limit(self) -> int:
        return JSON_LIMIT if self.limit is None else self.limit

    def page_size(self, usual: int) -> int:
        """Readings to read at once."""
        if self.format is Format.JSON:
            return min(usual, self.json_limit + 1)
        return usual if self.limit is None else min(usual, self.limit)


def asked_of(query: bytes, headers: Mapping[bytes, bytes], now: datetime) -> Asked:
    """What the request asks for. Raises a `Refusal`; parameters of other names mean nothing."""
    given: dict[str, str] = {}
    sensors: list[str] = []
    names: list[str] = []
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "sensor_id":
            sensors.append(check_sensor_id(value))
        elif name == "measurement":
            names.append(check_name(value))
        elif name in _ONCE:
            given[name] = value
    check_sensors(sensors)
    if len(names) > MAX_MEASUREMENTS:
        raise Refusal(
            Reason.TOO_MANY_MEASUREMENTS,
            f"{len(names)} measurements are named; name up to {MAX_MEASUREMENTS}, or none to have "
            "all.",
            field="measurement",
        )
    selection = Selection(
        tuple(dict.fromkeys(sensors)) or None,
        tuple(dict.fromkeys(names)) or None,
        parse_range(given.get("start"), given.get("end"), now),
    )
    chosen = _format(given.get("format"), headers.get(b"accept", b"").decode("latin-1"))
    return Asked(
        selection,
        read_cursor(given["after"], "after") if "after" in given else None,
        Cursor.of(given["cursor"]) if "cursor" in given else None,
        _limit(given.get("limit"), chosen),
        chosen,
    )


def _format(given: str | None, accept: str) -> Format:
    """`format=` counts before the header, in which the first that we have does."""
    if given is not None:
        try:
            return Format(given)
        except ValueError:
            raise Refusal(
                Reason.BAD_REQUEST, "format must be json, ndjson or csv.", field="format"
            ) from None
    for item in accept.split(","):
        kind = item.partition(";")[0].strip().lower()
        if kind in _ACCEPTED:
            return _ACCEPTED[kind]
    return Format.JSON


def _limit(given: str | None, chosen: Format) -> int | None:
    if given is None:
        return None
    if not _LIMIT.fullmatch(given) or (chosen is Format.JSON and int(given) > MAX_JSON):
        raise Refusal(
            Reason.BAD_REQUEST,
            f"limit must be a whole number from 1 on, and up to {MAX_JSON:,} in JSON.",
            field="limit",
        )
    return int(given)
