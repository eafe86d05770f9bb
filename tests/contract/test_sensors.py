"""What `storage.base.Storage` promises of sensors: followed, counted and told, on every backend."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from sensorflow.errors import Reason, Refusal, StorageUnavailable
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import Ledger
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.readings import Reading, Stored
from sensorflow.sensors import (
    Change,
    Counts,
    Description,
    Details,
    Latest,
    Place,
    Removed,
    Sensor,
    State,
)
from sensorflow.storage.base import Storage
from sensorflow.storage.postgres.storage import PostgresStorage
from sensorflow.storage.removal import KNOWN, TIERS
from sensorflow.storage.sqlite import SqliteStorage
from tests.contract.conftest import TERMINATED, Database
from tests.helpers import NOON, device_reading, server_reading

pytestmark = pytest.mark.usefixtures("unhurried")

HARD_NAMES = ['say "hi"', "back\\slash", "line/1?x=%20", "Küche 😀", "it's", "[1]", "null", "{}"]


@pytest.fixture
def sensors(any_storage: Storage) -> Storage:
    return any_storage


async def count(storage: Storage, counts: Counts) -> UUID:
    token = uuid4()
    await storage.count(counts, token, None)
    return token


async def known(storage: Storage, sensor_id: str) -> Sensor:
    sensor = await storage.sensor(sensor_id)
    assert sensor is not None
    return sensor


def state(stored: int, last_id: int, seconds: float = 0, **latest: float) -> State:
    seen = NOON + timedelta(seconds=seconds)
    return State(
        stored, last_id, seen, {name: Latest(value, seen) for name, value in latest.items()}
    )


async def test_a_follower_begins_before_the_first_reading(sensors: Storage) -> None:
    assert await sensors.lead() == 0
    page = await sensors.gathered(0, 10)
    assert (page.after, page.until, page.more, page.sums) == (0, 0, False, {})
    assert await sensors.states([1, 2]) == {}


async def test_a_page_is_summed_up_by_sensor(sensors: Storage) -> None:
    sent: list[Reading] = [
        device_reading("a", 1.25, temperature=0.1 + 0.2, co2=417.0),
        device_reading("b", 2, humidity=5e-324),
        device_reading("a", 3, pressure=1.7976931348623157e308, **{"flow.rate-1": -1.0}),
        device_reading("a", 1, temperature=-1.0, co2=1.0),
    ]
    await sensors.append(sent)
    await sensors.lead()
    page = await sensors.gathered(0, 10)
    a, b = [(await known(sensors, name)).number for name in "ab"]
    seen = sent[0].received_at
    assert (page.after, page.until, page.more) == (0, 4, False)
    assert page.sums == {
        a: State(
            3,
            4,
            seen,
            {
                "temperature": Latest(0.1 + 0.2, sent[0].recorded_at),
                "co2": Latest(417.0, sent[0].recorded_at),
                "pressure": Latest(1.7976931348623157e308, sent[2].recorded_at),
                "flow.rate-1": Latest(-1.0, sent[2].recorded_at),
            },
        ),
        b: State(1, 2, seen, {"humidity": Latest(5e-324, sent[1].recorded_at)}),
    }


async def test_of_two_at_the_same_time_the_one_stored_later_is_the_latest(sensors: Storage) -> None:
    await sensors.append([server_reading("a", temperature=t, x=t) for t in (3.0, 1.0, 2.0)])
    await sensors.lead()
    a = (await known(sensors, "a")).number
    page = await sensors.gathered(0, 10)
    assert page.sums[a].latest == {"temperature": Latest(2.0, NOON), "x": Latest(2.0, NOON)}


async def test_a_page_ends_at_its_limit_and_tells_whether_more_follows(sensors: Storage) -> None:
    await sensors.append([server_reading("a") for _ in range(5)])
    await sensors.lead()
    found = [await sensors.gathered(after, 2) for after in (0, 2, 4, 5)]
    assert [(page.until, page.more) for page in found] == [
        (2, True),
        (4, True),
        (5, False),
        (5, False),
    ]
    a = (await known(sensors, "a")).number
    assert [page.sums[a].stored for page in found[:3]] == [2, 2, 1]


async def test_ids_that_were_never_given_are_no_pages(sensors: Storage) -> None:
    await sensors.append([server_reading("a")])
    await sensors.skip_ids()
    await sensors.append([server_reading("a")])
    await sensors.lead()
    until, stored = 0, 0
    for _ in range(2):
        page = await sensors.gathered(until, 10)
        until = page.until
        stored += sum(state.stored for state in page.sums.values())
    newest = await sensors.newest()
    assert newest is not None
    assert (until, stored) == (newest.id, 2)


async def follow(storage: Storage, states: Mapping[int, State]) -> bool:
    """Follow the next page, whatever it comes to."""
    cursor = await storage.lead()
    assert cursor is not None
    return await storage.follow(await storage.gathered(cursor, 1), states)


async def test_states_come_back_as_they_were_written_and_move_the_cursor(sensors: Storage) -> None:
    await sensors.append([server_reading("a"), server_reading("b")])
    a, b = [(await known(sensors, name)).number for name in "ab"]
    first = {
        a: state(1, 1, 0.000001, temperature=0.1 + 0.2, **{"x.y-z": -5e-324}),
        b: state(7, 2),
    }
    assert await follow(sensors, first)
    assert await sensors.lead() == 1
    assert await sensors.states([a, b, 99]) == first
    second = {a: state(2**40, 3, 5, humidity=1.7976931348623157e308)}
    assert await follow(sensors, second)
    assert await sensors.states([a, b]) == first | second
    assert (await known(sensors, "a")).state == second[a]


async def test_who_follows_from_another_cursor_writes_nothing(sensors: Storage) -> None:
    await sensors.append([server_reading("a")])
    a = (await known(sensors, "a")).number
    await sensors.lead()
    page = await sensors.gathered(0, 10)
    assert await sensors.follow(page, {a: state(1, 1)})
    assert not await sensors.follow(page, {a: state(2, 1)})
    assert await sensors.lead() == 1
    assert await sensors.states([a]) == {a: state(1, 1)}


async def test_what_was_counted_before_is_not_counted_when_it_is_followed_again(
    sensors: Storage,
) -> None:
    """As after an upgrade, which follows all from the first reading on."""
    await sensors.append([server_reading("a") for _ in range(3)])
    a = (await known(sensors, "a")).number
    assert await follow(sensors, {a: state(2, 2)})
    page = await sensors.gathered(0, 10)
    assert page.sums[a].stored == 1


async def test_counts_add_up(sensors: Storage) -> None:
    await sensors.append([server_reading("a")])
    await count(sensors, {"a": {"duplicate": 2, "conflict": 1}})
    await count(sensors, {"a": {"duplicate": 40, "clock_not_set": 5}})
    sensor = await known(sensors, "a")
    assert sensor.outcomes == {"duplicate": 42, "conflict": 1, "clock_not_set": 5}
    assert sensor.state is None
    assert sensor.first_seen == NOON


async def test_who_has_only_been_refused_is_known_and_can_still_be_stored(sensors: Storage) -> None:
    before = datetime.now(UTC)
    await count(sensors, {"new": {"out_of_range": 1}})
    sensor = await known(sensors, "new")
    assert (sensor.state, sensor.outcomes) == (None, {"out_of_range": 1})
    assert before - timedelta(minutes=1) < sensor.first_seen < before + timedelta(minutes=1)
    await sensors.append([device_reading("new")])
    await sensors.append([device_reading("new")])
    (row,) = await sensors.after(0, 10)
    assert row.sensor_id == "new"
    assert (await known(sensors, "new")).number == sensor.number


async def test_any_name_is_counted_and_found(sensors: Storage) -> None:
    await count(sensors, {name: {"duplicate": n} for n, name in enumerate(HARD_NAMES, 1)})
    await count(sensors, {name: {"duplicate": n} for n, name in enumerate(HARD_NAMES, 1)})
    for n, name in enumerate(HARD_NAMES, 1):
        assert (await known(sensors, name)).outcomes == {"duplicate": 2 * n}
        assert name in [s.sensor_id for s in await sensors.sensors(10, None, name)]
    assert await sensors.sensor("say") is None


async def listed(storage: Storage, limit: int, containing: str = "") -> list[Sequence[str]]:
    """The names on each page."""
    pages: list[Sequence[str]] = []
    after: Place | None = None
    while page := await storage.sensors(limit, after, containing):
        pages.append([sensor.sensor_id for sensor in page])
        after = page[-1].place
    return pages


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_sensors_are_listed_last_heard_first_each_once(sensors: Storage, limit: int) -> None:
    names = ["a", "b", "c", "aa", "d"]
    await sensors.append([server_reading(name) for name in names])
    numbers = [(await known(sensors, name)).number for name in names]
    heard = dict(zip(numbers, [30, 10, 20, 20], strict=False))
    assert await follow(sensors, {n: state(1, 1, at) for n, at in heard.items()})
    # Who is not followed yet counts as heard when it was first seen: at noon.
    expected = ["a", "aa", "c", "b", "d"]
    assert [name for page in await listed(sensors, limit) for name in page] == expected
    assert all(len(page) <= limit for page in await listed(sensors, limit))
    assert [name for page in await listed(sensors, limit, "a") for name in page] == ["a", "aa"]
    assert await listed(sensors, limit, "%") == []


async def test_only_one_leads_and_another_takes_over(
    storage: PostgresStorage, database: Database
) -> None:
    other = PostgresStorage(database.url)
    await other.start()
    try:
        await storage.append([server_reading("a")])
        assert await storage.lead() == 0
        assert await other.lead() is None
        with pytest.raises(StorageUnavailable):
            await other.gathered(0, 10)
        assert await storage.lead() == 0
        database.execute(TERMINATED)
        with pytest.raises(StorageUnavailable):
            await storage.gathered(0, 10)
        # The session that took its place has to be elected, as any other.
        await storage.count({"a": {"duplicate": 1}}, uuid4(), None)
        with pytest.raises(StorageUnavailable):
            await storage.gathered(0, 10)
        for _ in range(2):
            if (cursor := await _lead(other)) is not None:
                break
        assert cursor == 0
        assert await storage.lead() is None
        assert (await other.gathered(0, 10)).until == 1
    finally:
        await other.close()


async def _lead(storage: PostgresStorage) -> int | None:
    """Where the session was ended, the first attempt only tells so."""
    try:
        return await storage.lead()
    except StorageUnavailable:
        return None


async def test_the_same_counts_under_the_same_token_count_once(storage: PostgresStorage) -> None:
    first = await count(storage, {"a": {"duplicate": 1}})
    await storage.count({"a": {"duplicate": 1}}, first, None)
    assert (await known(storage, "a")).outcomes == {"duplicate": 1}
    second = uuid4()
    await storage.count({"a": {"duplicate": 1}}, second, first)
    await storage.count({"a": {"duplicate": 1}}, second, first)
    assert (await known(storage, "a")).outcomes == {"duplicate": 2}


async def test_a_settled_token_is_forgotten(storage: PostgresStorage, database: Database) -> None:
    first = await count(storage, {"a": {"duplicate": 1}})
    await storage.count({"a": {"duplicate": 1}}, uuid4(), first)
    assert database.count("commits") == 1


async def test_what_people_say_is_kept_and_searched(sensors: Storage) -> None:
    await sensors.append([server_reading("a"), server_reading("b")])
    assert (await known(sensors, "a")).details == Details()
    said = Details('Küche "😀"', "it's", {"co2": Description("ppm", None)})
    assert await sensors.describe("a", lambda _: said)
    assert (await known(sensors, "a")).details == said
    assert (await known(sensors, "b")).details == Details()
    assert await listed(sensors, 10, "Küche") == [["a"]]
    assert await sensors.describe("a", lambda found: replace(found, name=None))
    assert (await known(sensors, "a")).details == replace(said, name=None)
    assert await listed(sensors, 10, "Küche") == []
    assert not await sensors.describe("nobody", lambda _: said)


async def test_changes_that_are_refused_change_nothing(sensors: Storage) -> None:
    await sensors.append([server_reading("a")])

    def refuse(_: Details) -> Details:
        raise Refusal(Reason.BAD_DESCRIPTION, "no")

    with pytest.raises(Refusal):
        await sensors.describe("a", refuse)
    assert (await known(sensors, "a")).details == Details()


async def test_no_change_is_lost_among_others(sensors: Storage) -> None:
    await sensors.append([server_reading("a")])

    def adding(name: str) -> Change:
        return lambda found: replace(
            found, measurements={**found.measurements, name: Description("V")}
        )

    await asyncio.gather(*(sensors.describe("a", adding(f"m{n}")) for n in range(5)))
    assert len((await known(sensors, "a")).details.measurements) == 5


async def follow_all(storage: Storage) -> None:
    follower = Follower(storage, Ledger(storage, BySensor()))
    while await follower.turn():
        pass


async def rows_about(storage: Storage, number: int) -> int:
    """How many rows of any table are about a sensor."""
    assert isinstance(storage, SqliteStorage | PostgresStorage)
    tables = [*(f"rollups_{tier}" for tier in TIERS), *KNOWN]
    counts = [
        await storage.rows(f"SELECT count(*) FROM {table} WHERE sensor = {number}")
        for table in (*tables, "readings")
    ]
    return sum(int(row[0]) for (row,) in counts)


async def test_a_sensor_goes_step_by_step_with_all_that_is_known_of_it(sensors: Storage) -> None:
    await sensors.append([device_reading("ab"[n % 5 == 0], n * 3600, co2=n) for n in range(10)])
    await count(sensors, {"a": {"duplicate": 1}})
    await sensors.describe("a", lambda _: Details("A"))
    await follow_all(sensors)
    old, other = (await known(sensors, "a")).number, (await known(sensors, "b")).number
    before = await rows_about(sensors, other)
    steps = []
    while (removed := await sensors.remove_some("a", 3)) is not None:
        steps.append(removed)
    assert steps[-1].done
    assert not any(step.done for step in steps[:-1])
    assert sum(step.readings for step in steps) == 8
    assert all(step.readings <= 3 for step in steps)
    assert await sensors.sensor("a") is None
    assert await rows_about(sensors, old) == 0
    assert await rows_about(sensors, other) == before > 0
    # What it sends now is that of a new sensor, not a duplicate either.
    (stored,) = await sensors.append([device_reading("a", 3600, co2=1)])
    assert isinstance(stored, Stored)
    assert stored.reading.id == 11
    again = await known(sensors, "a")
    assert (again.number != old, again.state, again.outcomes) == (True, None, {})
    assert again.details == Details()
    assert [r.sensor_id for r in await sensors.after(0, 10)] == ["b", "b", "a"]


async def test_nothing_is_written_of_a_sensor_that_was_removed_meanwhile(sensors: Storage) -> None:
    await sensors.append([server_reading("a"), server_reading("b")])
    a, b = [(await known(sensors, name)).number for name in "ab"]
    cursor = await sensors.lead()
    assert cursor is not None
    page = await sensors.gathered(cursor, 10)
    assert await sensors.remove_some("a", 10) == Removed(1, done=True)
    assert await sensors.follow(page, page.sums)
    assert await sensors.states([a, b]) == {b: page.sums[b]}
    assert await rows_about(sensors, a) == 0
    await follow_all(sensors)
    assert await rows_about(sensors, a) == 0


async def test_a_sensor_that_keeps_sending_can_be_removed(sensors: Storage) -> None:
    await sensors.append([server_reading("a") for _ in range(250)])
    sent = 250

    async def remove() -> int:
        removed = 0
        while (step := await sensors.remove_some("a", 100)) is not None and not step.done:
            removed += step.readings
        return removed + (step.readings if step else 0)

    removal = asyncio.create_task(remove())
    while not removal.done():
        outcomes = await sensors.append([server_reading("a")])
        assert isinstance(outcomes[0], Stored)
        sent += 1
    left = await sensors.after(0, 10_000)
    assert len(left) + await removal == sent
    if left:
        assert {r.sensor_id for r in left} == {"a"}
