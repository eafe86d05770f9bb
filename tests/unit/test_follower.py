"""The follower and the ledger: the same totals however often they are interrupted."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import StorageUnavailable
from sensorflow.history import follower, states
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import INTERVAL, Ledger
from sensorflow.metrics import by_sensor
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.sensors import Counts, Latest, Page, State
from tests.helpers import NOON

AWAY = StorageUnavailable("away")


class Row(NamedTuple):
    """A stored reading."""

    id: int
    sensor: int
    recorded_at: datetime
    received_at: datetime
    measurements: dict[str, float]


class Storage:
    """One stream, its states and counts; fails where the test says so."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows = list(rows)
        self.cursor = 0
        self.written: dict[int, State] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.tokens: set[UUID] = set()
        self.reads = 0
        self.fault: Callable[[str], None] = lambda _: None
        """Called before and after each thing that is done, with its name."""

    async def lead(self) -> int | None:
        self.fault("before lead")
        return self.cursor

    async def gathered(self, after: int, limit: int) -> Page:
        self.fault("before gathered")
        rows = [row for row in self.rows if row.id > after][:limit]
        return Page(after, rows[-1].id if rows else after, len(rows) == limit, naive(rows))

    async def states(self, sensors: Sequence[int]) -> dict[int, State]:
        self.fault("before states")
        self.reads += len(sensors)
        return deepcopy({n: self.written[n] for n in sensors if n in self.written})

    async def follow(self, page: Page, states: Mapping[int, State]) -> bool:
        self.fault("before follow")
        if self.cursor != page.after:
            return False
        self.cursor = page.until
        self.written |= deepcopy(dict(states))
        self.fault("after follow")
        return True

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None:
        self.fault("before count")
        if settled is not None:
            self.tokens.discard(settled)
        if token not in self.tokens:
            self.tokens.add(token)
            for sensor_id, outcomes in counts.items():
                for outcome, number in outcomes.items():
                    key = sensor_id, outcome
                    self.counts[key] = self.counts.get(key, 0) + number
        self.fault("after count")


def row(pk: int, sensor: int, recorded: int, received: int, **measurements: float) -> Row:
    at = NOON + timedelta(seconds=recorded)
    return Row(pk, sensor, at, NOON + timedelta(seconds=received), measurements)


rows = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 5),
        st.integers(0, 5),
        st.dictionaries(st.sampled_from("abcd"), st.floats(-9, 9), min_size=1),
    ),
    max_size=25,
).map(lambda made: [row(pk, s, at, got, **m) for pk, (s, at, got, m) in enumerate(made, 1)])


def naive(stream: Sequence[Row]) -> dict[int, State]:
    """What the states have to be, from all rows at once."""
    found = {}
    for sensor in {r.sensor for r in stream}:
        mine = [r for r in stream if r.sensor == sensor]
        latest = {}
        for name in {name for r in mine for name in r.measurements}:
            best = max(
                (r for r in mine if name in r.measurements), key=lambda r: (r.recorded_at, r.id)
            )
            latest[name] = Latest(best.measurements[name], best.recorded_at)
        found[sensor] = State(len(mine), mine[-1].id, max(r.received_at for r in mine), latest)
    return found


@given(rows, st.integers(1, 7), st.lists(st.integers(0, 12), max_size=8), st.integers(1, 3))
async def test_totals_are_exact_whatever_is_interrupted(
    stream: list[Row], page: int, faults: list[int], kept: int
) -> None:
    storage = Storage(stream)
    left = list(faults)

    def fault(_: str) -> None:
        """Fail after so many more things were done, before or after them."""
        if left:
            left[0] -= 1
            if left[0] < 0:
                left.pop(0)
                raise AWAY

    storage.fault = fault
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follower, "STATES_KEPT", kept)
        # Two that take turns at random stand for a leader that was frozen and comes back.
        both = [Follower(storage, Ledger(storage, BySensor()), page) for _ in range(2)]
        turns = 0
        while storage.cursor < len(stream):
            one = both[turns // 3 % 2]
            turns += 1
            try:
                await one.turn()
            except StorageUnavailable:
                one.forget()
    assert storage.written == naive(stream)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), max_size=40))
def test_the_bound_on_latest_values_does_not_depend_on_pages(made: list[tuple[str, int]]) -> None:
    stream = [row(pk, 1, at, 0, **{name: float(pk)}) for pk, (name, at) in enumerate(made, 1)]
    whole: dict[int, State] = {}
    pieces: dict[int, State] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "LATEST_KEPT", 3)
        states.follow(whole, naive(stream))
        for one in stream:
            states.follow(pieces, naive([one]))
    assert whole == pieces
    if whole:
        assert len(whole[1].latest) <= 3
        newest = max(stream, key=lambda r: (r.recorded_at, *r.measurements, r.id))
        assert newest.measurements.keys() <= whole[1].latest.keys()


