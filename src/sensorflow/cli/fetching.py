"""Stored readings, line by line, from one connection to the next."""

import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Final, NamedTuple

import httpx2
import msgspec

from sensorflow.cli.remote import (
    FIRST_PATIENCE,
    LONGEST_FIRST_BACKOFF,
    PATIENCE,
    RETRIED,
    Server,
    backoff,
    printable,
    problem_of,
    retry_after_of,
)
from sensorflow.errors import Refusal, SensorFlowError
from sensorflow.history.raw import Cursor
from sensorflow.web.history import CURSOR_HEADER, GAP_HEADER

SILENCE: Final = 60.0
"""Seconds without a byte after which the connection is dead; much may have to be looked through."""

MAX_LINE: Final = 262_144
"""Bytes; far more than a reading takes."""

Parameter = tuple[str, str | int | float | bool | None]

_GAP: Final = b'{"gap":'


class ExportStopped(SensorFlowError):
    """Not all readings can be had. The message is one line for the user."""


class Order(Enum):
    """In which the readings come."""

    NEWEST_FIRST = "newest first"
    BY_ID = "by id"


class Place(NamedTuple):
    """Where a reading lies in both orders."""

    id: int
    recorded_at: datetime


class Fetcher:
    """Yields whole lines, each once, and goes on behind the last of them after a broken connection.

    It gives up as `Sender` does: after `PATIENCE` seconds without a line.
    """

    def __init__(
        self,
        client: httpx2.Client,
        server: Server,
        parameters: Sequence[Parameter],
        form: str,
        order: Order,
        start: datetime | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._server = server
        self._parameters = parameters
        self._form = form
        self._order = order
        self._start = start
        self._clock = clock
        self._sleep = sleep
        self._begun: Cursor | None = None
        self._head: bytes | None = None
        self._first: Place | None = None
        self._last: Place | None = None
        self.readings = 0

    @property
    def part(self) -> float | None:
        """How much of all has come, from 0 to 1, as far as can be known."""
        if self._begun is None or self._first is None or self._last is None:
            return None
        if self._order is Order.BY_ID:
            whole = float(self._begun.until - self._first.id)
            come = float(self._last.id - self._first.id)
        elif self._start is None:
            return None
        else:
            whole = (self._first.recorded_at - self._start).total_seconds()
            come = (self._first.recorded_at - self._last.recorded_at).total_seconds()
        return come / whole if whole else 1.0

    def lines(self) -> Iterator[bytes]:
        """Some whole lines at a time, until all have come. Raises `ExportStopped`."""
        failures = 0
        heard = self._clock()
        while True:
            retry_after = None
            try:
                with self._client.stream(
                    "GET", self._server.address, params=self._asked()
                ) as reply:
                    if reply.status_code == 200:
                        for found in self._read(reply):
                            failures, heard = 0, self._clock()
                            yield found
                        return
                    reply.read()
                    fault = printable(problem_of(reply)[1])
                    if reply.status_code not in RETRIED:
                        raise ExportStopped(fault)
                    retry_after = retry_after_of(reply)
            except httpx2.TransportError as error:
                fault = printable(str(error)) or type(error).__name__
            patience = FIRST_PATIENCE if self._begun is None else PATIENCE
            if self._clock() - heard >= patience:
                raise ExportStopped(f"{self._server.url}: {fault}")
            pause = backoff(failures, retry_after)
            self._sleep(min(pause, LONGEST_FIRST_BACKOFF) if self._begun is None else pause)
            failures += 1

    def _asked(self) -> list[Parameter]:
        """The parameters; after a break, to go on behind the last line."""
        if self._begun is None or self._last is None:
            return list(self._parameters)
        recorded_at = self._last.recorded_at if self._order is Order.NEWEST_FIRST else None
        cursor = Cursor(self._begun.until, self._last.id, recorded_at)
        return [*self._parameters, ("cursor", cursor.text())]

    def _read(self, reply: httpx2.Response) -> Iterator[bytes]:
        try:
            begun = Cursor.of(reply.headers.get(CURSOR_HEADER.decode(), ""))
        except Refusal:
            raise ExportStopped("what the server sends are no readings; check --url.") from None
        self._begun = self._begun or begun
        if gap := reply.headers.get(GAP_HEADER.decode()):
            _tell_gap(msgspec.json.decode(gap))
        rest = b""
        head_awaited = self._form == "csv"
        for part in reply.iter_raw():
            whole, end, rest = (rest + part).rpartition(b"\n")
            if len(rest) > MAX_LINE:
                raise ExportStopped("what the server sends are no readings; check --url.")
            lines = [line + b"\n" for line in whole.split(b"\n")] if end else []
            if head_awaited and lines:
                head_awaited = False
                head = lines.pop(0)
                if self._head is None:
                    self._head = head
                    yield head
                elif self._head != head:
                    raise ExportStopped("other measurements have appeared meanwhile; begin again.")
            if lines := self._readings_of(lines):
                self._note(lines)
                yield b"".join(lines)

    def _readings_of(self, lines: list[bytes]) -> list[bytes]:
        """All but what tells of gaps."""
        if not any(line.startswith(_GAP) for line in lines):
            return lines
        for line in lines:
            if line.startswith(_GAP):
                _tell_gap(msgspec.json.decode(line)["gap"])
        return [line for line in lines if not line.startswith(_GAP)]

    def _note(self, lines: Sequence[bytes]) -> None:
        self.readings += len(lines)
        self._first = self._first or self._place(lines[0])
        self._last = self._place(lines[-1])

    def _place(self, line: bytes) -> Place:
        if self._form == "csv":
            (cells,) = csv.reader([line.decode()])
            at = datetime.fromisoformat(cells[2]).replace(tzinfo=UTC)
            return Place(int(cells[0]), at)
        told = msgspec.json.decode(line)
        return Place(told["id"], datetime.fromisoformat(told["recorded_at"]))


def _tell_gap(gap: dict[str, int]) -> None:
    print(
        f"export: the readings {gap['after'] + 1} to {gap['oldest'] - 1} were removed",
        file=sys.stderr,
    )
