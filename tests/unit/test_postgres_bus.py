"""The PostgreSQL bus's order: whatever notices do, every reading comes once, in order of id."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC

import pytest

from sensorflow.bus import postgres
from sensorflow.bus.postgres import Audience, PostgresBus
from sensorflow.errors import StorageUnavailable
from sensorflow.readings import CommittedBatch, Reading, WireEncoder
from tests.helpers import eventually, server_reading


class Stream:
    """A database as the bus sees it: rows in order of id, and notices that the test sends."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.reads: list[tuple[int, int]] = []
        self.away = False
        self.hears: Callable[[str], None] | None = None
        self.cut = asyncio.Event()
        self.on_read: Callable[[], None] = lambda: None
        """Called once, by the next read."""

    async def listen(self, heard: Callable[[str], None], listening: Callable[[], None]) -> None:
        if self.away:
            raise StorageUnavailable("away")
        self.hears = heard
        self.cut.clear()
        listening()
        await self.cut.wait()
        self.hears = None
        raise StorageUnavailable("cut")

    async def after(self, cursor: int, limit: int) -> list[Reading]:
        if self.away:
            raise StorageUnavailable("away")
        await asyncio.sleep(0)
        # Now it is read: who waits for the read may commit what this one does not see.
        self.reads.append((cursor, limit))
        on_read, self.on_read = self.on_read, lambda: None
        on_read()
        return [reading(pk) for pk in self.rows if pk > cursor][:limit]

    def commit(self, first: int, last: int) -> CommittedBatch:
        pks = range(first, last + 1)
        self.rows += pks
        return CommittedBatch([reading(pk) for pk in pks], [b"%d" % pk for pk in pks])

    def notify(self, announcer: str, first: int, last: int) -> None:
        assert self.hears is not None
        self.hears(f"{announcer} {first} {last}")


def reading(pk: int) -> Reading:
    made = server_reading(f"s{pk}")
    made.id = pk
    return made


class Bench:
    """A running bus of the process `me`, attached to an empty stream."""

    def __init__(self, audience: Audience | None = None) -> None:
        self.stream = Stream()
        self.bus = PostgresBus(
            "me", self.stream.listen, self.stream.after, WireEncoder(UTC), audience
        )
        self.batches: list[list[int | None]] = []

    @property
    def delivered(self) -> list[int | None]:
        return [pk for batch in self.batches for pk in batch]

    @asynccontextmanager
    async def running(self, newest: int = 0) -> AsyncIterator["Bench"]:
        await self.bus.start(lambda b: self.batches.append([r.id for r in b.readings]))
        tasks = [asyncio.create_task(self.bus.run()), asyncio.create_task(self.bus.listen())]
        # In this order there is one look for what was missed, and it is over.
        await eventually(lambda: self.bus.listening)
        self.bus.attach(newest, self.bus.cursor)
        await eventually(lambda: self.bus._delivered_at > 0)
        try:
            yield self
        finally:
            self.bus.end()
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks)
            await self.bus.stop()


