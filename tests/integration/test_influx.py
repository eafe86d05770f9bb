"""`/write`, `/api/v2/write`, `/ping` and `/query`: keys, answers and errors as Influx has them."""

import asyncio
import base64
import gzip
import logging
import os
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from sensorflow.errors import StorageUnavailable
from sensorflow.ingest.bodies import MAX_READINGS, MAX_UNPACKED
from sensorflow.storage.sqlite import SqliteStorage
from tests.integration.conftest import Running, Serve
from tests.integration.test_live import receive
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY

SECONDS = 1_769_860_800  # 2026-01-31T12:00:00Z

ROUTES = ["/write", "/api/v2/write"]
on_both = pytest.mark.parametrize("route", ROUTES)


async def write(
    app: Running, route: str, lines: str | bytes, query: str = "precision=s", **headers: str
) -> httpx2.Response:
    body = lines if isinstance(lines, bytes) else lines.encode()
    return await app.http.post(
        f"{route}?{query}",
        content=body,
        headers={"Authorization": f"Token {INGEST_KEY}", **headers},
        timeout=60,
    )


def told(response: httpx2.Response, route: str) -> str:
    """The sentence of an error, which must have the route's form."""
    content: dict[str, str] = response.json()
    assert response.headers["content-type"] == "application/json"
    assert "x-influxdb-version" in response.headers
    if route == "/api/v2/write":
        assert set(content) == {"code", "message"}
        return content["message"]
    assert set(content) == {"error"}
    return content["error"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def frames(app: Running, count: int) -> list[dict[str, Any]]:
    async with app.watch(f"?api-key={READ_KEY}&since=0") as socket:
        return [await receive(socket) for _ in range(count)]


def values(frame: dict[str, Any]) -> dict[str, Any]:
    own = ("id", "received_at", "date_recorded", "time_recorded", "client_ip")
    return {name: value for name, value in frame.items() if name not in own}


@on_both
async def test_lines_are_stored_and_answered_without_a_body(app: Running, route: str) -> None:
    response = await write(
        app, route, f'climate,host=line-1 temperature=21.5,flow=7i,ok=t,note="x" {SECONDS}\n'
    )
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers
    assert "x-influxdb-version" in response.headers
    [frame] = await frames(app, 1)
    assert values(frame) == {
        "sensor_id": "line-1",
        "climate.temperature": 21.5,
        "climate.flow": 7.0,
        "recorded_at": "2026-01-31T12:00:00Z",
    }
    registry = app.application.metrics.registry
    assert registry.get_sample_value("sensorflow_ignored_fields_total") == 2
    assert (
        registry.get_sample_value("sensorflow_requests_total", {"route": route, "status": "204"})
        == 1
    )


async def test_a_batch_as_telegraf_sends_it(app: Running) -> None:
    lines = (
        f"cpu,cpu=cpu-total,host=pi usage_idle=97.5,usage_user=1.25 {SECONDS}000000000\n"
        f"mem,host=pi used_percent=41.5,total=8192u {SECONDS}000000000\n"
        f'system,host=pi uptime_format="1 day,\\n 2:03" {SECONDS}000000000\n'
        f"disk,device=sda1,fstype=ext4,host=pi,path=/ used_percent=12.5 {SECONDS}000000000\n"
    ).encode()
    response = await write(
        app,
        "/api/v2/write",
        gzip.compress(lines),
        "bucket=any&org=any",
        **{"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"},
    )
    assert response.status_code == 204
    assert [values(frame) for frame in await frames(app, 2)] == [
        {
            "sensor_id": "pi",
            "cpu.cpu-total.usage_idle": 97.5,
            "cpu.cpu-total.usage_user": 1.25,
            "mem.used_percent": 41.5,
            "mem.total": 8192.0,
            "recorded_at": "2026-01-31T12:00:00Z",
        },
        {
            "sensor_id": "sda1",
            "disk.ext4.pi._.used_percent": 12.5,
            "recorded_at": "2026-01-31T12:00:00Z",
        },
    ]


KEYS: Sequence[tuple[str, dict[str, str]]] = [
    ("", {"Authorization": f"Token {INGEST_KEY}"}),
    ("", {"Authorization": f"token  {INGEST_KEY}"}),
    ("", {"Authorization": f"Bearer {INGEST_KEY}"}),
    ("", {"Authorization": basic("anybody", INGEST_KEY)}),
    ("", {"Authorization": basic("", INGEST_KEY)}),
    ("", {"X-API-Key": INGEST_KEY}),
    ("", {"X-API-Key": INGEST_KEY, "Authorization": basic("root", "root")}),
    (f"u=anybody&p={INGEST_KEY}", {}),
    (f"p={INGEST_KEY}", {"Authorization": "Basic"}),
    (f"p={INGEST_KEY}", {"Authorization": basic("user", "")}),
    (f"api-key={INGEST_KEY}", {}),
]


@on_both
async def test_every_place_where_influxs_clients_put_the_key(app: Running, route: str) -> None:
    for query, headers in KEYS:
        response = await app.http.post(f"{route}?{query}", content=b"m,host=h x=1", headers=headers)
        assert response.status_code == 204, (query, headers)
        asked = await app.http.get(f"/query?q=CREATE+DATABASE+a&{query}", headers=headers)
        assert asked.status_code == 200, (query, headers)


WRONG_KEYS: Sequence[tuple[str, dict[str, str], int]] = [
    ("", {}, 401),
    ("", {"Authorization": "Token wrong-key"}, 401),
    ("", {"Authorization": "Token"}, 401),
    ("", {"Authorization": "Basic ????"}, 401),
    ("", {"Authorization": "Basic " + base64.b64encode(b"no-colon").decode()}, 401),
    ("", {"Authorization": basic(INGEST_KEY, "")}, 401),
    ("", {"Authorization": basic("user", "wrong-key")}, 401),
    ("u=user&p=wrong-key", {}, 401),
    ("p=", {}, 401),
    ("", {"Authorization": f"Token {READ_KEY}"}, 403),
    (f"p={ADMIN_KEY}", {}, 403),
]


@on_both
async def test_a_wrong_key_is_told_in_the_peers_form(app: Running, route: str) -> None:
    for query, headers, status in WRONG_KEYS:
        response = await app.http.post(f"{route}?{query}", content=b"m,host=h x=1", headers=headers)
        assert response.status_code == status, (query, headers)
        assert "key" in told(response, route)
        if route == "/api/v2/write":
            assert response.json()["code"] == {401: "unauthorized", 403: "forbidden"}[status]
        assert ("www-authenticate" in response.headers) == (status == 401)


async def test_these_ways_open_no_other_route(app: Running) -> None:
    for route in ("/api/temperature_reading", "/api/readings"):
        for sent in (basic("u", INGEST_KEY), f"Token {INGEST_KEY}"):
            response = await app.http.post(
                f"{route}?p={INGEST_KEY}",
                json={"sensor_id": "a", "x": 1},
                headers={"Authorization": sent},
            )
            assert (response.status_code, response.json()["reason"]) == (401, "key_missing")


@on_both
async def test_many_wrong_keys_are_told_to_wait(app: Running, route: str) -> None:
    for _ in range(20):
        wrong = await app.http.post(f"{route}?p=wrong-key", content=b"")
        assert wrong.status_code == 401
    limited = await app.http.post(f"{route}?p=another-wrong-key", content=b"")
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) >= 1
    assert told(limited, route)


