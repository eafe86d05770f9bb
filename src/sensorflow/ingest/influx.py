"""From lines of Influx's protocol to readings: whose, when, and what each value is called."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.bodies import MAX_READINGS
from sensorflow.ingest.formats import OWN_NAMES, is_name
from sensorflow.ingest.lineprotocol import Point, next_line, point_at
from sensorflow.ingest.times import time_of_count
from sensorflow.readings import MAX_MEASUREMENTS, Clock, Reading, check_sensor_id

SENSOR_TAGS: Final = ("sensor_id", "sensor", "device", "host")
"""The first of these tags that a line has names the sensor."""

NANOSECONDS: Final = {
    "n": 1,
    "ns": 1,
    "u": 1_000,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
"""What a timestamp counts, by `precision=` of either version."""

TURN: Final = 4_096
"""Characters that are read at once: 1 to 20 ms, and 50 for a line of the longest."""

MAX_LINES: Final = 100_000
"""Points in one request, which may be merged into few readings but have to be read all the same."""

_BLANK: Final = re.compile(r"[ \t\r\n]*+")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_.-]")


class Merged(msgspec.Struct, gc=False):
    """What lines of one sensor and time say together."""

    sensor_id: str
    recorded_at: datetime
    clock: Clock
    measurements: dict[str, float]
    lines: int = 0


class Lines:
    """Merges a request's lines. What is wrong with one does not concern the others."""

    def __init__(
        self,
        sensor_tags: Sequence[str],
        sensor_id: str | None,
        precision: int,
        received_at: datetime,
    ) -> None:
        """`sensor_id` counts where no tag names one; `precision` is in nanoseconds."""
        self.ignored = 0
        """Strings, booleans and values whose names are our own."""
        self.readings = 0
        """How many the lines make."""
        self.refused: Counter[Reason] = Counter()
        self.refused_by_sensor: Counter[tuple[str, Reason]] = Counter()
        """Those of them that say whose they are."""
        self.first_refusal = ""
        self._sensor_tags = sensor_tags
        self._sensor_id = sensor_id
        self._precision = precision
        self._received_at = received_at
        self._lines = 0
        self._merged: dict[tuple[str, datetime | None], Merged] = {}

    @property
    def merged(self) -> list[Merged]:
        """In the order in which each was first spoken of."""
        return list(self._merged.values())

    async def read(self, body: bytes) -> None:
        """Take every line; others have their turn meanwhile.

        Raises a `Refusal` for more than `MAX_READINGS` or `MAX_LINES`.
        """
        # What is not UTF-8 is then refused with the line that it is in.
        text = body.decode("utf-8", "surrogateescape")
        position = 0
        while position < len(text):
            turn = position + TURN
            while position < turn and position < len(text):
                position = self._take(text, position)
            if self.readings > MAX_READINGS:
                raise Refusal(
                    Reason.BODY_TOO_LARGE,
                    f"The lines make more than {MAX_READINGS:,} readings; send fewer at once.",
                )
            if self._lines > MAX_LINES:
                raise Refusal(
                    Reason.BODY_TOO_LARGE,
                    f"The body holds more than {MAX_LINES:,} lines; send fewer at once.",
                )
            await asyncio.sleep(0)

    def _take(self, text: str, position: int) -> int:
        """Take what stands there, blank, comment or point; return where to go on."""
        blank = _BLANK.match(text, position, position + TURN)
        assert blank is not None
        if blank.end() > position:
            return blank.end()
        if text[position] == "#":
            return next_line(text, position)
        self._lines += 1
        after = None
        try:
            point, after = point_at(text, position)
            self._add(point)
        except Refusal as refusal:
            if not self.refused:
                line = text.count("\n", 0, position) + 1
                self.first_refusal = f"line {line}: {refusal.detail}"
            self.refused[refusal.reason] += 1
            if refusal.sensor_id is not None:
                self.refused_by_sensor[refusal.sensor_id, refusal.reason] += 1
        return next_line(text, position) if after is None else after

    def _add(self, point: Point) -> None:
        sensor_id = self._take_sensor(point.tags)
        recorded_at = None
        try:
            if point.time is not None:
                recorded_at = time_of_count(point.time, self._precision, self._received_at)
            named = self._named(point)
        except Refusal as refusal:
            refusal.sensor_id = sensor_id
            raise
        self.ignored += len(point.fields) - len(named)
        if not named:
            return
        key = (sensor_id, recorded_at)
        merged = self._merged.get(key)
        if merged is None:
            clock = Clock.SERVER if recorded_at is None else Clock.DEVICE
            merged = Merged(sensor_id, recorded_at or self._received_at, clock, {})
            self._merged[key] = merged
        merged.lines += 1
        measurements = merged.measurements
        for name, value in named:
            if name not in measurements and len(measurements) % MAX_MEASUREMENTS == 0:
                self.readings += 1
            measurements[name] = value

    def _take_sensor(self, tags: dict[str, str]) -> str:
        for tag in self._sensor_tags:
            if tag in tags:
                return check_sensor_id(tags.pop(tag))
        if self._sensor_id is None:
            raise Refusal(
                Reason.MISSING_FIELD,
                f"No tag names the sensor: send {', '.join(self._sensor_tags)}, or ?sensor_id= in "
                "the address.",
                field="sensor_id",
            )
        return self._sensor_id

    def _named(self, point: Point) -> list[tuple[str, float]]:
        """The point's numbers by the names of their measurements."""
        tags = point.tags
        parts = [point.measurement, *(tags[tag] for tag in sorted(tags))]
        series = _ILLEGAL.sub("_", ".".join(parts))
        if not is_name(series[0]):
            series = f"_{series}"
        named = []
        for field, value in point.fields.items():
            name = series if field == "value" else f"{series}.{_ILLEGAL.sub('_', field)}"
            if value is None or name in OWN_NAMES:
                continue
            if not is_name(name):
                raise Refusal(
                    Reason.BAD_MEASUREMENT_NAME,
                    "A measurement's name, made of the line's measurement, tags and field, has up "
                    f"to 64 characters; this one has {len(name)}, and begins with {name[:40]}.",
                )
            named.append((name, value))
        return named


def split(merged: Merged, received_at: datetime, client_ip: str | None) -> list[Reading]:
    """One reading, or as many as it takes."""
    named = list(merged.measurements.items())
    return [
        Reading(
            merged.sensor_id,
            dict(named[start : start + MAX_MEASUREMENTS]),
            merged.recorded_at,
            merged.clock,
            received_at,
            client_ip,
        )
        for start in range(0, len(named), MAX_MEASUREMENTS)
    ]