@pytest.fixture(autouse=True)
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that only what a test is about can deliver; a test of the poll sets it itself."""
    monkeypatch.setattr(postgres, "POLL_INTERVAL", 1000.0)


async def test_what_follows_without_a_gap_is_delivered_at_once_and_its_notice_is_no_news() -> None:
    async with Bench().running() as bench:
        reads = len(bench.stream.reads)
        for first in (1, 4):
            bench.bus.committed(bench.stream.commit(first, first + 2))
        assert bench.batches == [[1, 2, 3], [4, 5, 6]]
        bench.stream.notify("me", 1, 3)
        bench.stream.notify("me", 4, 6)
        bench.bus.committed(bench.stream.commit(7, 7))
        assert bench.delivered == list(range(1, 8))
        assert len(bench.stream.reads) == reads


async def test_others_are_read_up_to_what_their_notice_says() -> None:
    async with Bench().running() as bench:
        bench.stream.commit(1, 3)
        bench.stream.notify("other", 1, 3)
        await eventually(lambda: bench.delivered == [1, 2, 3])
        assert bench.stream.reads[-1] == (0, 3)


async def test_an_own_batch_waits_for_those_before_it() -> None:
    async with Bench().running() as bench:
        bench.stream.commit(1, 2)
        own = bench.stream.commit(3, 4)
        bench.bus.committed(own)
        assert bench.delivered == []
        bench.stream.notify("other", 1, 2)
        bench.stream.notify("me", 3, 4)
        await eventually(lambda: bench.delivered == [1, 2, 3, 4])
        assert bench.batches == [[1, 2], [3, 4]]


class Room:
    """An audience that comes and goes as the test says."""

    def __init__(self) -> None:
        self.watched = False
        self.skipped: list[int] = []

    def skip(self, last: int) -> None:
        self.skipped.append(last)


async def test_others_are_skipped_while_nobody_watches() -> None:
    room = Room()
    async with Bench(room).running() as bench:
        reads = len(bench.stream.reads)
        bench.stream.commit(1, 3)
        own = bench.stream.commit(4, 5)
        bench.bus.committed(own)
        bench.stream.notify("other", 1, 3)
        bench.stream.notify("me", 4, 5)
        await eventually(lambda: bench.bus.cursor == 5)
        bench.stream.commit(6, 7)
        bench.stream.notify("other", 6, 7)
        await eventually(lambda: bench.bus.cursor == 7)
        assert (room.skipped, bench.batches) == ([3, 7], [[4, 5]])
        assert len(bench.stream.reads) == reads
        room.watched = True
        bench.stream.commit(8, 9)
        bench.stream.notify("other", 8, 9)
        await eventually(lambda: bench.delivered == [4, 5, 8, 9])
        assert bench.stream.reads[reads:] == [(7, 2)]


async def test_what_was_missed_is_read_no_further_than_the_next_notice_while_nobody_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "READ_AT_ONCE", 2)
    room = Room()
    async with Bench(room).running() as bench:
        bench.stream.commit(1, 100)

        def commit_more() -> None:
            bench.stream.commit(101, 102)
            bench.stream.notify("other", 101, 102)

        bench.stream.on_read = commit_more
        bench.stream.cut.set()
        await eventually(lambda: bench.bus.cursor == 102)
        assert room.skipped == [100, 102]
        assert bench.delivered == [1, 2]


async def test_who_comes_behind_what_was_missed_is_not_told_of_it_by_an_own_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "READ_AT_ONCE", 2)
    room = Room()
    async with Bench(room).running() as bench:
        bench.stream.commit(1, 100)
        bench.stream.on_read = lambda: bench.stream.notify("me", 101, 102)
        bench.stream.cut.set()
        await eventually(lambda: bench.bus.cursor == 100)
        room.watched = True
        bench.bus.committed(bench.stream.commit(101, 102))
        await eventually(lambda: bench.bus.cursor == 102)
        assert room.skipped == [100]
        assert bench.batches == [[1, 2], [101, 102]]


async def test_a_notice_that_is_forgotten_while_it_is_read_for_ends_nothing() -> None:
    async with Bench().running() as bench:
        bench.stream.on_read = lambda: bench.bus.attach(0, bench.bus.cursor)
        bench.stream.notify("other", 1, 2)
        await eventually(lambda: (0, 2) in bench.stream.reads)
        bench.stream.commit(1, 3)
        bench.stream.notify("other", 1, 3)
        await eventually(lambda: bench.delivered == [1, 2, 3])


async def test_a_gap_of_ids_that_nobody_used_ends_with_the_notice() -> None:
    async with Bench().running() as bench:
        reads = len(bench.stream.reads)
        bench.bus.committed(bench.stream.commit(5, 6))
        assert bench.delivered == []
        bench.stream.notify("me", 5, 6)
        await eventually(lambda: bench.delivered == [5, 6])
        assert len(bench.stream.reads) == reads


async def test_a_notice_may_come_before_the_commits_own_answer() -> None:
    async with Bench().running() as bench:
        reads = len(bench.stream.reads)
        batch = bench.stream.commit(3, 4)
        bench.stream.notify("me", 3, 4)
        await eventually(lambda: not bench.bus._wake.is_set())
        assert bench.delivered == []
        bench.bus.committed(batch)
        await eventually(lambda: bench.delivered == [3, 4])
        assert len(bench.stream.reads) == reads


async def test_a_commit_that_nobody_heard_of_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "OWN_BATCH_TIMEOUT", 0.05)
    async with Bench().running() as bench:
        bench.stream.commit(1, 2)
        bench.stream.notify("me", 1, 2)
        await eventually(lambda: bench.delivered == [1, 2])


async def test_a_batch_that_was_read_before_its_commit_was_told_comes_once() -> None:
    async with Bench().running() as bench:
        batch = bench.stream.commit(1, 3)
        bench.stream.notify("other", 1, 2)
        await eventually(lambda: bench.delivered == [1, 2])
        bench.bus.committed(batch)
        await eventually(lambda: bench.delivered == [1, 2, 3])


async def test_a_lost_notice_is_made_up_for_by_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "POLL_INTERVAL", 0.05)
    async with Bench().running() as bench:
        bench.stream.commit(1, 2)
        bench.bus.committed(bench.stream.commit(3, 3))
        await eventually(lambda: bench.delivered == [1, 2, 3])
        # Own batches come at once again, though no notice of them is ever heard.
        bench.bus.committed(bench.stream.commit(4, 4))
        assert bench.delivered == [1, 2, 3, 4]


async def test_what_was_missed_while_not_listening_is_read_when_it_listens_again() -> None:
    async with Bench().running() as bench:
        bench.bus.committed(bench.stream.commit(1, 1))
        bench.stream.cut.set()
        await eventually(lambda: not bench.bus.listening)
        bench.stream.commit(2, 1_500)
        bench.bus.committed(bench.stream.commit(1_501, 1_501))
        await eventually(lambda: bench.delivered == list(range(1, 1_502)))
        bench.stream.commit(1_502, 1_502)
        bench.stream.notify("other", 1_502, 1_502)
        await eventually(lambda: bench.delivered[-1] == 1_502)


async def test_a_database_that_is_away_is_listened_to_when_it_is_back() -> None:
    async with Bench().running() as bench:
        bench.stream.away = True
        bench.stream.cut.set()
        await eventually(lambda: not bench.bus.listening)
        bench.stream.commit(1, 2)
        bench.stream.away = False
        await eventually(lambda: bench.bus.listening)
        await eventually(lambda: bench.delivered == [1, 2])


@pytest.mark.parametrize("bound", ["MAX_NOTICES", "MAX_WAITING"])
async def test_what_does_not_fit_the_memory_is_read_instead(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(postgres, bound, 3)
    async with Bench().running() as bench:
        for first in range(1, 20, 2):
            bench.stream.commit(first, first)
            own = bench.stream.commit(first + 1, first + 1)
            bench.stream.notify("other", first, first)
            bench.stream.notify("me", first + 1, first + 1)
            bench.bus.committed(own)
        await eventually(lambda: bench.delivered == list(range(1, 21)))


async def test_nothing_before_the_newest_is_delivered() -> None:
    bench = Bench()
    bench.stream.commit(1, 10)
    async with bench.running(newest=10):
        bench.stream.notify("other", 9, 10)
        bench.bus.committed(bench.stream.commit(11, 11))
        await eventually(lambda: bench.delivered == [11])


async def test_a_restored_backup_is_followed_from_its_own_end() -> None:
    async with Bench().running() as bench:
        bench.bus.committed(bench.stream.commit(1, 10))
        del bench.stream.rows[4:]
        bench.bus.attach(4, bench.bus.cursor)
        await eventually(lambda: not bench.bus._behind)
        bench.bus.committed(bench.stream.commit(5, 6))
        assert bench.delivered == [*range(1, 11), 5, 6]


async def test_what_is_delivered_while_the_newest_is_asked_for_is_not_delivered_again() -> None:
    async with Bench().running() as bench:
        bench.bus.committed(bench.stream.commit(1, 2))
        newest, reached = 2, bench.bus.cursor
        bench.bus.committed(bench.stream.commit(3, 4))
        bench.bus.attach(newest, reached)
        await eventually(lambda: not bench.bus._behind)
        bench.bus.committed(bench.stream.commit(5, 5))
        assert bench.delivered == [1, 2, 3, 4, 5]
