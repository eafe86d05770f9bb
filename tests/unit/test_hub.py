"""Who gets which frames of the live stream."""

from collections import Counter

import pytest

from sensorflow.live import hub
from sensorflow.live.subscriber import QueueSink
from sensorflow.readings import CommittedBatch, Reading, WireForms
from tests.helpers import server_reading
from tests.streams import Pipe, Stream, encode


async def test_every_subscriber_gets_every_batch_in_order() -> None:
    stream = Stream()
    first, second = stream.watch(), stream.watch()
    stream.commit("a", "b")
    stream.commit("c")
    assert first.ids == second.ids == [1, 2, 3]


async def test_a_new_subscriber_is_greeted_with_the_newest_reading_only() -> None:
    stream = Stream()
    stream.store("a", "a")
    stream.start()
    early = stream.watch()
    stream.commit("a", "b")
    late = stream.watch()
    stream.commit("a")
    assert early.ids == [2, 3, 4, 5]
    assert late.ids == [4, 5]


async def test_a_provisional_reading_is_shown_but_greets_nobody() -> None:
    stream = Stream()
    early, other = stream.watch(), stream.watch("other", since=0)
    stream.commit("a")
    reading = server_reading("a")
    stream.hub.publish_provisional([reading], [encode(reading)])
    late = stream.watch()
    assert early.ids == [1, None]
    assert late.ids == [1]
    assert other.ids == []


async def test_nothing_is_invented_for_the_first_subscriber_of_an_empty_storage() -> None:
    assert Stream().watch().ids == []


async def test_after_the_end_nothing_comes() -> None:
    stream = Stream()
    for sensors in ((), ("a", "b")):
        gone = Pipe()
        subscriber = stream.subscriber(gone, *sensors)
        stream.catch_up.begin(subscriber, stream.hub.cursor)
        stream.catch_up.end(subscriber)
        stream.catch_up.end(subscriber)
        stream.commit("a")
        assert gone.ids == []
    assert not stream.hub.subscribers
    assert not stream.hub._everything
    assert not stream.hub._filtered
    assert not stream.hub._by_sensor


async def test_it_is_watched_while_anybody_is_there_or_may_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(hub, "monotonic", lambda: now)
    stream = Stream()
    seen = [stream.hub.watched]
    now += hub.RETURN_TIMEOUT
    seen.append(stream.hub.watched)
    first, second = stream.subscriber(Pipe(slow=True)), stream.subscriber(Pipe())
    stream.catch_up.begin(first, 0)
    stream.catch_up.begin(second, None)
    stream.catch_up.end(first)
    now += 2 * hub.RETURN_TIMEOUT
    seen.append(stream.hub.watched)
    stream.catch_up.end(second)
    now += hub.RETURN_TIMEOUT - 1
    seen.append(stream.hub.watched)
    now += 1
    seen.append(stream.hub.watched)
    assert seen == [True, False, True, True, False]


async def test_for_nobody_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RETURN_TIMEOUT", 0.0)
    stream = Stream()
    stream.commit("a", "b")
    assert not stream.hub.ring.covers(0)
    assert stream.watch().ids == [2]
    stream.commit("c")
    assert stream.hub.ring.covers(2)


async def test_a_batch_is_one_write_of_the_same_bytes_for_all() -> None:
    stream = Stream()
    pipes = [stream.watch(), stream.watch()]
    stream.commit("a", "b")
    written = [pipe.frames[0].websocket for pipe in pipes]
    assert written[0] is written[1]
    assert [len(pipe.frames) for pipe in pipes] == [1, 1]


async def test_wire_forms_are_made_only_of_what_somebody_watches() -> None:
    stream = Stream()
    made: list[str] = []

    def told(reading: Reading) -> bytes:
        made.append(reading.sensor_id)
        return encode(reading)

    def commit(*sensors: str) -> None:
        readings = stream.store(*sensors).readings
        stream.hub.publish(CommittedBatch(readings, WireForms(readings, told)))

    commit("a", "b")
    assert made == []
    stream.hub.join(stream.subscriber(Pipe(), "c"))
    commit("a", "c")
    assert made == ["c"]
    stream.hub.join(stream.subscriber(Pipe()))
    commit("a", "b", "c")
    assert made == ["c", "a", "b", "c"]


async def test_a_filter_lets_through_what_it_names_once_for_the_group() -> None:
    stream = Stream()
    pipes = [Pipe() for _ in range(4)]
    wanted = [("a",), ("a", "c"), ("c", "a"), ("x",)]
    for pipe, sensors in zip(pipes, wanted, strict=True):
        stream.hub.join(stream.subscriber(pipe, *sensors))
    stream.commit("a", "b", "c", "a")
    stream.commit("b")
    assert [pipe.ids for pipe in pipes] == [[1, 4], [1, 3, 4], [1, 3, 4], []]
    assert pipes[1].frames[0] is pipes[2].frames[0]
    assert [len(pipe.frames) for pipe in pipes] == [1, 1, 1, 0]


async def test_what_was_delivered_is_counted() -> None:
    stream = Stream()
    pipes = [stream.watch(), stream.watch(), stream.watch("b", since=0)]
    stream.commit("a", "b")
    counted = Counter(
        {
            name: stream.metrics.registry.get_sample_value(f"sensorflow_{name}_total")
            for name in ("deliveries", "delivered_bytes")
        }
    )
    sent = [payload for pipe in pipes[:2] for payload in pipe.payloads]
    assert counted == {"deliveries": len(sent), "delivered_bytes": sum(map(len, sent))}


async def test_a_queue_gives_what_it_took_and_then_ends() -> None:
    stream = Stream()
    stream.commit("a")
    stream.commit("b")
    queue = QueueSink(low=10)
    for batch in (0, 1):
        queue.write(stream.hub.ring.after(batch)[0])
    assert queue.buffered() == sum(len(encode(r)) for r in stream.stored.readings)
    queue.end(1012, "bye")
    assert [frames.ids async for frames in queue.frames()] == [[1], [2]]
    assert (queue.buffered(), queue.ended_with) == (0, (1012, "bye"))
