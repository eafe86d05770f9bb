"""Any sequence of sends, retries and restarts, over any format, leaves what the contract says.

The wired application, called as an ASGI server calls it, beside a model of the contract. Readings
are compared after every restart and in the end, what was counted also in between.
"""

import asyncio
import gzip
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)

from sensorflow.app import Application, create_app
from sensorflow.history import follower, ledger
from sensorflow.ingest import queues
from sensorflow.readings import Clock
from sensorflow.settings import Settings
from sensorflow.storage.engine import open_storage
from sensorflow.storage.postgres import session
from sensorflow.web import readings as web_readings
from tests.contract_model import Contract, Sent, Values, merged
from tests.helpers import NOON
from tests.postgres import shared
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY

PATIENCE = 15.0
STATUS = {"stored": 201, "duplicate": 200, "conflict": 409, "clock_not_set": 422}
UNITS = {"ns": 10**9, "us": 10**6, "ms": 1_000, "s": 1}
TOO_EARLY = datetime(1999, 12, 31, tzinfo=NOON.tzinfo)

T = TypeVar("T")
Url = Callable[[], AbstractContextManager[str | None]]
"""Makes an empty database; None is the embedded one."""

numbers = st.integers(0, 2).map(float)
names = st.sampled_from(("temperature", "flow", "level"))
values = st.dictionaries(names, numbers, min_size=1)
times = st.one_of(
    st.none(), st.integers(0, 3).map(lambda n: NOON + timedelta(seconds=n)), st.just(TOO_EARLY)
)


all_known = st.fixed_dictionaries(
    dict.fromkeys(("temperature", "humidity", "pressure", "flow"), numbers)
)
one_value = st.dictionaries(names, numbers, min_size=1, max_size=1)


@st.composite
def alike(draw: st.DrawFn) -> list[Sent]:
    """What becomes columns, unless any of it is refused."""
    names = draw(st.sets(st.sampled_from(("temperature", "humidity", "pressure")), min_size=1))
    measured = st.fixed_dictionaries(dict.fromkeys(sorted(names), numbers))
    one = readings(measured, draw(st.sampled_from((times, st.none()))))
    return draw(st.lists(one, min_size=1, max_size=12))


@st.composite
def readings(
    draw: st.DrawFn,
    measured: st.SearchStrategy[Values] = values,
    at_times: st.SearchStrategy[datetime | None] = times,
) -> Sent:
    at = draw(at_times)
    refused = "clock_not_set" if at == TOO_EARLY else None
    return Sent(draw(st.sampled_from("abc")), draw(measured), at, refused)


def told(sent: Sent) -> dict[str, Any]:
    """As JSON."""
    at = {} if sent.at is None else {"recorded_at": sent.at.isoformat()}
    return {"sensor_id": sent.sensor_id, **at, **sent.values}


def line(sent: Sent, units: int) -> str:
    """As a line of Influx's, whose timestamp counts so many units a second."""
    ((name, value),) = sent.values.items()
    at = "" if sent.at is None else f" {int(sent.at.timestamp()) * units}"
    return f"{name},sensor_id={sent.sensor_id} value={value}{at}"