async def test_no_key_is_logged(app: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="uvicorn"):
        for query in (f"u=user&p={INGEST_KEY}", "p=a-wrong-key-for-logs"):
            await app.http.post(f"/write?{query}", content=b"m,host=h x=", headers={})
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert not [
        record
        for record in ours
        if INGEST_KEY in record.getMessage() or "a-wrong-key-for-logs" in record.getMessage()
    ]


@on_both
async def test_what_is_dropped_is_told_and_the_rest_stored(app: Running, route: str) -> None:
    lines = f"m,host=h a=1 {SECONDS}\nnonsense\nm,host=h b= {SECONDS}\nm,host=h c=3 {SECONDS}\n"
    response = await write(app, route, lines)
    assert response.status_code == 400
    sentence = told(response, route)
    assert sentence.startswith("partial write: line 2: Tags are written as key=value")
    assert sentence.endswith(" dropped=2")
    if route == "/api/v2/write":
        assert response.json()["code"] == "invalid"
    [frame] = await frames(app, 1)
    assert values(frame) == {
        "sensor_id": "h",
        "m.a": 1.0,
        "m.c": 3.0,
        "recorded_at": "2026-01-31T12:00:00Z",
    }
    assert app.refusals("not_line_protocol") == 2


@on_both
async def test_duplicates_are_success_and_conflicts_are_dropped(app: Running, route: str) -> None:
    lines = f"m,host=h a=1 {SECONDS}\nm,host=h b=2 {SECONDS}\n"
    assert (await write(app, route, lines)).status_code == 204
    assert (await write(app, route, lines)).status_code == 204
    response = await write(
        app, route, f"m,host=h a=9 {SECONDS}\nm,host=h c=3 {SECONDS}\nm,host=i a=9 {SECONDS}"
    )
    assert response.status_code == 400
    assert told(response, route) == (
        "partial write: m.a of this sensor at this recorded_at is already 1.0 (reading 1); the "
        "first value stays. dropped=2"
    )
    assert [frame["sensor_id"] for frame in await frames(app, 2)] == ["h", "i"]
    assert app.refusals("conflict") == 1


