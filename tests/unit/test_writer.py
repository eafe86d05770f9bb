"""Group commit: who waits for what, and who fails with whom."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from uuid import UUID

import pytest

from sensorflow.columns import AllStored, ReadingColumns
from sensorflow.errors import BatchRefused, Reason, Refusal, StorageUnavailable
from sensorflow.ingest import writer
from sensorflow.ingest.committer import FEW, Committer
from sensorflow.ingest.queues import LARGE
from sensorflow.ingest.receipts import Answer, Receipt, Status
from sensorflow.ingest.writer import Writer
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch, Duplicate, Outcome, Reading, Stored, WireEncoder
from tests.helpers import as_columns, device_reading, eventually, server_reading


class HeldStorage:
    """Commits when the test says so, and remembers every batch it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.committed: list[str] = []
        self.held = asyncio.Event()
        self.held.set()

    def hold(self) -> None:
        self.held.clear()

    def release(self) -> None:
        self.held.set()

    async def append(self, readings: Sequence[Reading], token: UUID | None = None) -> list[Outcome]:
        self.batches.append([reading.sensor_id for reading in readings])
        await self.held.wait()
        if any(reading.sensor_id == "away" for reading in readings):
            raise StorageUnavailable("disk is full")
        if any(reading.sensor_id == "poison" for reading in readings):
            raise BatchRefused("a value")
        if any(reading.sensor_id == "bug" for reading in readings):
            raise ZeroDivisionError
        outcomes: list[Outcome] = []
        for reading in readings:
            if reading.sensor_id == "odd":
                outcomes.append(None)  # type: ignore[arg-type]
                continue
            if reading.sensor_id == "again":
                outcomes.append(Duplicate(reading))
                continue
            self.committed.append(reading.sensor_id)
            reading.id = len(self.committed)
            outcomes.append(Stored(reading))
        return outcomes

    def settle(self, token: UUID) -> None:
        pass


class RecordingBus:
    def __init__(self) -> None:
        self.batches: list[CommittedBatch] = []
        self.breaks = False
        self.on_batch: Callable[[], None] = lambda: None

    def committed(self, batch: CommittedBatch) -> None:
        if self.breaks:
            raise ZeroDivisionError
        self.on_batch()
        self.batches.append(batch)


class Bench:
    """A running writer between a held storage and a recording bus."""

    def __init__(self, max_queued: int = 100, max_batch: int = 50) -> None:
        self.storage = HeldStorage()
        self.bus = RecordingBus()
        self.encoded: list[str] = []
        """The sensors whose readings' wire forms were made."""
        wire_form = WireEncoder(UTC)

        def encode(reading: Reading) -> bytes:
            self.encoded.append(reading.sensor_id)
            return wire_form(reading)

        metrics = Metrics()
        self.writer = Writer(
            Committer(self.storage, self.bus, encode, metrics),
            metrics,
            max_queued=max_queued,
            max_batch=max_batch,
        )
        self.by_sensor = metrics.by_sensor

    def send(self, *sensors: str) -> asyncio.Future[list[Answer]]:
        return self.writer.submit([server_reading(sensor) for sensor in sensors])

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        task = asyncio.create_task(self.writer.run())
        yield self
        self.storage.release()
        self.writer.close()
        async with asyncio.timeout(30):
            await asyncio.gather(task, return_exceptions=True)


def status(answers: list[Answer]) -> list[object]:
    return [a.status if isinstance(a, Receipt) else a.reason for a in answers]


async def test_what_arrives_during_a_commit_forms_the_next_batch() -> None:
    async with Bench().running() as bench:
        bench.storage.hold()
        first = bench.send("a")
        await eventually(lambda: bench.storage.batches == [["a"]])
        rest = [bench.send("b"), bench.send("c", "d"), bench.send("e")]
        bench.storage.release()
        await asyncio.gather(first, *rest)
        assert bench.storage.batches == [["a"], ["b", "c", "d", "e"]]


async def test_nobody_is_answered_or_published_before_the_commit() -> None:
    async with Bench().running() as bench:
        bench.storage.hold()
        answer = bench.send("a")
        await eventually(lambda: bench.storage.batches == [["a"]])
        assert not answer.done()
        assert bench.bus.batches == []
        bench.storage.release()
        assert status(await answer) == [Status.STORED]
        assert [[r.sensor_id for r in b.readings] for b in bench.bus.batches] == [["a"]]


async def test_each_request_gets_its_own_answers_in_order() -> None:
    async with Bench().running() as bench:
        bench.storage.hold()
        bench.send("x")
        answers = [bench.send("a", "again"), bench.send("b")]
        bench.storage.release()
        first, second = await asyncio.gather(*answers)
        assert status(first) == [Status.STORED, Status.DUPLICATE]
        assert status(second) == [Status.STORED]
        assert isinstance(second[0], Receipt)
        assert b'"sensor_id":"b"' in second[0].wire_form


