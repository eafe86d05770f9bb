"""What `sensorflow watch` shows on a terminal: one calm row a sensor."""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from time import monotonic, time
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sensorflow.cli.progress import RecentRate
from sensorflow.ingest.formats import RESERVED_NAMES
from sensorflow.readings import KNOWN_MEASUREMENTS

MAX_SENSORS: Final = 500
"""Kept; beyond it the one that was not heard for longest goes."""

_RHYTHM: Final = 20
"""Readings of a sensor that its rate is taken from."""

_OTHER_LINES: Final = 4
"""Of the terminal: what is above and below the rows."""

_SPANS: Final = ((1, "s"), (60, "min"), (3_600, "h"), (86_400, "d"))
"""In seconds, the shortest first."""


class _Sensor:
    def __init__(self) -> None:
        self.recorded_at = 0.0
        self.measurements: dict[str, float] = {}
        self._received: deque[float] = deque(maxlen=_RHYTHM)

    def take(self, frame: dict[str, Any]) -> None:
        self.recorded_at = _instant(frame["recorded_at"])
        received_at = _instant(frame["received_at"])
        # What was spooled comes once more, with the time that it had.
        if not self._received or received_at > self._received[-1]:
            self._received.append(received_at)
        self.measurements = {
            name: value
            for name, value in frame.items()
            if isinstance(value, int | float) and name not in RESERVED_NAMES
        }

    def rate(self) -> str:
        if len(self._received) < 2:
            return ""
        per_second = (len(self._received) - 1) / (self._received[-1] - self._received[0])
        seconds, unit = next(((s, u) for s, u in _SPANS if per_second * s >= 1), _SPANS[-1])
        return f"{per_second * seconds:,.1f}/{unit}"


class Board:
    """The stream as a table. Filled by one thread, drawn by another."""

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._console = console
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = Lock()
        self._sensors: dict[str, _Sensor] = {}
        self._rate = RecentRate()
        self._total = 0
        self._last_id: int | None = None
        self._state = Text("Connecting")

    def take(self, frame: dict[str, Any]) -> None:
        """Show one frame of the stream."""
        if "gap" in frame:
            return
        with self._lock:
            name = frame["sensor_id"]
            sensor = self._sensors.get(name) or _Sensor()
            sensor.take(frame)
            self._sensors.pop(name, None)
            self._sensors[name] = sensor
            self._total += 1
            self._last_id = frame["id"] or self._last_id
            if len(self._sensors) > MAX_SENSORS:
                del self._sensors[next(iter(self._sensors))]

    def change(self, trouble: str | None) -> None:
        """Show whether there is a connection."""
        with self._lock:
            if trouble is None:
                self._state = Text("Live", style="green")
            else:
                self._state = Text(f"Reconnecting: {trouble}", style="yellow")

    def picture(self) -> RenderableType:
        """What to draw now."""
        with self._lock:
            lines: list[RenderableType] = [self._status()]
            if self._sensors:
                lines.insert(0, self._table())
            room = self._room()
            if len(self._sensors) > room:
                more = f"{len(self._sensors) - room:,} more; choose some with --sensor"
                lines.insert(1, Text(more, style="dim"))
            return Group(*lines)

    def _room(self) -> int:
        return max(1, self._console.height - _OTHER_LINES)

    def _status(self) -> Text:
        rate = self._rate.at(self._clock(), self._total)
        sensors = len(self._sensors)
        parts = [f"{rate:,.1f} readings/s", f"{sensors:,} sensor{'' if sensors == 1 else 's'}"]
        if self._last_id is not None:
            parts.append(f"last id {self._last_id}")
        return Text(" · ").join([self._state, *map(Text, parts)])

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("Sensor", no_wrap=True, overflow="ellipsis", max_width=32)
        for heading in ("°C", "%", "hPa"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("Further", no_wrap=True, overflow="ellipsis")
        table.add_column("Age", justify="right", no_wrap=True)
        table.add_column("Rate", justify="right", no_wrap=True)
        now = self._wall_clock()
        for name in sorted(self._sensors)[: self._room()]:
            sensor = self._sensors[name]
            known = [_number(sensor.measurements.get(m)) for m in KNOWN_MEASUREMENTS]
            further = " · ".join(
                f"{measurement} {value:g}"
                for measurement, value in sensor.measurements.items()
                if measurement not in KNOWN_MEASUREMENTS
            )
            cells = [name, *known, further, _age(now - sensor.recorded_at), sensor.rate()]
            table.add_row(*map(Text, cells))
        return table


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.3g}"


def _age(seconds: float) -> str:
    """In the largest unit that there is one of; a device's clock may be ahead of ours."""
    passed = max(0.0, seconds)
    size, unit = next(((s, u) for s, u in reversed(_SPANS) if passed >= s), _SPANS[0])
    return f"{int(passed / size)} {unit}"
