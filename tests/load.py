"""Readings under load: what each was answered, and what has to be true of it in the end."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from tests.helpers import promised
from tests.postgres import Postgres
from tests.servers import INGEST_KEY, READ_KEY

SENDERS = 8
ANSWERED_WITHIN = 3.0
"""Seconds: the promise for every answer, whatever the database does."""
PATIENCE = 60.0
"""Seconds for states that take milliseconds on an idle machine."""

STORED, SPOOLED = 201, 202


class Serving(Protocol):
    """A server, wherever it runs: a process or a container."""

    @property
    def port(self) -> int: ...

    @property
    def base(self) -> str: ...


@dataclass
class Sent:
    """What became of the readings that were sent, by their serial number."""

    answered: dict[int, int] = field(default_factory=dict)
    """The status of each that was answered."""
    unanswered: list[int] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def acknowledged(self) -> set[int]:
        return {n for n, status in self.answered.items() if status in (STORED, SPOOLED)}

    def counts(self) -> Counter[int]:
        return Counter(self.answered.values())


class Load:
    """Sends readings from several connections until `stop`; each carries a serial number."""

    def __init__(self, server: Serving, pause: float = 0.01) -> None:
        self.sent = Sent()
        self._server = server
        self._pause = pause
        self._serials = count(1)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._senders = [
            threading.Thread(target=self._send, args=(f"sensor-{n}", n % 2 == 1), daemon=True)
            for n in range(SENDERS)
        ]

    def start(self) -> None:
        for sender in self._senders:
            sender.start()

    def stop(self) -> Sent:
        """Send nothing more, and wait for what is under way."""
        self._stop.set()
        for sender in self._senders:
            sender.join(PATIENCE)
            assert not sender.is_alive()
        if self._failure is not None:
            raise self._failure
        return self.sent

    def wait_for(self, status: int, more: int = 20) -> float:
        """Return when so many more have got this answer; how many seconds the first took."""
        with self._changed:
            started = time.monotonic()
            before = self.sent.counts()[status]
            assert self._changed.wait_for(lambda: self.sent.counts()[status] > before, PATIENCE)
            first = time.monotonic() - started
            assert self._changed.wait_for(
                lambda: self.sent.counts()[status] >= before + more, PATIENCE
            )
            return first

    def gets(self, status: int, seconds: float = 1.0) -> bool:
        """Whether one more gets this answer within so many seconds."""
        with self._changed:
            before = self.sent.counts()[status]
            return self._changed.wait_for(lambda: self.sent.counts()[status] > before, seconds)

    def _send(self, sensor: str, has_clock: bool) -> None:
        try:
            while not self._stop.is_set():
                connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
                with suppress(OSError, http.client.HTTPException):
                    connection.connect()
                    while not self._stop.is_set():
                        self._exchange(connection, sensor, has_clock)
                        self._stop.wait(self._pause)
                connection.close()
                self._stop.wait(0.01)
        except BaseException as failure:
            self._failure = failure
            raise

    def _exchange(
        self, connection: http.client.HTTPConnection, sensor: str, has_clock: bool
    ) -> None:
        with self._changed:
            serial = next(self._serials)
        body = {
            "sensor_id": sensor,
            "temperature": 20,
            "humidity": 50,
            "pressure": 1000,
            "serial": serial,
            **({"recorded_at": moment(serial)} if has_clock else {}),
        }
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
        started = time.monotonic()
        try:
            connection.request("POST", "/api/temperature_reading", json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            with self._changed:
                self.sent.unanswered.append(serial)
            raise
        with self._changed:
            self.sent.slowest = max(self.sent.slowest, time.monotonic() - started)
            self.sent.answered[serial] = response.status
            self._changed.notify_all()


def moment(serial: int) -> str:
    """A time of its own for each reading, all of them in the past."""
    return f"2026-01-{1 + serial // 86_400:02}T{time.strftime('%H:%M:%S', time.gmtime(serial))}Z"


@contextmanager
def loaded(server: Serving, pause: float = 0.01) -> Iterator[Load]:
    """A load that is stopped in the end; its readings have to be checked with `check`."""
    load = Load(server, pause)
    load.start()
    try:
        load.wait_for(STORED)
        yield load
    finally:
        load.stop()


def check(postgres: Postgres, sent: Sent) -> None:
    """Every acknowledged reading is in the database, none is twice, and no answer came late."""
    rows = postgres.execute("SELECT (extra->>'serial')::float, count(*) FROM readings GROUP BY 1")
    judge({int(serial): number for serial, number in rows}, sent)


def judge(stored: Mapping[int, int], sent: Sent) -> None:
    """The same for what is stored, by serial: how many times."""
    assert not {serial for serial, number in stored.items() if number > 1}
    assert not sent.acknowledged - stored.keys()
    assert not stored.keys() - sent.answered.keys() - set(sent.unanswered)
    assert sent.slowest < promised(ANSWERED_WITHIN)


def health(server: Serving) -> dict[str, Any]:
    """`/readyz` with the read key."""
    request = urllib.request.Request(f"{server.base}/readyz", headers={"X-API-Key": READ_KEY})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            found: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Return when the condition holds, how many seconds that took; fail after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.01)
    return time.monotonic() - started


def drained(server: Serving) -> bool:
    """Whether the database is there and nothing waits."""
    state = health(server)
    return bool(state["status"] == "ok" and state["spool"] == {"readings": 0, "bytes": 0})
