"""From any cursor to the live stream: nothing missing, nothing twice, nothing out of order."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorflow.live import catchup, hub
from sensorflow.live.catchup import PIECE_BYTES
from sensorflow.live.pages import PAGE, PAGES_KEPT
from sensorflow.live.ring import Ring
from sensorflow.live.subscriber import Subscriber
from tests.helpers import eventually
from tests.streams import MAX_BUFFERED, Pipe, Stream


async def test_since_replays_everything_after_the_cursor_and_goes_live() -> None:
    stream = Stream()
    for _ in range(20):
        stream.commit("a", "b")
    pipe = stream.watch(since=7)
    await eventually(lambda: len(pipe.ids) == 33 and stream.all_live)
    stream.commit("a")
    assert pipe.ids == list(range(8, 42))
    assert stream.stored.reads == 0


async def test_what_the_ring_has_no_more_comes_from_the_storage() -> None:
    stream = Stream(ring_bytes=12_000)
    for _ in range(4 * PAGE):
        stream.commit("a", "b")
    pipe = stream.watch(since=0)
    await eventually(lambda: pipe.ids[-1:] == [8 * PAGE])
    stream.commit("a")
    await eventually(lambda: pipe.ids[-1:] == [8 * PAGE + 1])
    assert pipe.ids == list(range(1, 8 * PAGE + 2))


async def test_many_at_the_same_place_share_their_reads() -> None:
    stream = Stream(ring_bytes=12_000)
    for _ in range(3 * PAGE):
        stream.commit("a")
    pipes = [stream.watch(since=n % PAGE) for n in range(200)]
    await eventually(lambda: all(pipe.ids[-1:] == [3 * PAGE] for pipe in pipes))
    assert [pipe.ids for pipe in pipes] == [
        list(range(n % PAGE + 1, 3 * PAGE + 1)) for n in range(200)
    ]
    # Two whole pages, and the rest of the third for each, which grows meanwhile.
    assert stream.stored.reads <= 3 + 200
    assert len(stream.pages._kept) <= PAGES_KEPT


async def test_a_cursor_at_the_end_needs_nothing_but_what_comes() -> None:
    stream = Stream()
    stream.commit("a")
    pipe = stream.watch(since=1)
    stream.commit("b")
    await eventually(lambda: pipe.ids == [2] and stream.all_live)
    stream.commit("c")
    assert pipe.ids == [2, 3]


async def test_a_cursor_that_only_another_worker_has_reached_waits_for_ours() -> None:
    stream = Stream()
    stream.commit("a")
    others = stream.store("b", "c")
    assert not await stream.catch_up.is_ahead(2)
    pipe = stream.watch(since=2)
    await asyncio.sleep(0)
    stream.hub.publish(others)
    await eventually(lambda: pipe.ids == [3] and stream.all_live)
    stream.commit("d")
    assert pipe.ids == [3, 4]


async def test_a_cursor_that_nobody_has_reached_is_ahead() -> None:
    stream = Stream()
    stream.commit("a")
    assert await stream.catch_up.is_ahead(2)
    stream.stored.away = True
    assert not await stream.catch_up.is_ahead(2)  # nobody can know


async def test_who_waits_for_a_stream_that_was_set_back_is_told() -> None:
    stream = Stream()
    stream.stored.away = True
    pipe = stream.watch(since=5)
    await asyncio.sleep(0)
    stream.stored.away = False
    stream.start()
    await eventually(lambda: pipe.closed is not None)
    assert pipe.closed == (1008, catchup.CURSOR_AHEAD)


async def test_a_gap_is_told_where_readings_were_removed() -> None:
    stream = Stream(ring_bytes=0)
    for _ in range(10):
        stream.commit("a")
    stream.stored.removed = 6
    everything, filtered = stream.watch(since=2), stream.watch("a", since=2)
    unaffected = stream.watch(since=6)
    await eventually(lambda: all(p.ids[-1:] == [10] for p in (everything, filtered, unaffected)))
    for pipe in (everything, filtered):
        assert pipe.payloads[0] == b'{"gap":{"after":2,"oldest":7}}'
        assert pipe.ids == [6, 7, 8, 9, 10]
    assert unaffected.ids == [7, 8, 9, 10]


@pytest.mark.parametrize("sensors", [(), ("a",), ("b",)])
async def test_a_jump_of_the_ids_is_passed_at_once(sensors: tuple[str, ...]) -> None:
    stream = Stream(ring_bytes=0)
    stream.commit("a", "b")
    stream.stored.readings[-1].id = 10**12
    stream.start()
    stream.commit("a", "b")
    stream.commit("a")
    pipe = stream.watch(*sensors, since=0)
    wanted = [r.id for r in stream.stored.readings if not sensors or r.sensor_id in sensors]
    await eventually(lambda: pipe.ids == wanted)
    assert stream.stored.reads < 20


async def test_a_filtered_subscriber_resumes_with_its_own_readings() -> None:
    stream = Stream(ring_bytes=12_000)
    for n in range(3_000):
        stream.commit("ab"[n % 2], *("rare",) * (n % 1000 == 0))
    pipe = stream.watch("rare", since=0)
    await eventually(lambda: len(pipe.ids) == 3)
    stream.commit("a")
    stream.commit("rare")
    await eventually(lambda: len(pipe.ids) == 4)
    rare = [r.id for r in stream.stored.readings if r.sensor_id == "rare"]
    assert pipe.ids == rare


@pytest.mark.parametrize("ring_bytes", [0, 300_000])
async def test_a_filtered_subscriber_is_greeted_with_the_newest_of_its_own(
    ring_bytes: int,
) -> None:
    stream = Stream(ring_bytes=ring_bytes)
    stream.commit("a")
    stream.commit("b")
    stream.commit("c")
    pipe, nothing = stream.watch("a", "b"), stream.watch("x")
    await eventually(lambda: pipe.ids == [2] and stream.all_live)
    stream.commit("b")
    stream.commit("a")
    assert pipe.ids == [2, 4, 5]
    assert nothing.ids == []


async def test_while_the_storage_is_away_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "RETRY_PAUSE", 0.01)
    stream = Stream(ring_bytes=0)
    stream.commit("a")
    stream.commit("a")
    stream.stored.away = True
    pipe = stream.watch(since=0)
    await eventually(lambda: stream.stored.reads >= 3)
    assert pipe.ids == []
    stream.stored.away = False
    await eventually(lambda: pipe.ids == [1, 2])


async def test_who_falls_behind_catches_up_and_goes_live_again() -> None:
    stream = Stream(ring_bytes=640_000)
    slow, brisk = Pipe(slow=True), stream.watch()
    stream.catch_up.begin(stream.subscriber(slow), None)
    for _ in range(1_000):
        stream.commit("a" * 50)
    assert len(brisk.ids) == 1_000
    assert slow.most_unread < MAX_BUFFERED + 100
    assert slow.ids == list(range(1, len(slow.ids) + 1))

    def all_read() -> bool:
        slow.read(10**6)
        return len(slow.ids) == 1_000

    await eventually(all_read)
    stream.commit("a")
    await eventually(lambda: slow.ids == list(range(1, 1_002)))
    assert slow.closed is None
    assert slow.most_unread < MAX_BUFFERED // 2 + PIECE_BYTES + 100


async def test_who_takes_nothing_is_closed_with_its_cursor() -> None:
    stream = Stream(stall_timeout=0.05)
    stuck = Pipe(slow=True)
    stream.catch_up.begin(stream.subscriber(stuck), None)
    while len(stuck.ids) == (stream.hub.cursor or 0):
        stream.commit("a" * 50)
    await eventually(lambda: stuck.closed is not None)
    assert stuck.closed == (1013, f"too slow; last id {stuck.ids[-1]}")
    closed = stream.metrics.registry.get_sample_value(
        "sensorflow_closed_subscribers_total", {"reason": "too_slow"}
    )
    assert closed == 1


async def test_who_takes_a_little_now_and_then_is_not_closed() -> None:
    stream = Stream(stall_timeout=0.05)
    trickle = Pipe(slow=True)
    stream.catch_up.begin(stream.subscriber(trickle), None)
    while len(trickle.ids) == (stream.hub.cursor or 0):
        stream.commit("a" * 50)
    async with asyncio.timeout(30):
        while trickle.unread >= MAX_BUFFERED // 4:
            trickle.read(200)
            await asyncio.sleep(0.02)
    await eventually(lambda: trickle.ids == list(range(1, (stream.hub.cursor or 0) + 1)))
    assert trickle.closed is None


async def test_a_fault_closes_the_subscriber_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    stream.commit("a")

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Ring, "after", fail)
    pipe = stream.watch(since=0)
    await eventually(lambda: pipe.closed is not None)
    assert pipe.closed == (1011, "internal error")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), ring_bytes=st.sampled_from([0, 12_000, 90_000, 3_000_000]))
def test_any_mix_of_commits_resumes_and_slowness_leaves_each_its_whole_stream(
    seed: int, ring_bytes: int
) -> None:
    """Each subscriber is what its cursor and its filter say, however it came by it.

    What others commit is skipped while nobody watches.
    """
    chance = random.Random(seed)

    async def play() -> None:
        stream = Stream(ring_bytes=ring_bytes)
        watching: list[tuple[Subscriber, Pipe, int, tuple[str, ...]]] = []
        left: list[tuple[Subscriber, Pipe, int, tuple[str, ...]]] = []
        for _ in range(60):
            for _ in range(chance.randrange(4)):
                batch = stream.store(*chance.choices("abcde", k=chance.randrange(1, 6)))
                if chance.random() < 0.5 or stream.hub.watched:
                    stream.hub.publish(batch)
                else:
                    stream.hub.skip(batch.readings[-1].id or 0)
            if chance.random() < 0.4:
                since = chance.randrange((stream.hub.cursor or 0) + 1)
                sensors = tuple(chance.sample("abcde", chance.randrange(3)))
                pipe = Pipe(slow=chance.random() < 0.5)
                subscriber = stream.subscriber(pipe, *sensors)
                stream.catch_up.begin(subscriber, since)
                watching.append((subscriber, pipe, since, sensors))
            for _, pipe, _, _ in watching:
                if chance.random() < 0.3:
                    pipe.read(chance.randrange(8_000))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            if chance.random() < 0.05:
                for subscriber, *_ in watching:
                    stream.catch_up.end(subscriber)
                left += watching
                watching.clear()

        def done() -> bool:
            for _, pipe, _, _ in watching:
                pipe.read(10**9)
            return stream.all_live

        await eventually(done)
        for each in (*watching, *left):
            _, pipe, since, sensors = each
            whole = [
                reading.id
                for reading in stream.stored.readings
                if (reading.id or 0) > since and (not sensors or reading.sensor_id in sensors)
            ]
            assert pipe.ids == (whole if each in watching else whole[: len(pipe.ids)])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hub, "RETURN_TIMEOUT", 0.0)
        asyncio.run(play())


async def test_after_a_skip_the_storage_has_the_greeting_and_what_came_before() -> None:
    stream = Stream()
    stream.commit("a")
    stream.store("b", "c")
    stream.hub.skip(3)
    greeted, filtered = stream.watch(), stream.watch("b")
    resumed = stream.watch(since=1)
    await eventually(lambda: stream.all_live)
    assert [pipe.ids for pipe in (greeted, filtered, resumed)] == [[3], [2], [2, 3]]
    stream.commit("b")
    assert [pipe.ids for pipe in (greeted, filtered, resumed)] == [[3, 4], [2, 4], [2, 3, 4]]
    assert stream.watch().ids == [4]


async def test_the_newest_reading_is_looked_up_once_after_a_skip() -> None:
    stream = Stream()
    stream.store("a")
    stream.hub.skip(1)
    assert stream.watch().ids == []
    await eventually(lambda: stream.all_live)
    reads = stream.stored.reads
    stream.stored.away = True
    assert stream.watch().ids == [1]
    assert stream.stored.reads == reads


async def test_who_waits_for_the_stream_to_have_a_place_has_none() -> None:
    stream = Stream()
    stream.store("a", "b")
    stream.hub.cursor = None
    pipe = Pipe()
    subscriber = stream.subscriber(pipe)
    stream.catch_up.begin(subscriber, None)
    for _ in range(3):
        assert stream.catch_up.position(subscriber) is None
        await asyncio.sleep(0)
    stream.start()
    assert stream.catch_up.position(subscriber) is None
    await eventually(lambda: stream.all_live)
    assert pipe.ids == [2]
    assert stream.catch_up.position(subscriber) == 2


async def test_who_leaves_as_the_stream_moves_does_not_join_it() -> None:
    stream = Stream()
    stream.commit("a")
    others = stream.store("b")
    subscriber = stream.subscriber(Pipe())
    stream.catch_up.begin(subscriber, 2)
    await eventually(lambda: bool(stream.hub._waiting))
    stream.hub.publish(others)
    stream.catch_up.end(subscriber)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stream.hub._everything


async def test_what_comes_during_a_greeting_comes_once() -> None:
    stream = Stream()
    stream.store("a")
    stream.hub.skip(1)
    stream.stored.gate.clear()
    pipe = stream.watch()
    await eventually(lambda: stream.stored.reads > 0)
    stream.commit("b")
    stream.stored.gate.set()
    await eventually(lambda: stream.all_live)
    stream.commit("c")
    assert pipe.ids == [2, 3]


async def test_while_the_storage_is_away_nobody_is_greeted_after_a_skip() -> None:
    stream = Stream()
    stream.store("a")
    stream.hub.skip(1)
    stream.stored.away = True
    pipe = stream.watch()
    await eventually(lambda: stream.all_live)
    stream.commit("b")
    assert pipe.ids == [2]
