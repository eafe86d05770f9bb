"""The dashboards' SQL on real databases with real readings, asked by the role of the docs."""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sensorflow.cli.recording import Row
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import Ledger
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.grafana import DASHBOARDS, FOLDER, View, shortest, sql_of
from tests.postgres import PASSWORD, ROLE, SUPERUSER, VERSIONS, Postgres, shared
from tests.weather import as_reading, weather

ROOT = Path(__file__).parents[2]
KNOWN = ("temperature", "humidity", "pressure")

PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
]
VARIABLES = {
    variable["name"]: variable["query"]
    for dashboard in DASHBOARDS.values()
    for variable in dashboard["templating"]["list"]
}

QUOTED = "line 'A'"
"""A sensor whose name would end a string, and which has measurements of its own."""

YEAR = View(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC), timedelta(hours=12))
DAY = View(datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 2, tzinfo=UTC), timedelta(minutes=2))
HOURS = View(
    datetime(2013, 7, 1, 1, tzinfo=UTC),
    datetime(2013, 7, 1, 7, tzinfo=UTC),
    timedelta(seconds=30),
)
VIEWS = {"a year": YEAR, "a day": DAY, "six hours": HOURS}


def line(start: datetime) -> list[Row]:
    return [
        Row(n, QUOTED, start + timedelta(minutes=n), {"flow": n / 2, "concentration": 7.5})
        for n in range(120)
    ]


async def fill(url: str) -> None:
    storage = PostgresStorage(url)
    await storage.start()
    try:
        rows = list(chain(weather(), line(DAY.start), line(YEAR.end - timedelta(days=1))))
        for first in range(0, len(rows), 4_000):
            await storage.append(list(map(as_reading, rows[first : first + 4_000])))
        await follow(storage)
    finally:
        await storage.close()


async def follow(storage: PostgresStorage) -> None:
    follower = Follower(storage, Ledger(storage, BySensor()))
    while await follower.turn():
        pass


