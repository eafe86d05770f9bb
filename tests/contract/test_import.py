"""`sensorflow db import-original`, from either database into every storage."""

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from sensorflow.cli.moving import importer
from sensorflow.cli.moving.import_original import import_original
from sensorflow.errors import BatchRefused, DataDirInUse, SettingsError, StorageUnavailable
from sensorflow.readings import Clock, Outcome, Reading
from sensorflow.storage.engine import open_storage
from sensorflow.storage.folder import lock_data_dir
from sensorflow.storage.original import open_original
from sensorflow.storage.postgres.storage import PostgresStorage
from tests import original
from tests.postgres import VERSIONS, Postgres, shared
from tests.weather import weather

KATHMANDU = ZoneInfo("Asia/Kathmandu")
KNOWN = ("temperature", "humidity", "pressure")


@dataclass(frozen=True)
class Place:
    """What the program stores in, and a place for the original's table beside it."""

    folder: Path
    server: Postgres | None
    url: str | None

    def original(self, rows: Sequence[tuple[object, ...]]) -> str:
        """Make the table, and return its URL."""
        if self.server is None or self.url is None:
            return original.make_file(self.folder / "original.db", rows)
        # In one database with ours, as where DATABASE_URL stays the original's.
        original.make(self.server, self.url)
        original.fill(self.server, self.url, rows)
        return self.url

    def add(self, rows: Sequence[tuple[object, ...]]) -> None:
        assert self.server is not None
        assert self.url is not None
        original.fill(self.server, self.url, rows)

    def readings(self) -> list[Reading]:
        async def read() -> list[Reading]:
            storage = open_storage(self.folder / "data", self.url)
            await storage.start()
            try:
                return await storage.after(0, 10**6)
            finally:
                await storage.close()

        return asyncio.run(read())


@pytest.fixture
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    if request.param == "sqlite":
        yield Place(tmp_path, None, None)
        return
    server = shared(request.param)
    url = server.create_database()
    monkeypatch.setenv("DATABASE_URL", url)
    yield Place(tmp_path, server, url)
    server.drop_database(url)


everywhere = pytest.mark.parametrize("place", ["sqlite", *VERSIONS], indirect=True)
embedded = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("place", ["15"], indirect=True)


def row(
    date: str | None = "2025-07-01",
    time: str | None = "12:00:00",
    temperature: object = 21.5,
    sensor: str | None = "A",
) -> tuple[object, ...]:
    return (date, time, temperature, 50.0, 1013.0, sensor, "192.0.2.1")