@on_both
async def test_nothing_to_write_is_no_error(app: Running, route: str) -> None:
    """Home Assistant begins with a body that holds a line break only."""
    for body in ("", "\n", "# a comment\n", 'm,host=h state="on"'):
        assert (await write(app, route, body)).status_code == 204


@on_both
async def test_the_address_may_name_the_sensor(app: Running, route: str) -> None:
    assert (await write(app, route, "m x=1", "sensor_id=line%201")).status_code == 204
    [frame] = await frames(app, 1)
    assert (frame["sensor_id"], frame["m.x"]) == ("line 1", 1.0)
    assert frame["recorded_at"] == frame["received_at"]
    response = await write(app, route, "m x=1", "sensor_id=")
    assert response.status_code == 400
    assert told(response, route).startswith("sensor_id has 0 characters")


async def test_a_setting_names_the_sensors_tag(serve: Serve) -> None:
    async with serve(influx_sensor_tag="entity_id") as app:
        lines = '°C,domain=sensor,entity_id=attic friendly_name_str="Attic",value=21.5'
        for route in ROUTES:
            assert (await write(app, route, lines)).status_code == 204
        for frame in await frames(app, 2):
            assert (frame["sensor_id"], frame["_C.sensor"]) == ("attic", 21.5)


@on_both
async def test_bounds_are_told(app: Running, route: str) -> None:
    assert (await write(app, route, "m,host=h x=1 " + " " * MAX_UNPACKED)).status_code == 413
    bomb = gzip.compress(bytes(8 * MAX_UNPACKED))
    response = await write(app, route, bomb, **{"Content-Encoding": "gzip"})
    assert response.status_code == 413
    assert "10 MiB" in told(response, route)
    many = "\n".join(f"m,host=h{n} x=1" for n in range(MAX_READINGS + 1))
    response = await write(app, route, many)
    assert (response.status_code, told(response, route)) == (
        413,
        "The lines make more than 10,000 readings; send fewer at once.",
    )
    assert (await write(app, route, b"[]", **{"Content-Encoding": "gzip"})).status_code == 400
    response = await write(app, route, b"", **{"Content-Encoding": "br"})
    assert response.status_code == 415
    assert told(response, route)
    response = await write(app, route, b"", "precision=ps")
    assert response.status_code == 400
    assert told(response, route).startswith("The precision must be ns")


async def test_what_the_description_shows_is_taken(app: Running) -> None:
    document = (await app.http.get("/openapi.json")).json()
    for route in ROUTES:
        described = document["paths"][route]["post"]
        assert {"204", "400", "401", "403", "405", "413", "415", "429", "503"} <= set(
            described["responses"]
        )
        assert {name for one in described["security"] for name in one} <= set(
            document["components"]["securitySchemes"]
        )
        example = described["requestBody"]["content"]["text/plain"]["example"]
        assert (await write(app, route, example, "")).status_code == 204
    station = document["components"]["schemas"]["Station"]["example"]
    taken = await app.http.post("/api/readings", json=station, headers={"X-API-Key": INGEST_KEY})
    assert (taken.status_code, taken.json()["pressure"]) == (201, 1013.25)
    for method in ("get", "post"):
        assert "200" in document["paths"]["/query"][method]["responses"]
    for method in ("get", "head"):
        assert "204" in document["paths"]["/ping"][method]["responses"]