def make_role(server: Postgres, database: str, **variables: str) -> str:
    """Run the file that docs/deployment.md names, as a superuser; what psql told."""
    done = subprocess.run(
        [server.programs / "psql", f"--file={FOLDER / 'role.sql'}"],
        env={
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": server.password,
            "PGDATABASE": database.rpartition("/")[2],
            **variables,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def ask(url: str, sql: str, first: str = "") -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, timeout=30, command_timeout=30)
        try:
            if first:
                await connection.execute(first)
            return await connection.fetch(sql)
        finally:
            await connection.close()

    return asyncio.run(run())


class Source:
    """A filled database, as Grafana's data source sees it."""

    def __init__(self, server: Postgres, database: str) -> None:
        self._url = server.url(database.rpartition("/")[2], "grafana")

    def ask(self, sql: str, first: str = "") -> list[asyncpg.Record]:
        return ask(self._url, sql, first)


@pytest.fixture(scope="module", params=VERSIONS)
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    server = shared(request.param)
    database = server.create_database()
    try:
        asyncio.run(fill(database))
        # A second time it is no error.
        for _ in range(2):
            make_role(server, database, GRAFANA_DB_PASSWORD=PASSWORD)
        server.execute("ANALYZE", database=database)
        yield Source(server, database)
    finally:
        server.drop_database(database)
        server.execute("DROP ROLE IF EXISTS grafana")


def view_of(panel: dict[str, Any], view: View) -> View:
    """With the panel's shortest interval, and a sensor that has what it shows."""
    interval = max(view.interval, shortest(panel))
    sensor = QUOTED if panel["title"] == "$measurement" else view.sensor
    return View(view.start, view.end, interval, sensor=sensor)


def tier_of(view: View) -> str:
    if view.interval < timedelta(minutes=1):
        return "readings_1"
    return "rollups_minute" if view.interval < timedelta(hours=1) else "rollups_hour"


# What Grafana reads.


def test_each_dashboard_and_each_panel_has_its_own_id() -> None:
    uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
    assert sorted(uids) == ["sensorflow-overview", "sensorflow-sensor"]
    for dashboard in DASHBOARDS.values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        taken = {
            (x, y)
            for place in (panel["gridPos"] for panel in dashboard["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        areas = [panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in dashboard["panels"]]
        assert len(taken) == sum(areas), "panels lie on each other"
        assert max(x for x, _ in taken) == 23


def test_everything_asks_the_provisioned_data_source() -> None:
    text = (FOLDER / "provisioning/datasources/sensorflow.yml").read_text()
    (uid,) = re.findall(r"^    uid: (\S+)$", text, re.MULTILINE)
    (kind,) = re.findall(r"^    type: (\S+)$", text, re.MULTILINE)
    provisioned = {"type": kind, "uid": uid}
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            assert panel["datasource"] == provisioned
            assert [target["datasource"] for target in panel["targets"]] == [provisioned]
        for variable in dashboard["templating"]["list"]:
            assert variable["datasource"] == provisioned


def test_the_data_source_holds_no_secret() -> None:
    text = (FOLDER / "provisioning/datasources/sensorflow.yml").read_text()
    values = dict(re.findall(r"^ +(url|user|database|sslmode|password): (.+)$", text, re.MULTILINE))
    assert len(values) == 5
    assert all(re.fullmatch(r"(\$SENSORFLOW_DB_[A-Z]+:?)+", value) for value in values.values())


@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_has_a_title_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    names = {rule["matcher"]["options"] for rule in panel["fieldConfig"]["overrides"]}
    assert all(f'AS "{name}"' in sql_of(panel) for name in names)


def test_links_lead_to_the_dashboards() -> None:
    text = json.dumps(DASHBOARDS)
    linked = set(re.findall(r'"/d/([\w-]+)', text))
    assert linked == {dashboard["uid"] for dashboard in DASHBOARDS.values()}


# What PostgreSQL answers.


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_shows_something_and_not_too_much(
    source: Source, panel: dict[str, Any], view: View
) -> None:
    rows = source.ask(view_of(panel, view).expand(sql_of(panel)))
    assert rows
    assert all(value is not None for value in list(rows[0])[:2])
    assert len(rows) <= 1_000
    if panel["targets"][0]["format"] == "time_series":
        times = [row["time"] for row in rows]
        assert times == sorted(times)
        margin = view.interval.total_seconds()
        assert view.start.timestamp() - margin <= times[0]
        assert times[-1] <= view.end.timestamp()


def test_the_variables_offer_sensors_and_their_measurements(source: Source) -> None:
    assert [row[0] for row in source.ask(DAY.expand(VARIABLES["sensor"]))] == [
        "EWR",
        "JFK",
        "LGA",
        QUOTED,
    ]
    view = View(DAY.start, DAY.end, DAY.interval, sensor=QUOTED)
    assert [row[0] for row in source.ask(view.expand(VARIABLES["measurement"]))] == [
        "concentration",
        "flow",
    ]
    assert source.ask(DAY.expand(VARIABLES["measurement"])) == []


def panel_called(title: str, name: str) -> dict[str, Any]:
    (found,) = [panel for panel in DASHBOARDS[name]["panels"] if panel["title"] == title]
    panel: dict[str, Any] = found
    return panel


def test_the_figures_are_those_of_the_readings(source: Source) -> None:
    def shown(title: str, name: str) -> list[asyncpg.Record]:
        panel = panel_called(title, name)
        return source.ask(view_of(panel, YEAR).expand(sql_of(panel)))

    rows = weather()
    inside = [row for row in rows if YEAR.start <= row.recorded_at <= YEAR.end]
    own = [row.measurements for row in inside if row.sensor_id == "EWR"]
    temperatures = [found["temperature"] for found in own if "temperature" in found]
    curve = shown("Temperature", "sensor.json")
    assert min(row["lowest"] for row in curve) == min(temperatures)
    assert max(row["highest"] for row in curve) == max(temperatures)
    assert shown("Readings in this range", "sensor.json")[0][0] == len(own)
    total = len(inside) + 240
    assert shown("Readings in this range", "overview.json")[0][0] == total
    minutes = YEAR.interval.total_seconds() / 60
    curve = shown("Readings per minute", "overview.json")
    assert round(sum(float(row["readings per minute"]) for row in curve) * minutes) == total
    assert shown("Sensors", "overview.json")[0][0] == 4
    assert shown("Heard in this range", "overview.json")[0][0] == 4
    table = shown("Sensors, longest silent first", "overview.json")
    latest = {row.sensor_id: row for row in sorted(rows, key=lambda row: row.recorded_at)}
    for row in table:
        if row["Sensor"] != QUOTED:
            assert row["Last heard"] == latest[row["Sensor"]].recorded_at
            assert row["Temperature"] == latest[row["Sensor"]].measurements.get("temperature")
    assert max(row["highest"] for row in shown("$measurement", "sensor.json")) == 59.5


@pytest.mark.parametrize("name", KNOWN)
def test_every_tier_draws_what_the_readings_say(source: Source, name: str) -> None:
    panel = panel_called(name.capitalize(), "sensor.json")
    own = [
        (row.recorded_at, row.measurements[name])
        for row in weather()
        if row.sensor_id == "EWR" and name in row.measurements
    ]
    for view in VIEWS.values():
        seconds = int(view.interval.total_seconds())
        values: dict[int, list[float]] = {}
        for at, value in own:
            if view.start <= at <= view.end:
                values.setdefault(int(at.timestamp()) // seconds * seconds, []).append(value)
        curve = source.ask(view.expand(sql_of(panel)))
        assert [(row["time"], row["lowest"], row["highest"]) for row in curve] == [
            (time, min(found), max(found)) for time, found in values.items()
        ]
        means = [sum(found) / len(found) for found in values.values()]
        assert [row["mean"] for row in curve] == pytest.approx(means)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("panel", PANELS)
def test_rows_are_found_by_an_index_of_the_table_for_the_range(
    source: Source, panel: dict[str, Any], view: View
) -> None:
    seen = view_of(panel, view)
    sql = seen.expand(sql_of(panel))
    plan = "\n".join(row[0] for row in source.ask(f"EXPLAIN {sql}"))
    assert "Seq Scan on readings" not in plan, plan
    # A year is all that there is.
    assert view is YEAR or "Seq Scan on rollups" not in plan, plan
    if "UNION ALL" in sql:
        tiers = {tier for tier in ("readings_1", "rollups_minute", "rollups_hour") if tier in plan}
        assert tiers == {tier_of(seen)}, plan
    elif "FROM readings" in sql:
        index = "pkey" if "ORDER BY id" in sql else "sensor_recorded_at_idx"
        assert f"readings_1_{index}" in plan, plan


def test_the_role_can_do_nothing_but_read(source: Source) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        source.ask("DELETE FROM readings")
    for statement in (
        "DELETE FROM readings",
        "UPDATE sensors SET sensor_id = 'x'",
        "CREATE TABLE own (x int)",
        "SELECT * FROM commits",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            source.ask(statement, first="SET default_transaction_read_only = off")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "set GRAFANA_DB_PASSWORD"),
        ({"GRAFANA_DB_PASSWORD": ""}, "set GRAFANA_DB_PASSWORD"),
        ({"GRAFANA_DB_PASSWORD": "p", "GRAFANA_DB_USER": ROLE}, "set GRAFANA_DB_USER"),
        ({"GRAFANA_DB_PASSWORD": "p", "GRAFANA_DB_USER": SUPERUSER}, "set GRAFANA_DB_USER"),
    ],
)
def test_no_role_is_made_without_a_password_or_of_one_that_the_server_needs(
    version: str, variables: dict[str, str], told: str
) -> None:
    server = shared(version)
    database = server.create_database(migrated=True)
    roles = (
        "SELECT rolname, a.rolpassword, rolconnlimit, rolconfig FROM pg_authid a"
        " JOIN pg_roles USING (rolname, rolconnlimit) ORDER BY rolname"
    )
    before = server.execute(roles)
    assert told in make_role(server, database, **variables)
    assert server.execute(roles) == before
    server.drop_database(database)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pages_lines_make_the_role(version: str, tmp_path: Path) -> None:
    """As they stand there; but the names are others, and nobody needs sudo."""
    server = shared(version)
    database = server.create_database(migrated=True)
    page = (ROOT / "docs/deployment.md").read_text()
    (lines,) = re.findall(r"^```sh\n(GRAFANA_DB_PASSWORD=.*?)^```", page, re.MULTILINE | re.DOTALL)
    block, names = re.subn(r"psql sensors\b", f"psql {database.rpartition('/')[2]}", lines)
    assert names == 1
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=ROOT,
        env={
            "PATH": f"{tmp_path}:{server.programs}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": server.password,
            "GRAFANA_DB_USER": "another",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    password = done.stdout.splitlines()[-1]
    assert re.fullmatch("[0-9a-f]{48}", password)
    url = server.url(database.rpartition("/")[2], "another").replace(PASSWORD, password)
    ((role, readings),) = ask(url, "SELECT current_user, count(*) FROM readings")
    assert (role, readings) == ("another", 0)
    server.drop_database(database)
    server.execute("DROP ROLE another")


MONTH = View(datetime(2013, 6, 1, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC), timedelta(hours=1))
MANY = 3_000_000
SENSORS = """
INSERT INTO sensors (sensor_id, first_seen)
    SELECT 'sensor-' || n, '2013-06-01Z' FROM generate_series(1, 20) AS n;
SELECT make_partition(1000001, 4000001);
"""
PART = 250_000
A_PART = f"""
INSERT INTO readings (id, sensor, recorded_at, clock, received_at, temperature, humidity, pressure)
    SELECT n, 1 + n % 20, at, 1, at, 20 + n % 7, 50 + n % 11, 1000 + n % 13
    FROM (SELECT n, timestamptz '2013-06-01Z' + n * interval '30 days' / {MANY + 1} AS at
        FROM generate_series($1::bigint, $1 + {PART - 1}) AS n) AS numbered
"""
FROM_READINGS = """
SELECT $__timeGroupAlias(recorded_at,$__interval), count(*) AS number FROM readings
WHERE sensor = ANY (ARRAY(SELECT id FROM sensors)) AND $__timeFilter(recorded_at)
GROUP BY 1 ORDER BY 1
"""


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_month_of_many_readings_is_drawn_from_few_rows(version: str) -> None:
    server = shared(version)
    database = server.create_database()

    async def make() -> None:
        storage = PostgresStorage(database)
        await storage.start()
        try:
            server.script(SENSORS, database)
            for first in range(1, MANY, PART):
                server.execute(A_PART, first, database=database)
            await follow(storage)
        finally:
            await storage.close()

    def timed(sql: str) -> tuple[float, list[tuple[Any, ...]]]:
        took = []
        for _ in range(5):
            started = time.perf_counter()
            rows = server.execute(MONTH.expand(sql), database=database)
            took.append(time.perf_counter() - started)
        return min(took) * 1_000, rows

    asyncio.run(make())
    server.execute("VACUUM ANALYZE", database=database)
    before, readings = timed(FROM_READINGS)
    after, rollups = timed(sql_of(panel_called("Readings per minute", "overview.json")))
    assert [at for at, _ in rollups] == [at for at, _ in readings]
    numbers = [float(per_minute) * 60 for _, per_minute in rollups]
    assert numbers == pytest.approx([number for _, number in readings])
    print(f"\nPostgreSQL {version}: {after:.0f} ms, from the readings {before:.0f} ms")
    server.drop_database(database)