async def test_states_are_read_once_and_then_remembered() -> None:
    storage = Storage([row(pk, pk % 2 + 1, pk, pk, a=1.0) for pk in range(1, 101)])
    one = Follower(storage, Ledger(storage, BySensor()), page=10)
    while await one.turn():
        pass
    assert storage.cursor == 100
    assert storage.reads == 2


async def test_who_was_overtaken_goes_on_from_where_the_other_is() -> None:
    storage = Storage([row(pk, 1, pk, pk, a=1.0) for pk in range(1, 11)])
    first, second = (Follower(storage, Ledger(storage, BySensor()), page=2) for _ in range(2))
    await first.turn()
    await second.turn()
    while await first.turn():
        pass
    assert storage.cursor == 10
    assert storage.written == naive(storage.rows)


async def test_pages_shrink_while_they_take_long_and_grow_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = Storage([row(pk, 1, pk, pk, a=1.0) for pk in range(1, 5001)])
    one = Follower(storage, Ledger(storage, BySensor()), page=400, turn=0.2)
    cursors = [storage.cursor]
    for page_takes in [0.21] * 4 + [0.06] + [0.04] * 4:
        clock = iter((100.0, 100.0 + page_takes))
        monkeypatch.setattr(follower, "monotonic", lambda clock=clock: next(clock))
        assert await one.turn()
        cursors.append(storage.cursor)
    pages = [until - after for after, until in pairwise(cursors)]
    assert pages == [400, 200, 100, 100, 100, 100, 200, 400, 400]


async def test_who_does_not_lead_follows_nothing() -> None:
    storage = Storage([row(1, 1, 1, 1, a=1.0)])

    async def lead() -> int | None:
        return None

    storage.lead = lead  # type: ignore[method-assign]
    one = Follower(storage, Ledger(storage, BySensor()))
    assert not await one.turn()
    assert storage.written == {}


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y"])), max_size=20),
    st.lists(st.sampled_from(["before count", "after count", ""]), max_size=20),
)
async def test_each_count_is_written_once(sent: list[tuple[str, str]], faults: list[str]) -> None:
    storage, counted = Storage(), BySensor()
    ledger = Ledger(storage, counted)
    left = list(faults)

    def fault(moment: str) -> None:
        if left and left[0] == moment:
            left.pop(0)
            raise AWAY
        if left and moment == "after count":
            left.pop(0)

    storage.fault = fault
    for sensor_id, outcome in sent:
        counted.count(sensor_id, outcome)
        with suppress(StorageUnavailable):
            await ledger.flush()
    storage.fault = lambda _: None
    await ledger.flush()
    assert storage.counts == {key: sent.count(key) for key in set(sent)}
    assert len(storage.tokens) <= 1, "tokens that are settled are forgotten"


async def test_counts_are_written_now_and_then() -> None:
    storage, counted = Storage(), BySensor()
    now = 100.0
    ledger = Ledger(storage, counted, clock=lambda: now)
    counted.count("a", "x")
    await ledger.flush_if_due()
    counted.count("a", "x")
    now += INTERVAL / 2
    await ledger.flush_if_due()
    assert storage.counts == {("a", "x"): 1}
    now += INTERVAL / 2
    await ledger.flush_if_due()
    assert storage.counts == {("a", "x"): 2}


def test_sensors_beyond_the_bound_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_sensor, "MAX_SENSORS", 2)
    counted = BySensor()
    for sensor_id in ("a", "b", "c", "a"):
        counted.count(sensor_id, "x")
    assert counted.take() == {"a": {"x": 2}, "b": {"x": 1}}
    counted.count("c", "x")
    assert counted.take() == {"c": {"x": 1}}


async def test_the_task_outlives_a_storage_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "POLL_INTERVAL", 0.0)
    monkeypatch.setattr(follower, "LONGEST_PAUSE", 0.0)
    storage, counted = Storage([row(pk, 1, pk, pk, a=1.0) for pk in range(1, 6)]), BySensor()
    one = Follower(storage, Ledger(storage, counted), page=2)
    counted.count("a", "x")
    faults = ["before count", "after count", "before lead", "before follow", "after follow"]

    def fault(moment: str) -> None:
        if moment in faults:
            faults.remove(moment)
            raise AWAY
        if storage.cursor == 5:
            one.stop()

    storage.fault = fault
    await one.run()
    assert faults == []
    counted.count("a", "x")
    storage.fault = lambda _: None
    await one.close()
    assert storage.written == naive(storage.rows)
    assert storage.counts == {("a", "x"): 2}
