"""`GET /ws/sensor_updates`: what subscribers see, in order and once, and why they are closed."""

import asyncio
import json

import pytest
import websockets

from tests.helpers import eventually
from tests.integration.conftest import GOOD, Running, Serve
from tests.servers import INGEST_KEY, READ_KEY


async def receive(socket: websockets.ClientConnection) -> dict[str, object]:
    async with asyncio.timeout(30):
        frame = await socket.recv()
    assert isinstance(frame, str)
    loaded: dict[str, object] = json.loads(frame)
    return loaded


async def closed(socket: websockets.ClientConnection) -> tuple[int, str]:
    async with asyncio.timeout(30):
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def test_a_reading_reaches_every_subscriber_as_its_receipt_without_status(
    app: Running,
) -> None:
    async with app.watch() as first, app.watch() as second:
        receipt = (await app.post({**GOOD, "co2": 417})).json()
        del receipt["status"]
        assert await receive(first) == await receive(second) == receipt


async def test_the_newest_reading_greets_a_new_subscriber(app: Running) -> None:
    await app.post()
    newest = (await app.post()).json()["id"]
    async with app.watch() as socket:
        assert (await receive(socket))["id"] == newest
        assert (await app.post()).json()["id"] == (await receive(socket))["id"] == newest + 1


async def test_the_newest_reading_is_known_after_a_restart(serve: Serve) -> None:
    async with serve() as app:
        await app.post()
        newest = (await app.post()).json()["id"]
    async with serve() as app, app.watch() as socket:
        assert (await receive(socket))["id"] == newest


async def test_every_reading_comes_once_and_in_order_of_id(app: Running) -> None:
    async with app.watch() as socket:
        await asyncio.gather(*(app.post() for _ in range(200)))
        assert [(await receive(socket))["id"] for _ in range(200)] == list(range(1, 201))


async def test_duplicates_and_refused_readings_are_not_shown(app: Running) -> None:
    timed = {**GOOD, "recorded_at": "2026-01-31T12:00:00Z"}
    async with app.watch() as socket:
        await app.post(timed)
        await app.post(timed)
        await app.post({**timed, "temperature": 0})
        await app.post({})
        last = (await app.post()).json()["id"]
        assert [(await receive(socket))["id"] for _ in range(2)] == [1, last]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "invalid key: no key was sent"),
        ("?api-key=", "invalid key: no key was sent"),
        ("?api-key=wrong", "invalid key: the key is wrong"),
        (f"?api-key={INGEST_KEY}", "invalid key: this key may not read"),
    ],
)
async def test_without_the_read_key_it_closes_with_1008_after_accepting(
    app: Running, query: str, reason: str
) -> None:
    async with app.watch(query) as socket:
        assert await closed(socket) == (1008, reason)


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": READ_KEY}, {"Authorization": f"Bearer {READ_KEY}"}]
)
async def test_the_key_may_come_in_a_header_from_any_origin(
    app: Running, headers: dict[str, str]
) -> None:
    async with app.watch(
        "", additional_headers=headers, origin=websockets.Origin("http://elsewhere.example")
    ) as socket:
        await app.post()
        assert (await receive(socket))["id"] == 1


async def test_too_many_guesses_are_refused_before_accepting(app: Running) -> None:
    for _ in range(20):
        async with app.watch("?api-key=wrong") as socket:
            await closed(socket)
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with app.watch("?api-key=wrong"):
            pass
    assert caught.value.response.status_code == 429
    assert "Retry-After" in caught.value.response.headers


async def test_connections_are_limited_by_key_and_freed(serve: Serve) -> None:
    async with serve(max_ws_connections_per_key=2) as app:
        async with app.watch() as first, app.watch():
            async with app.watch() as third:
                assert await closed(third) == (1008, "too many connections with this key")
            await first.close()
            async with app.watch() as again:
                await app.post()
                assert (await receive(again))["id"] == 1
        async with app.watch(), app.watch() as last:
            assert (await receive(last))["id"] == 1


async def test_a_session_counts_as_its_key(serve: Serve) -> None:
    async with serve(max_ws_connections_per_key=1) as app:
        signed_in = await app.http.post("/api/session", headers={"X-API-Key": READ_KEY})
        cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        own = websockets.Origin(f"http://127.0.0.1:{app.port}")
        async with (
            app.watch("", additional_headers=cookie, origin=own),
            app.watch() as second,
        ):
            assert (await closed(second))[0] == 1008


async def test_a_subscriber_that_leaves_is_forgotten(app: Running) -> None:
    def subscribers() -> float | None:
        return app.application.metrics.registry.get_sample_value("sensorflow_subscribers")

    async with app.watch():
        await eventually(lambda: subscribers() == 1)
    await eventually(lambda: subscribers() == 0)
    socket = await app.watch()
    await eventually(lambda: subscribers() == 1)
    socket.transport.abort()
    await eventually(lambda: subscribers() == 0)


