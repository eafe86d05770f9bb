"""Who gets which frames, and what a slow subscriber costs the others."""

from collections.abc import Sequence

import pytest

from sensorflow.live.hub import Hub
from sensorflow.live.subscriber import (
    CLOSE_TOO_SLOW,
    DirectSubscriber,
    QueuedSubscriber,
    Subscriber,
)
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch
from tests.helpers import server_reading


class Pipe:
    """A connection whose peer reads only when the test says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.unread = 0
        self.closed: tuple[int, str] | None = None

    def write_frames(self, frames: bytes) -> None:
        self.written.append(frames)
        self.unread += len(frames)

    def buffered(self) -> int:
        return self.unread

    def close_frames(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Recorder:
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def offer(self, joined: bytes, messages: Sequence[bytes]) -> bool:
        self.messages += messages
        return True

    def close(self, code: int, reason: str) -> None:
        raise AssertionError("a subscriber that keeps up is never closed")


def batch(*payloads: bytes) -> CommittedBatch:
    readings = [server_reading() for _ in payloads]
    for number, reading in enumerate(readings, 1):
        reading.id = number
    return CommittedBatch(readings, list(payloads))


@pytest.fixture
def hub() -> Hub:
    return Hub(Metrics())


def test_every_subscriber_gets_every_batch_in_order(hub: Hub) -> None:
    first, second = Recorder(), Recorder()
    hub.subscribe(first)
    hub.subscribe(second)
    hub.publish(batch(b"1", b"2"))
    hub.publish(batch(b"3"))
    assert first.messages == second.messages == [b"1", b"2", b"3"]


def test_a_new_subscriber_is_greeted_with_the_newest_reading_only(hub: Hub) -> None:
    hub.start_from(batch(b"0"))
    early = Recorder()
    hub.subscribe(early)
    hub.publish(batch(b"1", b"2"))
    late = Recorder()
    hub.subscribe(late)
    hub.publish(batch(b"3"))
    assert early.messages == [b"0", b"1", b"2", b"3"]
    assert late.messages == [b"2", b"3"]


def test_a_provisional_reading_is_shown_but_greets_nobody(hub: Hub) -> None:
    early, late = Recorder(), Recorder()
    hub.subscribe(early)
    hub.publish(batch(b"1"))
    hub.publish_provisional([b"?"])
    hub.subscribe(late)
    assert early.messages == [b"1", b"?"]
    assert late.messages == [b"1"]


def test_nothing_is_invented_for_the_first_subscriber_of_an_empty_storage(hub: Hub) -> None:
    first = Recorder()
    hub.subscribe(first)
    assert first.messages == []


def test_after_unsubscribing_nothing_comes(hub: Hub) -> None:
    gone = Recorder()
    hub.subscribe(gone)
    hub.unsubscribe(gone)
    hub.unsubscribe(gone)
    hub.publish(batch(b"1"))
    assert gone.messages == []


def test_a_batch_is_one_write_for_each_subscriber(hub: Hub) -> None:
    pipe = Pipe()
    hub.subscribe(DirectSubscriber(pipe))
    hub.publish(batch(b"1", b"22"))
    assert pipe.written == [b"\x81\x011\x81\x0222"]


@pytest.mark.parametrize("kind", ["direct", "queued"])
def test_a_subscriber_that_never_reads_is_closed_and_held_within_its_bound(
    hub: Hub, kind: str
) -> None:
    pipe = Pipe()
    queued = QueuedSubscriber(max_buffered=10_000)
    slow: Subscriber = DirectSubscriber(pipe, max_buffered=10_000) if kind == "direct" else queued
    brisk = Recorder()
    hub.subscribe(slow)
    hub.subscribe(brisk)
    for _ in range(100):
        hub.publish(batch(b"x" * 996))
    assert len(brisk.messages) == 100
    closed = pipe.closed if kind == "direct" else queued.closed_with
    assert closed is not None
    assert closed == (CLOSE_TOO_SLOW, "too slow; last id 1")
    assert pipe.unread <= 11_000
    assert len(queued._messages) <= 11


async def test_a_queued_subscriber_gives_what_it_took_and_then_ends() -> None:
    queued = QueuedSubscriber()
    queued.offer(b"", [b"1", b"2"])
    queued.close(1012, "bye")
    assert [message async for message in queued.messages()] == [b"1", b"2"]