class Said:
    """What a run of the program has said."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self.out, self.err = captured.readouterr()

    @property
    def counts(self) -> dict[str, int]:
        """Of the summary, by what they count."""
        found = re.findall(r"^ *([\d,]+)  ([^:\n]*)", self.out, re.MULTILINE)
        return {what: int(count.replace(",", "")) for count, what in found}

    @property
    def last(self) -> str:
        return self.out.splitlines()[-1]


@pytest.mark.parametrize("place", ["sqlite", "18"], indirect=True)
def test_the_weather_comes_as_it_was_shown_and_once(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = original.shown(weather(), KATHMANDU)
    source = place.original(shown)
    assert import_original(source, "Asia/Kathmandu") == 0
    first = Said(capsys)
    assert first.counts == {"stored": 23_386}
    assert first.last.startswith("Compared: 23,386 rows are in the database")

    readings = place.readings()
    assert [r.id for r in readings] == list(range(1, 23_387))
    assert [r.recorded_at for r in readings] == sorted(r.recorded_at for r in readings)
    assert all(r.clock is Clock.SERVER and r.received_at == r.recorded_at for r in readings)
    again = [
        (
            *r.recorded_at.astimezone(KATHMANDU).strftime("%Y-%m-%d %H:%M:%S").split(),
            *map(r.measurements.get, KNOWN),
            r.sensor_id,
            r.client_ip,
        )
        for r in readings
    ]
    assert sorted(map(repr, again)) == sorted(map(repr, shown))

    assert import_original(source, "Asia/Kathmandu") == 0
    second = Said(capsys)
    assert second.counts == {"stored before": 23_386}
    assert second.last == first.last
    assert len(place.readings()) == 23_386


@everywhere
def test_rows_that_say_the_same_are_all_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # More of one second than are read at once.
    monkeypatch.setattr("sensorflow.storage.original.PAGE_ROWS", 3)
    rows = [row()] * 7 + [row(temperature=22)] * 2 + [row(time="12:00:01")] * 4
    source = place.original(rows)
    assert import_original(source, None) == 0
    assert Said(capsys).counts == {"stored": 13}
    assert import_original(source, None) == 0
    assert Said(capsys).counts == {"stored before": 13}
    temperatures = [r.measurements["temperature"] for r in place.readings()]
    assert sorted(temperatures) == [21.5] * 11 + [22] * 2


@on_postgresql
def test_what_the_original_has_stored_since_comes_with_the_next_run(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    source = place.original([row(), row(time="12:00:05")])
    assert import_original(source, None) == 0
    place.add([row(), row(time="11:59:00"), row(time="12:00:10")])
    capsys.readouterr()
    assert import_original(source, None) == 0
    assert Said(capsys).counts == {"stored": 3, "stored before": 2}
    assert len(place.readings()) == 5


@embedded
def test_what_cannot_be_a_reading_is_counted_and_told(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=3)
    source = place.original(
        [
            row(),
            row(date=None),
            row(time="noon"),
            row(date="1970-01-01"),
            row(date=f"{tomorrow:%Y-%m-%d}"),
            row(sensor=None),
            row(sensor="a\nb"),
            row(temperature="warm"),
            row(temperature="nan"),
            row(temperature="1_0"),
            ("2025-07-01", "12:00:00", None, None, None, "A", None),
            ("2025-07-01", "12:00:00.5", " 21.25", None, None, 7, None),
        ]
    )
    assert import_original(source, None) == 1
    said = Said(capsys)
    assert said.counts == {
        "stored": 2,
        "refused, no_time": 2,
        "refused, clock_not_set": 1,
        "refused, clock_ahead": 1,
        "refused, bad_sensor_id": 2,
        "refused, not_a_number": 3,
        "refused, no_measurement": 1,
    }
    assert len(said.err.splitlines()) == 10
    assert "row with the id 8: temperature is 'warm'\n" in said.err
    assert "Compared: 2 rows" in said.out
    first, second = place.readings()
    assert (second.sensor_id, second.measurements) == ("7", {"temperature": 21.25})
    assert second.recorded_at - first.recorded_at == timedelta(seconds=0.5)
    assert second.client_ip is None


@embedded
def test_a_time_shown_twice_is_the_first_and_one_never_shown_is_later(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    # Until 2019 clocks in São Paulo went from 24:00 to 23:00 in February, to 1:00 in October.
    source = place.original(
        [
            row("2018-02-17", "22:59:59"),
            row("2018-02-17", "23:30:00"),
            row("2018-02-18", "00:00:00"),
            row("2018-11-04", "00:30:00"),
            row("2018-11-04", "01:00:00"),
        ]
    )
    assert import_original(source, "America/Sao_Paulo") == 0
    assert Said(capsys).counts == {
        "stored": 5,
        "at a time that clocks in America/Sao_Paulo have shown twice": 1,
        "at a time that clocks in America/Sao_Paulo have never shown": 1,
    }
    assert [f"{r.recorded_at:%m-%dT%H:%M:%S}" for r in place.readings()] == [
        "02-18T00:59:59",
        "02-18T01:30:00",
        "02-18T03:00:00",
        "11-04T03:30:00",
        "11-04T03:00:00",
    ]


NOON = {"date_recorded": ("date", "2025-07-01"), "time_recorded": ("time", "12:00:00")}
TABLES = {
    "text": {
        "date_recorded": ("text", "2025-07-01"),
        "time_recorded": ("text", "12:00:00"),
        "temperature": ("text", "0.1"),
        "humidity": ("text", "50.25"),
        "pressure": ("text", "1013"),
        "sensor_id": ("text", "A"),
        "client_ip": ("text", "192.0.2.1"),
    },
    "exact": {
        "id": ("uuid", "00000000-0000-0000-0000-000000000007"),
        "date_recorded": ("timestamp", "2025-07-01"),
        "time_recorded": ("time(6)", "12:00:00"),
        "temperature": ("numeric(9, 4)", "0.1"),
        "humidity": ("real", "50.25"),
        "pressure": ("integer", "1013"),
        "sensor_id": ("char(1)", "A"),
        "client_ip": ("inet", "192.0.2.1"),
    },
    "single": NOON | {"temperature": ("real", "0.1"), "sensor_id": ("text", "A")},
    "with a zone": NOON
    | {
        "time_recorded": ("timetz", "15:00:00+03"),
        "temperature": ("float8", "0.1"),
        "sensor_id": ("text", "A"),
    },
}


@on_postgresql
@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_columns_of_other_types_and_fewer_of_them(
    place: Place, columns: dict[str, tuple[str, str]]
) -> None:
    assert place.server is not None
    assert place.url is not None
    kinds = ", ".join(f"{name} {kind}" for name, (kind, _) in columns.items())
    original.make(place.server, place.url, kinds)
    values = ", ".join(f"'{value}'" for _, value in columns.values())
    place.server.script(f"INSERT INTO data VALUES ({values})", place.url)
    assert import_original(place.url, None) == 0
    (reading,) = place.readings()
    assert reading.recorded_at == datetime(2025, 7, 1, 12, tzinfo=UTC)
    assert reading.sensor_id == "A"
    assert reading.measurements == {
        name: float(value) for name, (_, value) in columns.items() if name in KNOWN
    }
    assert reading.client_ip == ("192.0.2.1" if "client_ip" in columns else None)


@on_postgresql
def test_a_commit_whose_answer_got_lost_is_not_stored_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importer, "PAUSE", 0.0)
    append = PostgresStorage.append
    lost: list[UUID | None] = []

    async def losing(
        self: PostgresStorage, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]:
        outcomes = await append(self, readings, token)
        if not lost:
            lost.append(token)
            self._drop()
            raise StorageUnavailable("lost")
        return outcomes

    monkeypatch.setattr(PostgresStorage, "append", losing)
    source = place.original([row(), row()])
    assert import_original(source, None) == 0
    assert lost
    assert Said(capsys).counts == {"stored": 2}
    assert len(place.readings()) == 2


@on_postgresql
def test_what_the_database_refuses_is_told_and_the_rest_stored(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append = PostgresStorage.append

    async def refusing(
        self: PostgresStorage, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]:
        if any(reading.sensor_id == "bad" for reading in readings):
            raise BatchRefused("not this one")
        return await append(self, readings, token)

    monkeypatch.setattr(PostgresStorage, "append", refusing)
    source = place.original(
        [row(time=f"12:00:{n:02}", sensor="bad" if n == 7 else "A") for n in range(20)]
    )
    assert import_original(source, None) == 1
    said = Said(capsys)
    assert said.counts == {"stored": 19, "refused, storage_refused": 1}
    assert "1 of 20 rows are not in the database" in said.err


@on_postgresql
def test_what_is_no_table_of_the_original_is_refused_in_one_line(
    place: Place, tmp_path: Path
) -> None:
    assert place.server is not None
    assert place.url is not None
    with pytest.raises(SettingsError, match="no table data"):
        import_original(place.url, None)
    original.make(place.server, place.url, "date_recorded date, sensor_id text")
    with pytest.raises(SettingsError, match="no column time_recorded; it has date_recorded, sens"):
        import_original(place.url, None)
    place.server.script(f"DROP TABLE data; CREATE TABLE data ({original.POSTGRESQL})", place.url)
    with pytest.raises(StorageUnavailable, match="permission denied"):
        import_original(place.url, None)
    for url, line in (
        (f"sqlite:///{tmp_path / 'nothing.db'}", "there is no file"),
        ("mysql://x", "URL: write postgresql://"),
        ("postgresql://a:b@127.0.0.1:x/y", "URL: "),
    ):
        with pytest.raises(SettingsError, match=line):
            import_original(url, None)
    with pytest.raises(SettingsError, match="TIMEZONE: there is no timezone 'Mars'"):
        import_original(place.url, "Mars")
    assert place.readings() == []


@pytest.mark.parametrize("place", ["sqlite", "15"], indirect=True)
async def test_two_imports_of_one_table_do_not_meet(place: Place) -> None:
    source = await asyncio.to_thread(place.original, [row()])
    async with open_original(source):
        with pytest.raises(SettingsError, match="another import"):
            async with open_original(source):
                pass
    async with open_original(source) as table:
        assert table.rows == 1


@embedded
def test_sqlite_needs_the_server_stopped(place: Place) -> None:
    source = place.original([row()])
    lock = lock_data_dir(place.folder / "data")
    with pytest.raises(DataDirInUse):
        import_original(source, None)
    os.close(lock)
