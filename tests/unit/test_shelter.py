"""While the database is away: what is kept, what is told, and how it comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from sensorflow.errors import BatchRefused, Reason, Refusal, StorageUnavailable
from sensorflow.ingest.committer import Committer
from sensorflow.ingest.database import Database
from sensorflow.ingest.receipts import Answer, Receipt, Status
from sensorflow.ingest.shelter import Shelter
from sensorflow.ingest.spool import Spool
from sensorflow.ingest.writer import Writer
from sensorflow.metrics import Metrics
from sensorflow.readings import (
    CommittedBatch,
    Conflict,
    Duplicate,
    Outcome,
    Reading,
    Stored,
    WireEncoder,
)
from tests.helpers import as_columns, device_reading, eventually


class Storage:
    """Commits each token once; goes away, before or just after a commit, when the test says so."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.tokens: set[UUID] = set()
        self.settled: list[UUID] = []
        self.away = False
        self.break_after: int | None = None
        """After how many more commits the connection breaks, the last one's answer with it."""
        self.on_commit: Callable[[], object] = lambda: None

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise StorageUnavailable("connection refused")

    async def append(self, readings: Sequence[Reading], token: UUID | None = None) -> list[Outcome]:
        await self.start()
        assert token is not None
        if token in self.tokens:
            return [Duplicate(reading) for reading in readings]
        if any(reading.sensor_id == "poison" for reading in readings):
            raise BatchRefused("a value")
        self.tokens.add(token)
        self.on_commit()
        outcomes: list[Outcome] = []
        for reading in readings:
            if reading.sensor_id == "conflict":
                outcomes.append(Conflict(reading, "temperature"))
                continue
            self.rows.append(reading.sensor_id)
            reading.id = len(self.rows)
            outcomes.append(Stored(reading))
        if self.break_after is not None:
            self.break_after -= 1
            if self.break_after == 0:
                self.break_after = None
                self.away = True
                raise StorageUnavailable("the connection was closed")
        return outcomes

    def settle(self, token: UUID) -> None:
        self.settled.append(token)


class Bus:
    def __init__(self) -> None:
        self.sensors: list[str] = []

    def committed(self, batch: CommittedBatch) -> None:
        self.sensors += [reading.sensor_id for reading in batch.readings]