class Program:
    """The application on one DATA_DIR and one database, started and stopped; called in its loop."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self._folder = folder
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._application: Application | None = None

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(call, PATIENCE))

    def start(self) -> None:
        keys = {"api_key": INGEST_KEY, "api_key_ws": READ_KEY, "admin_key": ADMIN_KEY}
        self._application = create_app(
            Settings(data_dir=self._folder, database_url=self._url, **keys)
        )
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._answered: asyncio.Queue[str] = asyncio.Queue()

        async def receive() -> dict[str, Any]:
            return {"type": await self._told.get()}

        async def send(message: Any) -> None:
            self._answered.put_nowait(message["type"])

        self._lifespan = self._loop.create_task(
            self._application.asgi({"type": "lifespan"}, receive, send)
        )
        self._tell("lifespan.startup")

    def stop(self) -> None:
        self._tell("lifespan.shutdown")
        self.run(asyncio.wait_for(self._lifespan, PATIENCE))

    def _tell(self, what: str) -> None:
        self._told.put_nowait(what)
        assert self.run(self._answered.get()) == f"{what}.complete"

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def ask(
        self, method: str, path: str, body: bytes = b"", key: str = INGEST_KEY, **headers: str
    ) -> tuple[int, bytes]:
        return self.run(self.asked(method, path, body, key, **headers))

    async def asked(
        self, method: str, path: str, body: bytes = b"", key: str = INGEST_KEY, **headers: str
    ) -> tuple[int, bytes]:
        path, _, query = path.partition("?")
        fields = {"x-api-key": key, **{n.replace("_", "-"): v for n, v in headers.items()}}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            "client": ("192.0.2.7", 1),
            "scheme": "http",
            "http_version": "1.1",
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        assert self._application is not None
        await self._application.asgi(scope, receive, send)
        return sent[0]["status"], b"".join(part["body"] for part in sent[1:])

    def total(self, name: str, **labels: str) -> float:
        assert self._application is not None
        return self._application.metrics.registry.get_sample_value(name, labels) or 0.0

    def stored(self) -> list[Any]:
        """Every reading in the database, of a program that is stopped."""

        async def read() -> list[Any]:
            storage = open_storage(self._folder, self._url)
            await storage.start()
            try:
                return await storage.after(0, 100_000)
            finally:
                await storage.close()

        return self.run(read())


class Sequences(RuleBasedStateMachine):
    """The rules; a subclass says on which database."""

    url: Url

    def __init__(self) -> None:
        super().__init__()
        self._made = type(self).url()
        self._folder = tempfile.TemporaryDirectory(prefix="sensorflow-sequence-")
        self.contract = Contract()
        self.unnamed: Counter[str] = Counter()
        """Refusals without a sensor since the last start."""
        self.at_start: Counter[tuple[str, str]] = Counter()
        self.again: Callable[[], None] = lambda: None
        self.program = Program(Path(self._folder.name), self._made.__enter__())
        self.program.start()

    def teardown(self) -> None:
        try:
            self.counts_add_up()
            self.program.stop()
            self.exactly_these_are_stored()
        finally:
            self.program.close()
            self._made.__exit__(None, None, None)
            self._folder.cleanup()

    def do(self, send: Callable[[], None]) -> None:
        """Send something, and remember it for a retry."""
        send()
        self.again = send

    @rule(sent=readings(all_known))
    def original_route(self, sent: Sent) -> None:
        def send() -> None:
            status, _ = self.program.ask(
                "POST", "/api/temperature_reading", json.dumps(told(sent)).encode()
            )
            assert status == STATUS[self.contract.take(sent)]

        self.do(send)

    @rule(sent=readings())
    def one(self, sent: Sent) -> None:
        def send() -> None:
            status, _ = self.program.ask("POST", "/api/readings", json.dumps(told(sent)).encode())
            assert status == STATUS[self.contract.take(sent)]

        self.do(send)

    @rule(
        sent=st.lists(readings(), min_size=1, max_size=12) | alike(),
        lines=st.booleans(),
        packed=st.booleans(),
        broken=st.integers(0, 1),
    )
    def many(self, sent: list[Sent], *, lines: bool, packed: bool, broken: int) -> None:
        items = [json.dumps(told(one)) for one in sent] + ['{"flow":1}'] * broken
        body = ("\n".join(items) if lines else f"[{','.join(items)}]").encode()
        headers = {"content_type": "application/x-ndjson" if lines else "application/json"}
        if packed:
            body, headers["content_encoding"] = gzip.compress(body), "gzip"

        def send() -> None:
            status, answer = self.program.ask("POST", "/api/readings", body, **headers)
            outcomes = Counter(self.contract.take(one) for one in sent)
            refused = outcomes.pop("clock_not_set", 0) + broken
            self.unnamed["missing_field"] += broken
            best = 201 if outcomes["stored"] else 200 if outcomes["duplicate"] else 422
            assert status == best
            counts = json.loads(answer)
            for name in ("stored", "duplicate", "conflict"):
                assert counts[name] == outcomes[name], name
            assert counts["refused"] == refused

        self.do(send)

    @rule(sent=readings())
    def station(self, sent: Sent) -> None:
        listed = [{"value_type": n, "value": f"{v:.2f}"} for n, v in sent.values.items()]
        message = {"sensordatavalues": listed, **told(sent)}
        for name in ("sensor_id", *sent.values):
            del message[name]
        body = json.dumps(message).encode()

        def send() -> None:
            status, _ = self.program.ask("POST", "/api/readings", body, x_sensor=sent.sensor_id)
            assert status == STATUS[self.contract.take(sent)]

        self.do(send)

    @rule(
        sent=st.lists(readings(one_value), min_size=1, max_size=12),
        route=st.sampled_from(("/write", "/api/v2/write")),
        precision=st.sampled_from(list(UNITS)),
        broken=st.integers(0, 1),
    )
    def lines(self, sent: list[Sent], route: str, precision: str, broken: int) -> None:
        # A line that is refused is one; the others are merged.
        taken = merged(one for one in sent if one.refused is None)
        body = "\n".join([line(one, UNITS[precision]) for one in sent] + ["flow"] * broken)

        def send() -> None:
            status, answer = self.program.ask(
                "POST", f"{route}?precision={precision}", body.encode()
            )
            for one in sent:
                if one.refused is not None:
                    self.contract.take(one)
            self.unnamed["not_line_protocol"] += broken
            conflicting = [n for one, n in taken if self.contract.take(one) == "conflict"]
            dropped = broken + sum(conflicting) + sum(one.refused is not None for one in sent)
            assert status == (400 if dropped else 204)
            assert re.findall(rb"dropped=(\d+)", answer) == [b"%d" % dropped] * (dropped > 0)

        self.do(send)

    @rule()
    def retry(self) -> None:
        """The answer got lost: the device sends the same once more."""
        self.again()

    @rule()
    def restart(self) -> None:
        self.program.stop()
        self.exactly_these_are_stored()
        self.program.start()
        self.unnamed.clear()
        self.at_start = self.contract.ledger.copy()

    @rule()
    def counts_add_up(self) -> None:
        wanted: dict[str, Counter[str]] = {}
        for (sensor_id, outcome), number in self.contract.ledger.items():
            wanted.setdefault(sensor_id, Counter())[outcome] += number
        found = self.program.run(self._counted(self.contract.ledger.total()))
        for sensor_id, counts in found.items():
            ours = wanted.pop(sensor_id)
            assert counts["received"] == ours.total()
            for name in ("stored", "duplicate", "conflict"):
                assert counts[name] == ours.pop(name, 0), name
            assert Counter(counts["refused"]) == ours
            assert counts["spooled"] == 0
        assert not wanted
        since = self.contract.ledger - self.at_start
        totals = Counter[str]()
        for (_, outcome), number in since.items():
            totals[outcome] += number
        for status in ("stored", "duplicate"):
            assert self.program.total("sensorflow_receipts_total", status=status) == totals[status]
        totals += self.unnamed
        for reason in ("conflict", "clock_not_set", "missing_field", "not_line_protocol"):
            assert self.program.total("sensorflow_refusals_total", reason=reason) == totals[reason]

    def exactly_these_are_stored(self) -> None:
        by_time: dict[tuple[str, datetime], list[Values]] = {}
        without_clock: dict[str, list[Values]] = {}
        found = self.program.stored()
        for reading in found:
            if reading.clock is Clock.DEVICE:
                key = (reading.sensor_id, reading.recorded_at)
                by_time.setdefault(key, []).append(reading.measurements)
            else:
                without_clock.setdefault(reading.sensor_id, []).append(reading.measurements)
        assert by_time == self.contract.by_time
        assert without_clock == self.contract.without_clock
        assert [one.id for one in found] == sorted({one.id for one in found})

    async def _counted(self, number: int) -> dict[str, Any]:
        """The ledger, as soon as so many readings are counted in it."""
        while True:
            status, body = await self.program.asked("GET", "/api/sensors", key=READ_KEY)
            assert status == 200
            found = {one["sensor_id"]: one["counts"] for one in json.loads(body)["sensors"]}
            if sum(counts["received"] for counts in found.values()) >= number:
                return found
            await asyncio.sleep(0.005)


def on_postgres(version: str) -> Url:
    @contextmanager
    def made() -> Iterator[str]:
        server = shared(version)
        url = server.create_database(migrated=True)
        yield url
        server.drop_database(url)

    return made


BACKENDS: dict[str, Url] = {
    "sqlite": lambda: nullcontext(None),
    "postgresql-15": on_postgres("15"),
    "postgresql-18": on_postgres("18"),
}


def run(backend: str, examples: int, steps: int) -> None:
    machine = type("Sequences", (Sequences,), {"url": staticmethod(BACKENDS[backend])})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # A sequence is told as it failed: a shorter one would take long to find, since what is
            # never counted is waited for.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "POLL_INTERVAL", 0.005)
    monkeypatch.setattr(ledger, "INTERVAL", 0.005)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a few readings go the ways of a large request."""
    monkeypatch.setattr(web_readings, "ENOUGH", 2)
    monkeypatch.setattr(session, "COPY_FROM", 4)
    monkeypatch.setattr(queues, "LARGE", 3)


@pytest.mark.parametrize(
    ("backend", "examples"), [("sqlite", 10), ("postgresql-15", 2), ("postgresql-18", 2)]
)
def test_what_is_left_is_what_the_contract_says(backend: str, examples: int) -> None:
    run(backend, examples, steps=15)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    ("backend", "examples"), [("sqlite", 150), ("postgresql-15", 25), ("postgresql-18", 25)]
)
def test_what_is_left_is_what_the_contract_says_for_long(backend: str, examples: int) -> None:
    run(backend, examples, steps=50)