@pytest.mark.parametrize("more", [0, FEW])
async def test_wire_forms_of_a_large_commit_are_made_for_who_asks(more: int) -> None:
    async with Bench(max_queued=FEW + 3, max_batch=FEW + 3).running() as bench:
        sensors = ["again", "a", "b", *("c" for _ in range(more))]
        (_, *receipts) = await bench.send(*sensors)
        (batch,) = bench.bus.batches
        assert bench.encoded == ([] if more else ["a", "b"])
        assert [json.loads(form)["sensor_id"] for form in batch.wire_forms] == sensors[1:]
        told = [receipt.wire_form for receipt in receipts if isinstance(receipt, Receipt)]
        assert told == list(batch.wire_forms)


async def test_only_stored_readings_are_published_with_the_receipts_own_bytes() -> None:
    async with Bench().running() as bench:
        (receipt, _) = await bench.send("a", "again")
        (batch,) = bench.bus.batches
        assert isinstance(receipt, Receipt)
        assert list(batch.wire_forms) == [receipt.wire_form]


async def test_a_batch_stays_within_its_bound() -> None:
    async with Bench(max_batch=3).running() as bench:
        bench.storage.hold()
        sent = [bench.send(*"ab"), *(bench.send(name) for name in "cdefg")]
        await eventually(lambda: len(bench.storage.batches) == 1)
        bench.storage.release()
        await asyncio.gather(*sent)
        assert [len(batch) for batch in bench.storage.batches] == [3, 3, 1]


async def test_large_requests_and_small_ones_have_batches_in_turn() -> None:
    async with Bench(max_queued=1_000, max_batch=2 * LARGE).running() as bench:
        bench.storage.hold()
        answers = [bench.send("now")]
        await eventually(lambda: bench.storage.batches == [["now"]])
        answers += [bench.send(*[name] * LARGE) for name in "abc"]
        answers += [bench.send("d"), bench.send(*["e"] * (LARGE - 1))]
        bench.storage.release()
        await asyncio.gather(*answers)
        assert bench.storage.batches == [
            ["now"],
            ["d", *["e"] * (LARGE - 1)],
            [*["a"] * LARGE, *["b"] * LARGE],
            ["c"] * LARGE,
        ]
        bench.storage.batches.clear()
        bench.storage.hold()
        answers = [bench.send("now")]
        await eventually(lambda: bench.storage.batches == [["now"]])
        answers += [bench.send(*[name] * LARGE) for name in "abc"]
        bench.storage.release()
        await answers[1]
        answers += [bench.send("f")]
        await asyncio.gather(*answers)
        assert [batch[0] for batch in bench.storage.batches] == ["now", "a", "c", "f"]


async def test_where_commits_are_slow_a_batch_is_of_all_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(writer, "monotonic", lambda: now)
    async with Bench(max_queued=1_000, max_batch=3 * LARGE).running() as bench:
        bench.storage.hold()
        answers = [bench.send("now")]
        await eventually(lambda: bench.storage.batches == [["now"]])
        answers += [bench.send(*[name] * LARGE) for name in "abc"]
        answers += [bench.send("d")]
        now += 1.01 * writer.SLOW_COMMIT
        bench.storage.release()
        await asyncio.gather(*answers)
        mixed = ["d", *["a"] * LARGE, *["b"] * LARGE]
        assert bench.storage.batches == [["now"], mixed, ["c"] * LARGE]


async def test_a_batch_is_answered_and_announced_before_the_next_begins() -> None:
    async with Bench(max_queued=1_000, max_batch=LARGE).running() as bench:
        seen: list[tuple[int, int]] = []
        answers = [bench.send(*[name] * LARGE) for name in "abc"]
        bench.bus.on_batch = lambda: seen.append(
            (len(bench.storage.batches), sum(answer.done() for answer in answers))
        )
        await asyncio.gather(*answers)
        assert seen == [(1, 1), (2, 2), (3, 3)]
        assert [batch.readings[0].sensor_id for batch in bench.bus.batches] == ["a", "b", "c"]


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room() -> None:
    async with Bench(max_queued=2).running() as bench:
        bench.storage.hold()
        first = bench.send("a")
        await eventually(lambda: bench.storage.batches == [["a"]])
        queued = bench.send("b", "c")
        with pytest.raises(Refusal) as caught:
            bench.send("d")
        assert caught.value.reason is Reason.QUEUE_FULL
        assert caught.value.retry_after
        bench.storage.release()
        await asyncio.gather(first, queued)
        assert status(await bench.send("d")) == [Status.STORED]


async def test_one_reading_the_storage_refuses_fails_alone() -> None:
    async with Bench().running() as bench:
        bench.storage.hold()
        bench.send("x")
        sent = [bench.send(name) for name in ("a", "b", "poison", "c", "d")]
        bench.storage.release()
        answers = [status(answer)[0] for answer in await asyncio.gather(*sent)]
        stored = Status.STORED
        assert answers == [stored, stored, Reason.STORAGE_REFUSED, stored, stored]
        assert bench.storage.committed == ["x", "a", "b", "c", "d"]
        published = [r.sensor_id for b in bench.bus.batches for r in b.readings]
        assert published == ["x", "a", "b", "c", "d"]