class Bench:
    """A writer over a storage that goes away, with a real spool."""

    def __init__(self, folder: Path, storage: Storage, max_bytes: int = 10_000_000) -> None:
        self.folder = folder
        self.storage = storage
        self.bus = Bus()
        self.shown: list[dict[str, object]] = []
        self.metrics = Metrics()
        encode = WireEncoder(UTC)
        committer = Committer(storage, self.bus, encode, self.metrics)
        self.spool = Spool(folder / "spool", max_bytes)
        self.database = Database(storage.start, waiting=lambda: self.spool.readings)
        self.shelter = Shelter(
            self.spool,
            self.database,
            committer,
            encode,
            lambda _, frames: self.shown.extend(map(json.loads, frames)),
            folder / "quarantine.ndjson",
            self.metrics,
        )
        self.writer = Writer(committer, self.metrics, self.shelter)
        self.database.on_return(self.writer.wake)

    def send(self, *sensors: str) -> asyncio.Future[list[Answer]]:
        return self.writer.submit([device_reading(sensor) for sensor in sensors])

    def value(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(f"sensorflow_{name}")
        assert value is not None
        return value

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        await self.database.attempt()
        tasks = [
            asyncio.create_task(self.database.run()),
            asyncio.create_task(self.shelter.run(self.writer.wake)),
            asyncio.create_task(self.writer.run()),
        ]
        try:
            yield self
        finally:
            self.database.stop()
            self.shelter.stop()
            self.writer.close()
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks)
            self.shelter.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Storage())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorflow.ingest.database.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("sensorflow.ingest.database.LONGEST_PAUSE", 0.02)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each spooled batch is drained alone."""
    monkeypatch.setattr("sensorflow.ingest.segments.GROUP_READINGS", 1)


def said(answers: list[Answer]) -> list[object]:
    return [a.status if isinstance(a, Receipt) else a.reason for a in answers]


async def test_away_from_the_start_readings_are_kept_shown_and_stored_later(bench: Bench) -> None:
    bench.storage.away = True
    async with bench.running():
        assert said(await bench.send("a", "b")) == [Status.SPOOLED] * 2
        assert [(frame["id"], frame["sensor_id"], frame["status"]) for frame in bench.shown] == [
            (None, "a", "spooled"),
            (None, "b", "spooled"),
        ]
        assert bench.bus.sensors == []
        assert bench.value("spooled_readings") == 2
        bench.storage.away = False
        await eventually(lambda: bench.storage.rows == ["a", "b"])
        assert said(await bench.send("c")) == [Status.STORED]
        await eventually(lambda: bench.spool.empty)
    assert bench.bus.sensors == ["a", "b", "c"]
    assert bench.value("drained_readings_total") == 2
    assert bench.value("spooled_bytes") == 0
    assert list((bench.folder / "spool").iterdir()) == []


async def test_columns_are_kept_shown_and_stored_like_their_readings(bench: Bench) -> None:
    names = [f"s{number}" for number in range(100)]
    columns = as_columns([device_reading(name) for name in names])
    async with bench.running():
        bench.storage.break_after = 1
        assert said(await bench.writer.submit(columns)) == [Status.SPOOLED] * 100
        assert [(frame["id"], frame["sensor_id"]) for frame in bench.shown] == [
            (None, name) for name in names
        ]
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty and bench.database.available)
    assert bench.storage.rows == names


async def test_a_commit_of_unknown_outcome_is_stored_once(bench: Bench) -> None:
    async with bench.running():
        bench.storage.break_after = 1
        assert said(await bench.send("a")) == [Status.SPOOLED]
        assert bench.storage.rows == ["a"]
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty and bench.database.available)
    assert bench.storage.rows == ["a"]


async def test_the_token_of_what_was_spooled_is_kept(bench: Bench) -> None:
    async with bench.running():
        await bench.send("a")
        bench.storage.away = True
        await bench.send("b")
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty and bench.database.available)
        await bench.send("c")
    assert bench.storage.rows == ["a", "b", "c"]
    assert len(bench.storage.settled) == 2
    assert set(bench.storage.settled) < bench.storage.tokens


@pytest.mark.usefixtures("one_by_one")
async def test_what_waits_is_drained_in_order_through_breaks(bench: Bench) -> None:
    bench.storage.away = True
    names = [f"s{number}" for number in range(20)]
    async with bench.running():
        for name in names:
            await bench.send(name)
        for _ in range(4):
            bench.storage.break_after = 3
            bench.storage.away = False
            await eventually(lambda: bench.storage.break_after is None)
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty)
    assert bench.storage.rows == names


@pytest.mark.usefixtures("one_by_one")
async def test_new_readings_are_not_held_up_by_what_waits(bench: Bench) -> None:
    bench.storage.away = True
    async with bench.running():
        for number in range(20):
            await bench.send(f"s{number}")
        sent: list[asyncio.Future[list[Answer]]] = []

        def send() -> None:
            if len(bench.storage.rows) == 5:
                sent.append(bench.send("new"))

        bench.storage.on_commit = send
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty)
        assert said(await sent[0]) == [Status.STORED]
    assert bench.storage.rows.index("new") == 6
    assert len(bench.storage.rows) == 21


async def test_what_cannot_be_stored_after_all_is_set_aside(bench: Bench) -> None:
    bench.storage.away = True
    async with bench.running():
        answers = [bench.send(name) for name in ("a", "conflict", "poison", "b")]
        assert [said(await answer) for answer in answers] == [[Status.SPOOLED]] * 4
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty)
    assert bench.storage.rows == ["a", "b"]
    quarantine = (bench.folder / "quarantine.ndjson").read_text()
    kept = [json.loads(line) for line in quarantine.splitlines()]
    assert [(line["reading"]["sensor_id"], line["reason"]) for line in kept] == [
        ("conflict", "conflict"),
        ("poison", "storage_refused"),
    ]
    assert bench.value("quarantined_readings_total") == 2


async def test_a_disk_that_fails_while_draining_stops_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensorflow.ingest.shelter.ADOPT_INTERVAL", 0.01)
    monkeypatch.setattr("sensorflow.ingest.shelter.DISK_PAUSE", 0.01)
    bench.storage.away = True
    async with bench.running():
        await bench.send("a", "conflict")
        quarantine = bench.folder / "quarantine.ndjson"
        quarantine.mkdir()
        bench.storage.away = False
        with capture_logs() as logs:
            await eventually(lambda: len(logs) > 1)
        assert {"the spool cannot be drained now"} <= {entry["event"] for entry in logs}
        assert said(await bench.send("b")) == [Status.STORED]
        assert not bench.spool.empty
        quarantine.rmdir()
        await eventually(lambda: bench.spool.empty)
    assert bench.storage.rows == ["a", "b"]


async def test_a_full_spool_refuses_until_there_is_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Storage(), max_bytes=500)
    bench.storage.away = True
    async with bench.running():
        assert said(await bench.send("a")) == [Status.SPOOLED]
        refusal, *_ = await bench.send("b", "c", "d")
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, refusal.retry_after) == (Reason.STORAGE_UNAVAILABLE, 5)
        assert bench.shelter.refuses
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty and bench.database.available)
        assert said(await bench.send("c")) == [Status.STORED]


async def test_a_stop_keeps_what_waits_for_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Storage())
    bench.storage.away = True
    async with bench.running():
        await bench.send("a")
    bench.storage.away = False
    async with Bench(tmp_path, bench.storage).running() as later:
        await eventually(lambda: bench.storage.rows == ["a"])
        await eventually(lambda: later.spool.empty)


async def test_each_change_is_told_once_with_what_waits(bench: Bench) -> None:
    with capture_logs() as logs:
        async with bench.running():
            bench.storage.away = True
            for name in "abc":
                await bench.send(name)
            bench.storage.away = False
            await eventually(lambda: bench.database.available)
    told = [(entry["event"], entry.get("reason"), entry["waiting"]) for entry in logs]
    assert told == [
        ("the database is away; readings go to the spool", "connection refused", 0),
        ("the database is back", None, 3),
    ]


# The ledger: each sensor's readings, once each, whatever way they took


def received(seconds: int, sensor_id: str = "a") -> Reading:
    """The same reading of a device, sent again so much later."""
    reading = device_reading(sensor_id)
    reading.received_at += timedelta(seconds=seconds)
    return reading


def drained(sent: list[Reading], outcomes: list[Outcome]) -> list[object]:
    """What is said of a spooled batch that has these outcomes."""

    class Answers(Storage):
        async def append(
            self, readings: Sequence[Reading], token: UUID | None = None
        ) -> list[Outcome]:
            return outcomes

    committer = Committer(Answers(), Bus(), WireEncoder(UTC), Metrics())
    return said(asyncio.run(committer.commit(sent, uuid4(), never, spooled=True)))


async def never(_: Sequence[Reading], _token: UUID, error: StorageUnavailable) -> list[Answer]:
    raise error


def row(reading: Reading, pk: int) -> Reading:
    kept = copy(reading)
    kept.id = pk
    return kept


def test_a_drained_retry_is_a_duplicate() -> None:
    first, again, other = received(0), received(5), received(0, "b")
    outcomes: list[Outcome] = [
        Stored(row(first, 1)),
        Duplicate(row(first, 1)),
        Conflict(row(other, 9), "temperature"),
    ]
    assert drained([first, again, other], outcomes) == [
        Status.STORED,
        Status.DUPLICATE,
        Reason.CONFLICT,
    ]


def test_a_drained_retry_of_what_was_stored_before_is_a_duplicate() -> None:
    assert drained([received(5)], [Duplicate(row(received(0), 1))]) == [Status.DUPLICATE]


def test_a_reading_twice_in_one_request_is_stored_and_a_duplicate_also_when_spooled() -> None:
    first, again = received(0), received(0)
    outcomes: list[Outcome] = [Stored(row(first, 1)), Duplicate(row(first, 1))]
    assert drained([first, again], outcomes) == [Status.STORED, Status.DUPLICATE]


def test_a_batch_that_was_committed_before_counts_as_its_rows() -> None:
    first, again, twin, clockless = received(0), received(5), received(0), received(0)
    outcomes: list[Outcome] = [
        Duplicate(row(first, 1)),
        Duplicate(row(first, 1)),
        Duplicate(row(first, 1)),
        Duplicate(clockless),
    ]
    assert drained([first, again, twin, clockless], outcomes) == [
        Status.STORED,
        Status.DUPLICATE,
        Status.DUPLICATE,
        Status.STORED,
    ]


async def test_the_ledger_adds_up_over_the_spool(bench: Bench) -> None:
    async with bench.running():
        bench.storage.break_after = 1
        names = ["a", "conflict", "b", "poison"]
        for name in names:
            assert said(await bench.send(name)) == [Status.SPOOLED]
        assert bench.metrics.by_sensor.take() == {}
        bench.storage.away = False
        await eventually(lambda: bench.spool.empty and bench.database.available)
    assert bench.storage.rows == ["a", "b"]
    assert bench.metrics.by_sensor.take() == {
        "a": {"spooled": 1},
        "b": {"spooled": 1},
        "conflict": {"spooled": 1, "conflict": 1},
        "poison": {"spooled": 1, "storage_refused": 1},
    }
