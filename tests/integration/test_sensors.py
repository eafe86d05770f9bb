"""`GET /api/sensors` and `GET /api/sensors/{sensor_id}`, and that the ledger adds up."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from sensorflow.errors import StorageUnavailable
from sensorflow.history import follower, ledger
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.web import changes
from sensorflow.web.sensors import SensorInfo, SensorList
from tests.integration.conftest import Running
from tests.integration.test_live import receive
from tests.integration.test_readings import at, post
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY

READ = {"X-API-Key": READ_KEY}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(ledger, "INTERVAL", 0.01)


async def ask(app: Running, sensor_id: str) -> dict[str, Any]:
    response = await app.http.get(f"/api/sensors/{quote(sensor_id, safe='')}", headers=READ)
    assert response.status_code == 200, response.text
    SensorInfo.model_validate_json(response.content, strict=True)
    told: dict[str, Any] = response.json()
    return told


async def received(app: Running, sensor_id: str, count: int) -> dict[str, Any]:
    """What is told of a sensor as soon as so many of its readings are counted."""
    async with asyncio.timeout(30):
        while True:
            response = await app.http.get(f"/api/sensors/{quote(sensor_id, safe='')}", headers=READ)
            if response.status_code == 200 and response.json()["counts"]["received"] >= count:
                return await ask(app, sensor_id)
            await asyncio.sleep(0.01)


async def listed(app: Running, query: str = "") -> dict[str, Any]:
    response = await app.http.get(f"/api/sensors{query}", headers=READ)
    assert response.status_code == 200, response.text
    SensorList.model_validate_json(response.content, strict=True)
    told: dict[str, Any] = response.json()
    return told


async def test_a_sensor_is_told_with_its_latest_values(app: Running) -> None:
    await post(app, [at(5, flow=1.5, co2=400), at(9, flow=2.5), at(7, flow=9.5, salt=0.1 + 0.2)])
    told = await received(app, "line-1", 3)
    assert told["latest"] == {
        "flow": {"value": 2.5, "recorded_at": "2026-01-31T12:00:09Z"},
        "co2": {"value": 400.0, "recorded_at": "2026-01-31T12:00:05Z"},
        "salt": {"value": 0.1 + 0.2, "recorded_at": "2026-01-31T12:00:07Z"},
    }
    assert (told["sensor_id"], told["last_id"]) == ("line-1", 3)
    assert told["first_seen"] == told["last_seen"]


async def test_the_ledger_adds_up_to_what_was_sent(app: Running) -> None:
    sent = [
        *(at(n) for n in range(5)),
        at(1),
        at(2),
        at(3, flow=-1),
        {**at(4), "temperature": "warm"},
        {**at(4), "recorded_at": "1999-01-01T00:00:00Z"},
        {**at(4), "recorded_at": "1999-01-01T00:00:00Z"},
        {"sensor_id": "line-1"},
    ]
    status, _ = await post(app, sent)
    assert status == 201
    # One by one: the same outcomes, by the other ways through the code.
    assert (await post(app, at(1)))[0] == 200
    assert (await post(app, at(3, flow=-1)))[0] == 409
    assert (await post(app, {"flow": "x"}, "?sensor_id=line-1"))[0] == 422
    assert (
        await app.post({"sensor_id": "line-1", "humidity": 1, "pressure": 1})
    ).status_code == 422
    # Of nobody that is known: these count by reason only.
    assert (await post(app, {"flow": 1}))[0] == 422
    assert (await post(app, {"sensor_id": "", "flow": 1}))[0] == 422
    assert (await post(app, b"{"))[0] == 400
    told = await received(app, "line-1", 16)
    assert told["counts"] == {
        "received": 16,
        "stored": 5,
        "duplicate": 3,
        "conflict": 2,
        "refused": {"not_a_number": 1, "clock_not_set": 2, "missing_field": 3},
        "spooled": 0,
    }
    assert [sensor["sensor_id"] for sensor in (await listed(app))["sensors"]] == ["line-1"]
    assert app.refusals("missing_field") == 4
    assert app.refusals("conflict") == 2


async def test_who_was_only_ever_refused_is_told(app: Running) -> None:
    await app.post({"sensor_id": "new", "temperature": 1, "humidity": 1})
    told = await received(app, "new", 1)
    assert (told["last_seen"], told["last_id"], told["latest"]) == (None, None, {})
    assert told["counts"]["refused"] == {"missing_field": 1}


@pytest.mark.parametrize("name", ["a/b", "Küche 😀", "50%", "a?b#c", " ", 'say "hi"'])
async def test_any_sensor_id_can_be_asked_for(app: Running, name: str) -> None:
    await post(app, {"sensor_id": name, "flow": 1})
    assert (await received(app, name, 1))["sensor_id"] == name


async def test_sensors_are_listed_in_pages_last_heard_first(app: Running) -> None:
    for name in ("b", "a", "c", "aa"):
        await post(app, {"sensor_id": name, "flow": 1})
        await received(app, name, 1)
    names = []
    query = "?limit=3"
    while True:
        told = await listed(app, query)
        names.append([sensor["sensor_id"] for sensor in told["sensors"]])
        if told["next"] is None:
            break
        query = f"?limit=3&after={told['next']}"
    assert names == [["aa", "c", "a"], ["b"]]
    found = await listed(app, "?q=a")
    assert [sensor["sensor_id"] for sensor in found["sensors"]] == ["aa", "a"]
    assert (await listed(app, "?q=z")) == {"sensors": [], "next": None}


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("?limit=0", 400, "bad_request"),
        ("?limit=1001", 400, "bad_request"),
        ("?limit=x", 400, "bad_request"),
        ("?after=x", 422, "bad_cursor"),
        ("?after=w6k", 422, "bad_cursor"),
        ("?after=OTk5OTk5OTk5OTk5OTk5OTk5OTktMQ", 422, "bad_cursor"),
        ("?after=OTk5OTk5OTk5OTk5OTk5OTktMQ", 200, None),
        ("?q=%00", 422, "bad_sensor_id"),
        ("?limit=1000", 200, None),
    ],
)
async def test_parameters_have_bounds(
    app: Running, query: str, status: int, reason: str | None
) -> None:
    response = await app.http.get(f"/api/sensors{query}", headers=READ)
    assert response.status_code == status
    assert response.json().get("reason") == reason


async def test_an_unknown_sensor_is_a_problem(app: Running) -> None:
    for path, status, reason in [
        ("/api/sensors/nobody", 404, "sensor_unknown"),
        ("/api/sensors/a%00b", 422, "bad_sensor_id"),
        (f"/api/sensors/{'x' * 129}", 422, "bad_sensor_id"),
        ("/api/sensors/", 422, "bad_sensor_id"),
    ]:
        response = await app.http.get(path, headers=READ)
        assert (response.status_code, response.json()["reason"]) == (status, reason)
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/sensors", "/api/sensors/a", "/api/sensors?limit=x"])
async def test_only_who_may_read_is_told(app: Running, path: str) -> None:
    assert (await app.http.get(path)).status_code == 401
    together = "&" if "?" in path else "?"
    assert (await app.http.get(f"{path}{together}api-key={READ_KEY}")).status_code == 401
    for key in (INGEST_KEY, ADMIN_KEY):
        assert (await app.http.get(path, headers={"X-API-Key": key})).status_code == 403


async def test_a_session_of_our_own_page_may_read(app: Running) -> None:
    response = await app.http.post("/api/session", headers=READ)
    cookie = {"Cookie": response.headers["set-cookie"].partition(";")[0]}
    app.http.cookies.clear()
    own = {**cookie, "Sec-Fetch-Site": "same-origin"}
    assert (await app.http.get("/api/sensors", headers=own)).status_code == 200
    foreign = {**cookie, "Origin": "http://elsewhere.example"}
    assert (await app.http.get("/api/sensors", headers=foreign)).status_code == 403


async def test_without_a_database_the_answer_says_so(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StorageUnavailable("it is gone")

    monkeypatch.setattr(SqliteStorage, "sensor", away)
    monkeypatch.setattr(SqliteStorage, "sensors", away)
    for path in ("/api/sensors", "/api/sensors/a"):
        response = await app.http.get(path, headers=READ)
        assert (response.status_code, response.json()["reason"]) == (503, "storage_unavailable")
        assert int(response.headers["retry-after"]) > 0


async def test_the_routes_are_described(app: Running) -> None:
    document = (await app.http.get("/openapi.json")).json()
    listing = document["paths"]["/api/sensors"]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} == {"limit", "after", "q"}
    one = document["paths"]["/api/sensors/{sensor_id}"]["get"]
    for route, model in ((listing, "SensorList"), (one, "SensorInfo")):
        schema = route["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{model}"}
        problem = route["responses"]["503"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/Problem"}
    assert "404" in one["responses"]


async def test_the_routes_count_by_their_names(app: Running) -> None:
    await app.http.get("/api/sensors/a/b", headers=READ)
    text = (await app.http.get("/metrics", headers=READ)).text
    route = 'sensorflow_requests_total{route="/api/sensors/{sensor_id}",status="404"} 1.0'
    assert route in text


async def patch(app: Running, sensor_id: str, change: object, **headers: str) -> httpx2.Response:
    return await app.http.patch(
        f"/api/sensors/{quote(sensor_id, safe='')}",
        content=change if isinstance(change, bytes) else json.dumps(change).encode(),
        headers={"X-API-Key": ADMIN_KEY, "Content-Type": "application/json", **headers},
    )


async def said(app: Running, sensor_id: str = "line-1") -> dict[str, Any]:
    told = await ask(app, sensor_id)
    return {name: told[name] for name in ("name", "location", "measurements")}


async def test_what_is_said_of_a_sensor_is_merged(app: Running) -> None:
    await post(app, at(1))
    assert await said(app) == {"name": None, "location": None, "measurements": {}}
    first = {"name": "Küche 😀", "location": "A", "measurements": {"flow": {"unit": "l/min"}}}
    assert (await patch(app, "line-1", first)).status_code == 204
    second = {"location": None, "measurements": {"flow": {"label": "In"}, "co2": {"unit": "ppm"}}}
    assert (await patch(app, "line-1", second)).status_code == 204
    assert await said(app) == {
        "name": "Küche 😀",
        "location": None,
        "measurements": {
            "flow": {"unit": "l/min", "label": "In"},
            "co2": {"unit": "ppm", "label": None},
        },
    }
    third = {"measurements": {"flow": {"unit": None, "label": None}, "co2": {}}}
    assert (await patch(app, "line-1", third)).status_code == 204
    assert (await said(app))["measurements"] == {"co2": {"unit": "ppm", "label": None}}
    assert (await patch(app, "line-1", {"measurements": {"co2": None}})).status_code == 204
    assert (await said(app))["measurements"] == {}
    assert (await patch(app, "line-1", {})).status_code == 204
    assert (await said(app))["name"] == "Küche 😀"
    found = await listed(app, "?q=%C3%BCche")
    assert [sensor["sensor_id"] for sensor in found["sensors"]] == ["line-1"]


@pytest.mark.parametrize(
    ("change", "status", "reason", "field"),
    [
        ({"name": ""}, 422, "bad_description", "name"),
        ({"name": "x" * 201}, 422, "bad_description", "name"),
        ({"name": 5}, 422, "bad_description", "name"),
        ({"location": "a\nb"}, 422, "bad_description", "location"),
        ({"nmae": "a"}, 422, "bad_description", "nmae"),
        ({"measurements": []}, 422, "bad_description", "measurements"),
        ({"measurements": {"co2": "ppm"}}, 422, "bad_description", "co2"),
        ({"measurements": {"co2": {"unit": "x" * 33}}}, 422, "bad_description", "co2.unit"),
        ({"measurements": {"co2": {"label": "x" * 101}}}, 422, "bad_description", "co2.label"),
        ({"measurements": {"co2": {"colour": "red"}}}, 422, "bad_description", "co2.colour"),
        ({"measurements": {"1": {}}}, 422, "bad_measurement_name", "1"),
        (
            {"measurements": {f"m{n}": {"unit": "V"} for n in range(201)}},
            *(422, "bad_description", "measurements"),
        ),
        ([], 422, "wrong_shape", None),
        (b"{", 400, "not_json", None),
        (b" " * 65_537, 413, "body_too_large", None),
    ],
)
async def test_what_cannot_be_said_changes_nothing(
    app: Running, change: object, status: int, reason: str, field: str | None
) -> None:
    await post(app, at(1))
    response = await patch(app, "line-1", change)
    assert (response.status_code, response.json()["reason"]) == (status, reason)
    assert response.json().get("field") == field
    assert await said(app) == {"name": None, "location": None, "measurements": {}}


async def test_only_the_admin_key_changes(app: Running) -> None:
    await post(app, at(1))
    for key in (INGEST_KEY, READ_KEY):
        assert (await patch(app, "line-1", {}, **{"X-API-Key": key})).status_code == 403
    assert (await patch(app, "line-1", {}, **{"X-API-Key": "wrong"})).status_code == 401
    signed_in = await app.http.post("/api/session", headers=READ)
    own = {
        "Cookie": signed_in.headers["set-cookie"].partition(";")[0],
        "Sec-Fetch-Site": "same-origin",
    }
    app.http.cookies.clear()
    assert (await app.http.patch("/api/sensors/line-1", headers=own)).status_code == 401
    # Addresses are written down by proxies and browsers.
    for method in ("PATCH", "DELETE"):
        address = f"/api/sensors/line-1?confirm=line-1&api-key={ADMIN_KEY}"
        assert (await app.http.request(method, address)).status_code == 401
    assert (await ask(app, "line-1"))["sensor_id"] == "line-1"
    response = await patch(app, "nobody", {"name": "x"})
    assert (response.status_code, response.json()["reason"]) == (404, "sensor_unknown")
    response = await patch(app, "line-1", {}, **{"Content-Type": "text/plain"})
    assert response.status_code == 415


async def delete(app: Running, sensor_id: str, confirm: str, **headers: str) -> httpx2.Response:
    return await app.http.delete(
        f"/api/sensors/{quote(sensor_id, safe='')}?confirm={quote(confirm, safe='')}",
        headers={"X-API-Key": ADMIN_KEY, **headers},
    )


async def test_a_sensor_is_removed_with_its_readings_and_may_come_again(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "STEP", 2)
    name = "a/b ü"
    await post(app, [{**at(n), "sensor_id": name} for n in range(5)] + [at(1)])
    await received(app, name, 5)
    async with app.watch(f"?api-key={READ_KEY}&since=5") as socket:
        assert (await receive(socket))["id"] == 6
        response = await delete(app, name, name)
        assert (response.status_code, response.json()) == (200, {"sensor_id": name, "readings": 5})
        assert [s["sensor_id"] for s in (await listed(app))["sensors"]] == ["line-1"]
        readings = (await app.http.get("/api/readings", headers=READ)).json()["readings"]
        assert [reading["id"] for reading in readings] == [6]
        assert (await post(app, {**at(1), "sensor_id": name}))[0] == 201
        assert (await receive(socket))["id"] == 7
    told = await received(app, name, 1)
    assert (told["counts"]["received"], told["last_id"]) == (1, 7)


async def test_removing_needs_the_admin_key_and_the_name(app: Running) -> None:
    await post(app, at(1))
    for confirm in ("", "line-2"):
        response = await delete(app, "line-1", confirm)
        assert (response.status_code, response.json()["reason"]) == (422, "not_confirmed")
    for key in (INGEST_KEY, READ_KEY):
        response = await delete(app, "line-1", "line-1", **{"X-API-Key": key})
        assert response.status_code == 403
    assert (await ask(app, "line-1"))["sensor_id"] == "line-1"
    response = await delete(app, "nobody", "nobody")
    assert (response.status_code, response.json()["reason"]) == (404, "sensor_unknown")