@on_both
async def test_only_post_writes(app: Running, route: str) -> None:
    response = await app.http.get(route)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert told(response, route) == "This path takes POST."


async def test_as_many_as_are_allowed_are_stored_beside_others(app: Running) -> None:
    lines = "\n".join(f"m,host=h{n % 50} x={n} {SECONDS + n}" for n in range(MAX_READINGS))
    bulk = asyncio.create_task(write(app, "/write", lines))
    while not bulk.done():
        assert (await app.post()).status_code == 201
    assert (await bulk).status_code == 204
    registry = app.application.metrics.registry
    stored = registry.get_sample_value("sensorflow_receipts_total", {"status": "stored"})
    assert stored is not None
    assert stored >= MAX_READINGS


@on_both
async def test_more_measurements_than_a_reading_has_are_several_readings(
    app: Running, route: str
) -> None:
    lines = "\n".join(f"m{n},host=h value={n} {SECONDS}" for n in range(100))
    for _ in range(2):
        assert (await write(app, route, lines)).status_code == 204
    together: dict[str, Any] = {}
    for frame in await frames(app, 2):
        together |= values(frame)
    del together["recorded_at"], together["sensor_id"]
    assert together == {f"m{n}": float(n) for n in range(100)}


@on_both
async def test_what_cannot_be_stored_now_is_to_be_sent_again(
    app: Running, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    lines = f"m,host=h a=1 {SECONDS}\nm,host=i a=2 {SECONDS}\nm,host=h a=\n"
    with monkeypatch.context() as away:
        away.setattr(SqliteStorage, "append", fail)
        response = await write(app, route, lines)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert "the disk is full" in told(response, route)
        assert app.refusals("not_line_protocol") == 1
        assert app.refusals("storage_unavailable") == 2
    response = await write(app, route, lines)
    assert response.status_code == 400
    assert told(response, route).endswith("dropped=1")
    assert app.refusals("not_line_protocol") == 2
    assert [frame["m.a"] for frame in await frames(app, 2)] == [1.0, 2.0]


async def test_ping_needs_no_key(app: Running) -> None:
    for method in ("GET", "HEAD"):
        response = await app.http.request(method, "/ping")
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["x-influxdb-version"].startswith("1.8.0-sensorflow-")
    assert (await app.http.post("/ping")).headers["allow"] == "GET, HEAD"


HEADERS = {"Authorization": basic("u", INGEST_KEY)}


async def test_a_database_is_made_by_doing_nothing(app: Running) -> None:
    for statement in (
        "CREATE DATABASE telegraf",
        'create database "a; b\\"c"',
        ' CREATE  DATABASE "x" WITH DURATION 1d REPLICATION 1 ; ',
    ):
        for response in (
            await app.http.get("/query", params={"q": statement}, headers=HEADERS),
            await app.http.post("/query", params={"q": statement}, headers=HEADERS),
            await app.http.post("/query", data={"q": statement}, headers=HEADERS),
        ):
            assert response.status_code == 200, statement
            assert response.json() == {"results": [{"statement_id": 0}]}


async def test_no_other_query_is_served(app: Running) -> None:
    for statement in (
        "SHOW DATABASES",
        "SELECT * FROM m",
        "CREATE DATABASE",
        "CREATE DATABASE a; DROP DATABASE a",
        'CREATE DATABASE "a" WITH x; SELECT 1',
        "",
    ):
        for response in (
            await app.http.get("/query", params={"q": statement}, headers=HEADERS),
            await app.http.post("/query", data={"q": statement, "db": "x"}, headers=HEADERS),
        ):
            assert response.status_code == 400, statement
            assert told(response, "/query").startswith("Queries are not served here")


async def test_a_query_has_its_bounds_and_needs_the_key(app: Running) -> None:
    large = await app.http.post("/query", content=os.urandom(9_000), headers=HEADERS)
    assert large.status_code == 413
    assert told(large, "/query") == "The query is longer than 8,192 bytes."
    assert (await app.http.get("/query?q=CREATE+DATABASE+a")).status_code == 401
    assert (await app.http.delete("/query", headers=HEADERS)).headers["allow"] == "GET, POST"