async def test_a_storage_that_is_away_fails_the_batch_and_the_next_one_works() -> None:
    async with Bench().running() as bench:
        (refusal,) = await bench.send("away")
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.STORAGE_UNAVAILABLE
        assert refusal.retry_after
        assert status(await bench.send("a")) == [Status.STORED]


async def test_closing_answers_what_was_taken_and_refuses_the_rest() -> None:
    bench = Bench()
    task = asyncio.create_task(bench.writer.run())
    bench.storage.hold()
    taken = [bench.send("a"), bench.send("b")]
    await eventually(lambda: len(bench.storage.batches) == 1)
    bench.writer.close()
    with pytest.raises(Refusal) as caught:
        bench.send("c")
    assert caught.value.reason is Reason.SHUTTING_DOWN
    assert not task.done()
    bench.storage.release()
    await task
    assert [status(answer.result()) for answer in taken] == [[Status.STORED]] * 2


async def test_a_requester_that_left_harms_nobody() -> None:
    async with Bench().running() as bench:
        bench.storage.hold()
        left, stays = bench.send("a"), bench.send("b")
        left.cancel()
        bench.storage.release()
        assert status(await stays) == [Status.STORED]
        assert bench.storage.committed == ["a", "b"]


async def test_a_bug_ends_the_writer_and_leaves_nobody_waiting() -> None:
    bench = Bench()
    task = asyncio.create_task(bench.writer.run())
    bench.storage.hold()
    first = bench.send("bug")
    await eventually(lambda: len(bench.storage.batches) == 1)
    second = bench.send("b")
    bench.storage.release()
    with pytest.raises(ZeroDivisionError):
        await task
    assert status(await first) == status(await second) == [Reason.INTERNAL_ERROR]
    with pytest.raises(Refusal):
        bench.send("c")


@pytest.mark.parametrize("count", [2, 3, 9])
async def test_a_bug_after_a_commit_ends_the_writer_too(count: int) -> None:
    bench = Bench(max_queued=1_000, max_batch=LARGE)
    bench.bus.breaks = True
    task = asyncio.create_task(bench.writer.run())
    answers = [bench.send(*["a"] * LARGE) for _ in range(count)]
    async with asyncio.timeout(30):
        with pytest.raises(ZeroDivisionError):
            await task
    said = [set(status(answer.result())) for answer in answers]
    stored = len(bench.storage.committed) // LARGE
    assert said == [{Status.STORED}] * stored + [{Reason.INTERNAL_ERROR}] * (count - stored)
    with pytest.raises(Refusal):
        bench.send("d")


async def test_a_bug_in_answers_leaves_nobody_waiting() -> None:
    bench = Bench(max_queued=1_000, max_batch=LARGE)
    task = asyncio.create_task(bench.writer.run())
    answers = [bench.send(*[name] * LARGE) for name in ("odd", "a", "b")]
    async with asyncio.timeout(30):
        with pytest.raises(AttributeError):
            await task
    assert set(status(answers[0].result())) == {Reason.INTERNAL_ERROR}
    assert all(answer.done() for answer in answers)


async def test_what_leaves_no_row_is_counted_by_sensor() -> None:
    async with Bench(max_queued=6).running() as bench:
        await bench.send("a", "again", "b", "again")
        await bench.send("a", "poison")
        await bench.send("away")
        with pytest.raises(Refusal):
            bench.send(*"aaaaabb")
        bench.writer.close()
        with pytest.raises(Refusal):
            bench.send("late")
    assert bench.by_sensor.take() == {
        "again": {"duplicate": 2},
        "poison": {"storage_refused": 1},
        "away": {"storage_unavailable": 1},
        "a": {"queue_full": 5},
        "b": {"queue_full": 2},
        "late": {"shutting_down": 1},
    }


class StoresColumns:
    """Stores columns whole, from the id 7 on."""

    async def append(self, readings: Sequence[Reading], token: UUID | None = None) -> AllStored:
        assert isinstance(readings, ReadingColumns)
        readings.first_id = 7
        return AllStored(readings)

    def settle(self, token: UUID) -> None:
        pass


async def test_columns_that_are_stored_whole_are_answered_and_announced() -> None:
    sent = [device_reading(name, n) for n, name in enumerate("abc")]
    bus, metrics, encode = RecordingBus(), Metrics(), WireEncoder(UTC)
    writer = Writer(Committer(StoresColumns(), bus, encode, metrics), metrics)
    task = asyncio.create_task(writer.run())
    answers = await writer.submit(as_columns(sent))
    writer.close()
    await task
    for pk, reading in enumerate(sent, 7):
        reading.id = pk
    assert status(answers) == [Status.STORED] * 3
    assert [a.wire_form for a in answers if isinstance(a, Receipt)] == list(map(encode, sent))
    (batch,) = bus.batches
    assert list(batch.readings) == sent
    assert list(batch.wire_forms) == list(map(encode, sent))
