"""`GET /api/stream`: the same stream as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sensorflow.web import stream
from tests.helpers import eventually
from tests.integration.conftest import GOOD, Running, Serve
from tests.servers import INGEST_KEY, READ_KEY

KEY = {"X-API-Key": READ_KEY}


class Events:
    """A stream that is being read, event by event, as a browser would (WHATWG HTML 9.2.6)."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.cursor = ""
        self.comments: list[str] = []

    async def next(self) -> dict[str, Any]:
        """The next event with data, decoded."""
        data = None
        async with asyncio.timeout(30):
            async for line in self._lines:
                name, _, value = line.partition(":")
                match name:
                    case "id":
                        self.cursor = value.strip()
                    case "data":
                        data = value.strip()
                    case "" if line:
                        self.comments.append(value.strip())
                    case "" if data is not None:
                        event: dict[str, Any] = json.loads(data)
                        return event
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def reading(app: Running, query: str = "", **headers: str) -> AsyncIterator[Events]:
    async with app.http.stream(
        "GET", f"/api/stream{query}", headers={**KEY, **headers}, timeout=30
    ) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        yield Events(response.aiter_lines())


async def test_events_are_the_frames_with_their_ids(app: Running) -> None:
    receipt = (await app.post({**GOOD, "co2": 417})).json()
    del receipt["status"]
    async with reading(app) as events:
        assert await events.next() == receipt
        assert events.cursor == "1"
        await app.post()
        assert (await events.next())["id"] == 2


async def test_a_browser_resumes_with_the_cursor_in_its_header(app: Running) -> None:
    for _ in range(5):
        await app.post()
    async with reading(app, "?since=1") as events:
        assert [(await events.next())["id"] for _ in range(4)] == [2, 3, 4, 5]
    # A browser asks the same address again, so that its header has to win.
    async with reading(app, "?since=1", **{"Last-Event-ID": "3"}) as events:
        assert [(await events.next())["id"] for _ in range(2)] == [4, 5]
        await app.post()
        assert (await events.next())["id"] == 6


async def test_a_filtered_cursor_moves_with_the_heartbeat(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 1)
    async with serve() as app, reading(app, "?sensor_id=rare") as events:
        await app.post()
        await app.post()
        await app.post({**GOOD, "sensor_id": "rare"})
        assert (await events.next())["id"] == 3
        await app.post()
        late = asyncio.create_task(events.next())
        await eventually(lambda: events.cursor == "4")
        assert not late.done()
        await app.post({**GOOD, "sensor_id": "rare"})
        assert (await late)["id"] == 5


@pytest.mark.parametrize(
    ("query", "headers", "status", "reason"),
    [
        ("", {"X-API-Key": ""}, 401, "key_missing"),
        ("", {"X-API-Key": INGEST_KEY}, 403, "key_not_allowed"),
        ("?since=x", {}, 422, "bad_cursor"),
        ("?since=7", {}, 422, "cursor_ahead"),
        ("", {"Last-Event-ID": "x"}, 422, "bad_cursor"),
        ("?sensor_id=", {}, 422, "bad_sensor_id"),
        ("?" + "&".join(f"sensor_id={n}" for n in range(101)), {}, 422, "too_many_sensors"),
        ("?" + "&".join(["sensor_id=a"] * 101), {}, 422, "too_many_sensors"),
    ],
)
async def test_refusals_are_problems(
    app: Running, query: str, headers: dict[str, str], status: int, reason: str
) -> None:
    response = await app.http.get(f"/api/stream{query}", headers={**KEY, **headers})
    assert (response.status_code, response.json()["reason"]) == (status, reason)
    assert app.refusals(reason) == 1


async def test_only_get_is_taken(app: Running) -> None:
    response = await app.http.post("/api/stream", headers=KEY)
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


async def test_the_key_may_be_in_the_address_from_any_origin(app: Running) -> None:
    await app.post()
    async with app.http.stream(
        "GET", f"/api/stream?api-key={READ_KEY}", headers={"Origin": "http://elsewhere.example"}
    ) as response:
        assert response.headers["access-control-allow-origin"] == "*"
        assert (await Events(response.aiter_lines()).next())["id"] == 1


async def test_a_session_reads_from_our_own_origin_only(app: Running) -> None:
    signed_in = await app.http.post("/api/session", headers=KEY)
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    app.http.cookies.clear()
    await app.post()
    # Over plain HTTP a browser says neither with a GET to where the page comes from.
    for own in ({"Sec-Fetch-Site": "same-origin"}, {}):
        headers = {"Cookie": cookie, **own}
        async with app.http.stream("GET", "/api/stream", headers=headers) as response:
            assert (await Events(response.aiter_lines()).next())["id"] == 1
    for foreign in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://elsewhere.example"},
    ):
        response = await app.http.get("/api/stream", headers={"Cookie": cookie, **foreign})
        assert (response.status_code, response.json()["reason"]) == (403, "foreign_origin")


async def test_streams_count_as_live_connections(serve: Serve) -> None:
    async with serve(max_ws_connections_per_key=1) as app:
        await app.post()
        async with app.watch(), app.http.stream("GET", "/api/stream", headers=KEY) as response:
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) > 0
        async with reading(app) as events:
            assert (await events.next())["id"] == 1


async def test_who_leaves_is_forgotten(app: Running) -> None:
    def subscribers() -> float | None:
        return app.application.metrics.registry.get_sample_value("sensorflow_subscribers")

    async with reading(app):
        await eventually(lambda: subscribers() == 1)
    await eventually(lambda: subscribers() == 0)


async def test_every_reading_comes_once_and_in_order(app: Running) -> None:
    async with reading(app) as events:
        await asyncio.gather(*(app.post() for _ in range(200)))
        assert [(await events.next())["id"] for _ in range(200)] == list(range(1, 201))