async def test_what_a_subscriber_sends_is_ignored(app: Running) -> None:
    async with app.watch() as socket:
        await socket.send("hello")
        await socket.send(b"\x00\xff")
        await app.post()
        assert (await receive(socket))["id"] == 1


async def test_since_replays_what_came_after_and_goes_live(app: Running) -> None:
    ids = [(await app.post()).json()["id"] for _ in range(10)]
    async with app.watch(f"?api-key={READ_KEY}&since={ids[3]}") as socket:
        assert [(await receive(socket))["id"] for _ in range(6)] == ids[4:]
        last = (await app.post()).json()["id"]
        assert (await receive(socket))["id"] == last
    async with app.watch(f"?api-key={READ_KEY}&since=0") as socket:
        assert [(await receive(socket))["id"] for _ in range(11)] == [*ids, last]
    async with app.watch(f"?api-key={READ_KEY}&since={last}") as socket:
        newer = (await app.post()).json()["id"]
        assert (await receive(socket))["id"] == newer


async def test_what_was_read_before_a_restart_resumes_after_it(serve: Serve) -> None:
    async with serve() as app:
        ids = [(await app.post()).json()["id"] for _ in range(5)]
    async with serve() as app, app.watch(f"?api-key={READ_KEY}&since={ids[1]}") as socket:
        last = (await app.post()).json()["id"]
        assert [(await receive(socket))["id"] for _ in range(4)] == [*ids[2:], last]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("since=x", "bad cursor: since must be the id of a reading"),
        ("since=-1", "bad cursor: since must be the id of a reading"),
        ("since=", "bad cursor: since must be the id of a reading"),
        ("since=%D9%A3", "bad cursor: since must be the id of a reading"),
        (f"since={2**63}", "bad cursor: since must be the id of a reading"),
        ("since=" + 5000 * "0", "bad cursor: since must be the id of a reading"),
        ("since=2", "cursor ahead: the stream has not come as far as since"),
        ("sensor_id=", "bad filter: sensor_id has 1 to 128 printable characters"),
        ("sensor_id=a%0Ab", "bad filter: sensor_id has 1 to 128 printable characters"),
        ("&".join(f"sensor_id=s{n}" for n in range(101)), "bad filter: too many sensors"),
    ],
)
async def test_what_cannot_be_asked_for_is_told(app: Running, asked: str, reason: str) -> None:
    await app.post()
    async with app.watch(f"?api-key={READ_KEY}&{asked}") as socket:
        assert await closed(socket) == (1008, reason)


async def test_a_filter_shows_its_sensors_only(app: Running) -> None:
    for name in ("a", "b", "Küche"):
        await app.post({**GOOD, "sensor_id": name})
    async with (
        app.watch(f"?api-key={READ_KEY}&sensor_id=a&sensor_id=K%C3%BCche") as some,
        app.watch(f"?api-key={READ_KEY}&sensor_id=b&since=0") as replayed,
    ):
        assert (await receive(some))["sensor_id"] == "Küche"
        assert (await receive(replayed))["id"] == 2
        for name in ("b", "a"):
            await app.post({**GOOD, "sensor_id": name})
        assert (await receive(some))["id"] == 5
        assert (await receive(replayed))["id"] == 4


async def test_at_shutdown_subscribers_are_closed_with_1012(serve: Serve) -> None:
    async with serve() as app:
        socket = await app.watch()
        await app.post()
        await receive(socket)
    assert (await closed(socket))[0] == 1012


async def test_compression_is_declined(app: Running) -> None:
    async with app.watch(compression="deflate") as socket:
        assert socket.protocol.extensions == []


async def test_other_paths_are_not_found(app: Running) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with websockets.connect(f"ws://127.0.0.1:{app.port}/ws/other"):
            pass
    assert caught.value.response.status_code == 404


async def test_plain_http_is_told_to_upgrade(app: Running) -> None:
    response = await app.http.get("/ws/sensor_updates")
    assert (response.status_code, response.json()["reason"]) == (426, "upgrade_required")


async def test_a_browser_session_watches_from_our_own_origin_only(app: Running) -> None:
    signed_in = await app.http.post("/api/session", headers={"X-API-Key": READ_KEY})
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    own = websockets.Origin(f"http://127.0.0.1:{app.port}")
    async with app.watch("", additional_headers=cookie, origin=own) as socket:
        await app.post()
        assert (await receive(socket))["id"] == 1
    for origin in (websockets.Origin("http://elsewhere.example"), None):
        async with app.watch("", additional_headers=cookie, origin=origin) as socket:
            code, reason = await closed(socket)
            assert (code, reason.partition(":")[0]) == (1008, "foreign origin")
