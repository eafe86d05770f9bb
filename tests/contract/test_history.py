"""The history of readings, page by page, on every backend: all of them, once, in their order."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from sensorflow.history import raw
from sensorflow.history.ranges import Range
from sensorflow.history.raw import Cursor, Gap, History, Selection
from sensorflow.readings import Clock, Reading
from sensorflow.storage.base import Storage
from tests.helpers import NOON, device_reading, server_reading

EVERYTHING = Selection(None, None, Range(None, None))


@pytest.fixture
async def filled(any_storage: Storage) -> tuple[Storage, list[Reading]]:
    """Readings in no order of time, many of them at the same time, some far from all others."""
    random = Random(7)
    now = datetime.now(UTC).replace(microsecond=5)
    readings = []
    for n in range(400):
        ago = random.choice((random.randrange(40), random.randrange(86_400), 86_400 * 365 * 20))
        at = now - timedelta(seconds=ago) + timedelta(hours=20 * (n % 50 == 0))
        name = random.choice(("a", "b", "c", "Küche 😀"))
        measured = {random.choice(("temperature", "pressure", "co2", "flow.x")): float(n)}
        readings.append(Reading(name, measured, at, Clock.SERVER, now, "192.0.2.7"))
    for start in range(0, len(readings), 100):
        await any_storage.append(readings[start : start + 100])
    return any_storage, readings


async def read(
    storage: Storage, selection: Selection, size: int, after: int | None = None
) -> list[Reading]:
    """All pages. Each is asked for anew, by the text of the cursor before."""
    history = History(storage)
    cursor = await history.begin(selection, after)
    found: list[Reading] = []
    while True:
        pages = history.pages(selection, Cursor.of(cursor.text()), size)
        page = await anext(pages)
        await pages.aclose()  # type: ignore[attr-defined]
        assert len(page.readings) <= size
        found += page.readings
        cursor = page.cursor
        if not page.more:
            return found


async def read_on(storage: Storage, selection: Selection, after: int | None = None) -> list[int]:
    """The same without stopping between pages; only the ids."""
    history = History(storage)
    cursor = await history.begin(selection, after)
    return [r.id or 0 async for page in history.pages(selection, cursor) for r in page.readings]


def newest_first(readings: Sequence[Reading]) -> list[Reading]:
    return sorted(readings, key=lambda r: (r.recorded_at, r.id), reverse=True)


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("sensors", [None, ("a",), ("a", "Küche 😀", "nobody")])
async def test_every_reading_comes_once_newest_first(
    filled: tuple[Storage, list[Reading]], size: int, sensors: tuple[str, ...] | None
) -> None:
    storage, readings = filled
    if size == 1:
        readings = readings[-40:]
    wanted = [r for r in readings if sensors is None or r.sensor_id in sensors]
    start = min(r.recorded_at for r in wanted) if size > 1 else max(r.recorded_at for r in wanted)
    selection = Selection(sensors, None, Range(start, None))
    everything = [r for r in filled[1] if sensors is None or r.sensor_id in sensors]
    expected = newest_first([r for r in everything if r.recorded_at >= start])
    assert await read(storage, selection, size) == expected
    assert await read_on(storage, selection) == [r.id for r in expected]


@pytest.mark.parametrize("sensors", [None, ("b", "c")])
async def test_every_reading_comes_once_in_the_order_of_ids(
    filled: tuple[Storage, list[Reading]],
    sensors: tuple[str, ...] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw, "WINDOW", 50)
    storage, readings = filled
    selection = Selection(sensors, None, Range(None, None))
    expected = [r for r in readings if sensors is None or r.sensor_id in sensors]
    assert await read(storage, selection, 7, after=0) == expected
    assert await read_on(storage, selection, 0) == [r.id for r in expected]
    after = readings[200].id or 0
    assert await read_on(storage, selection, after) == [
        r.id for r in expected if (r.id or 0) > after
    ]
    assert await read_on(storage, selection, 2**63 - 1) == []


@pytest.mark.parametrize("after", [None, 0])
async def test_a_range_holds_its_start_and_not_its_end(
    any_storage: Storage, after: int | None
) -> None:
    await any_storage.append([device_reading("a", n) for n in range(10)])
    chosen = Range(NOON + timedelta(seconds=2), NOON + timedelta(seconds=5))
    found = await read(any_storage, Selection(None, None, chosen), 2, after)
    seconds = sorted((r.recorded_at - NOON).seconds for r in found)
    assert seconds == [2, 3, 4]


@pytest.mark.parametrize("after", [None, 0])
async def test_only_what_is_asked_for_is_told(any_storage: Storage, after: int | None) -> None:
    await any_storage.append(
        [
            server_reading("a", temperature=1, co2=2, flow=3),
            server_reading("a", humidity=1),
            server_reading("b", co2=4),
        ]
    )
    selection = Selection(None, ("co2", "temperature"), Range(None, None))
    found = sorted(await read(any_storage, selection, 1, after), key=lambda r: r.id or 0)
    assert [list(r.measurements.items()) for r in found] == [
        [("co2", 2), ("temperature", 1)],
        [("co2", 4)],
    ]


@pytest.mark.parametrize("after", [None, 0])
async def test_what_comes_later_is_not_in_it(any_storage: Storage, after: int | None) -> None:
    await any_storage.append([server_reading("a") for _ in range(5)])
    history = History(any_storage)
    pages = history.pages(EVERYTHING, await history.begin(EVERYTHING, after), 2)
    found = [reading.id async for reading in _while_more_come(any_storage, pages)]
    assert sorted(found, key=lambda pk: pk or 0) == [1, 2, 3, 4, 5]


async def _while_more_come(
    storage: Storage, pages: AsyncIterator[raw.Page]
) -> AsyncIterator[Reading]:
    async for page in pages:
        for reading in page.readings:
            yield reading
        await storage.append([server_reading("a")])


@pytest.mark.parametrize("after", [None, 0])
async def test_an_empty_database_has_one_empty_page(
    any_storage: Storage, after: int | None
) -> None:
    assert await read(any_storage, EVERYTHING, 10, after) == []
    one = Selection(("a",), ("x",), Range(NOON, None))
    assert await read(any_storage, one, 10, after) == []


async def test_ids_that_jump_are_no_long_way(any_storage: Storage) -> None:
    await any_storage.append([server_reading("a")])
    await any_storage.skip_ids()
    await any_storage.append([server_reading("a"), server_reading("b")])
    selection = Selection(("a",), None, Range(None, None))
    assert len(await read(any_storage, selection, 10, 0)) == 2


async def test_what_was_removed_is_told_once(
    any_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await any_storage.append([server_reading("ab"[n % 2]) for n in range(10)])

    async def oldest() -> int:
        return 6

    monkeypatch.setattr(any_storage, "oldest", oldest)
    monkeypatch.setattr(raw, "WINDOW", 2)
    history = History(any_storage)
    for selection in (EVERYTHING, Selection(("b",), None, Range(None, None))):
        cursor = await history.begin(selection, 2)
        pages = [page async for page in history.pages(selection, cursor, 1)]
        assert [page.gap for page in pages if page.gap] == [Gap(2, 6)]
    cursor = await history.begin(EVERYTHING, 5)
    assert [page.gap async for page in history.pages(EVERYTHING, cursor)] == [None]


async def test_the_names_of_what_was_measured_are_known(any_storage: Storage) -> None:
    await any_storage.append(
        [server_reading("a", temperature=1, co2=2), server_reading("b", flow=3, co2=4)]
    )
    from sensorflow.history.follower import Follower
    from sensorflow.history.ledger import Ledger
    from sensorflow.metrics.by_sensor import BySensor

    follower = Follower(any_storage, Ledger(any_storage, BySensor()))
    await follower.turn()
    assert await any_storage.measurement_names(10, None) == ["co2", "flow", "temperature"]
    assert await any_storage.measurement_names(2, None) == ["co2", "flow"]
    assert await any_storage.measurement_names(10, ["a", "nobody"]) == ["co2", "temperature"]
