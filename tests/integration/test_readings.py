"""`POST /api/readings`: one or many, in any of its forms, and what each is told."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import httpx2
import pytest

from sensorflow.ingest.bodies import MAX_READINGS, MAX_UNPACKED
from sensorflow.web.readings import MAX_TOLD
from tests.integration.conftest import Running
from tests.integration.test_live import receive
from tests.servers import INGEST_KEY, READ_KEY

Item = dict[str, Any]


def at(second: int, **measurements: float) -> Item:
    return {
        "sensor_id": "line-1",
        "recorded_at": f"2026-01-31T12:00:{second:02}Z",
        **(measurements or {"flow": float(second)}),
    }


async def post(
    app: Running, content: object, query: str = "", **headers: str
) -> tuple[int, dict[str, Any]]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    response: httpx2.Response = await app.http.post(
        f"/api/readings{query}",
        content=body,
        headers={"X-API-Key": INGEST_KEY, "Content-Type": "application/json", **headers},
        timeout=60,
    )
    told: dict[str, Any] = response.json()
    return response.status_code, told


def counts(told: dict[str, Any]) -> tuple[int, ...]:
    return tuple(told[name] for name in ("stored", "spooled", "duplicate", "conflict", "refused"))


NDJSON = {"Content-Type": "application/x-ndjson"}


async def test_one_reading_gets_the_receipt_of_one(app: Running) -> None:
    status, told = await post(app, {"sensor_id": "a", "co2": "417", "note": "x"})
    assert (status, told["status"], told["co2"], told["id"]) == (201, "stored", 417.0, 1)
    assert "temperature" not in told


async def test_many_are_counted_and_stored_in_their_order(app: Running) -> None:
    async with app.watch(f"?api-key={READ_KEY}&since=0") as socket:
        status, told = await post(app, [at(n) for n in range(5)])
        assert (status, counts(told)) == (201, (5, 0, 0, 0, 0))
        assert (told["readings"], told["readings_not_shown"]) == ([], 0)
        frames = [await receive(socket) for _ in range(5)]
    assert [frame["id"] for frame in frames] == [1, 2, 3, 4, 5]
    assert [frame["flow"] for frame in frames] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n \n"])
async def test_ndjson_is_a_reading_a_line(app: Running, end: str) -> None:
    body = "\r\n".join(json.dumps(at(n)) for n in range(3)) + end
    status, told = await post(app, body.encode(), **NDJSON)
    assert (status, counts(told)) == (201, (3, 0, 0, 0, 0))


async def test_a_line_that_is_no_json_is_one_refusal(app: Running) -> None:
    body = b"\n".join([json.dumps(at(1)).encode(), b"{", b"[1]", json.dumps(at(2)).encode()])
    status, told = await post(app, body, **NDJSON)
    assert (status, counts(told)) == (201, (2, 0, 0, 0, 2))
    assert [(one["index"], one["reason"]) for one in told["readings"]] == [
        (1, "not_json"),
        (2, "wrong_shape"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'[{"sensor_id":"a","x":1},{]',
        b'[{"sensor_id":"a","x":1}',
        b'[{"sensor_id":"a","x":1},{"sensor_id":"b","x":NaN}]',
        b'[{"sensor_id":"a","x":1},{"sensor_id":"\xff","x":1}]',
        b'[{"sensor_id":"a","x":1}] more',
        b"[" * 100_000,
        b'[{"sensor_id":"a","x":1},' + b"[" * 100_000 + b"]",
        b"",
        b"\x1f\x8b",
    ],
)
async def test_a_malformed_array_stores_nothing(app: Running, body: bytes) -> None:
    status, told = await post(app, body)
    assert (status, told["reason"]) == (400, "not_json")
    assert (await post(app, [at(1)]))[1]["stored"] == 1
    async with app.watch() as socket:
        assert (await receive(socket))["id"] == 1


async def test_valid_readings_are_stored_whatever_their_neighbours_do(app: Running) -> None:
    await post(app, [at(1), at(2)])
    status, told = await post(
        app,
        [
            at(3),
            at(1),
            at(2, flow=99),
            {"sensor_id": "line-1"},
            7,
            {"temperature": "hot", "sensor_id": "a"},
            {"x": 1},
            at(2, level=1),
        ],
    )
    assert (status, counts(told)) == (201, (2, 0, 1, 1, 4))
    assert [(one["index"], one["reason"], one.get("field")) for one in told["readings"]] == [
        (1, "duplicate", None),
        (2, "conflict", "flow"),
        (3, "missing_field", None),
        (4, "wrong_shape", None),
        (5, "not_a_number", "temperature"),
        (6, "missing_field", "sensor_id"),
    ]
    assert app.refusals("missing_field") == 2
    assert app.refusals("conflict") == 1


async def test_the_status_says_the_best_that_happened(app: Running) -> None:
    assert (await post(app, [at(1), at(1), {}]))[0] == 201
    assert (await post(app, [at(1), {}]))[0] == 200
    status, told = await post(app, [at(1, flow=9), {}])
    assert (status, told["reason"], counts(told)) == (422, "nothing_taken", (0, 0, 0, 1, 1))
    assert told["type"] == "urn:sensorflow:problem:nothing_taken"
    status, told = await post(app, [])
    assert (status, told["reason"]) == (422, "wrong_shape")


async def test_a_hundred_are_named_and_the_rest_counted(app: Running) -> None:
    status, told = await post(app, [at(1), *[{}] * (MAX_TOLD + 20)])
    assert (status, told["refused"]) == (201, MAX_TOLD + 20)
    assert (len(told["readings"]), told["readings_not_shown"]) == (MAX_TOLD, 20)


def bomb_of(times: int) -> bytes:
    """One member of zeros, so many times as large as is allowed; its end is cut off."""
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(bytes(MAX_UNPACKED)) + packer.flush(zlib.Z_FULL_FLUSH)
    # What follows a full flush depends on nothing before it, so it need not be packed again.
    another = packer.compress(bytes(MAX_UNPACKED)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = first + another * (times - 1)
    unpacker = zlib.decompressobj(wbits=31)
    assert len(unpacker.decompress(bomb, 2 * MAX_UNPACKED + 1)) > 2 * MAX_UNPACKED
    return bomb


async def test_gzip_is_taken_and_its_bombs_are_not(app: Running) -> None:
    body = gzip.compress(json.dumps([at(1), at(2)]).encode())
    assert (await post(app, body, **{"Content-Encoding": "gzip"}))[1]["stored"] == 2
    parts = gzip.compress(b'{"sensor_id":"a",') + gzip.compress(b'"x":1}')
    assert (await post(app, parts, **{"Content-Encoding": "gzip"}))[0] == 201
    parts = gzip.compress(b"") * 20_000 + gzip.compress(b'{"sensor_id":"a","x":1}')
    assert (await post(app, parts, **{"Content-Encoding": "gzip"}))[0] == 201
    assert (await post(app, parts[:-1], **{"Content-Encoding": "gzip"}))[0] == 400
    large = json.dumps([at(n % 60, **{f"m{m}": m for m in range(60)}) for n in range(900)]).encode()
    assert len(gzip.compress(large, 0)) > 65_536  # unpacked in a thread
    compressed = gzip.compress(large, 0)
    assert (await post(app, compressed, **{"Content-Encoding": "gzip"}))[0] == 201
    bomb = bomb_of(64)
    assert len(bomb) < 700_000
    for wrong, reason in (
        (bomb, "body_too_large"),
        (body[:-4], "not_json"),
        (body[:-30], "not_json"),
        (zlib.compress(b"[]"), "not_json"),
        (b"[]", "not_json"),
    ):
        assert (await post(app, wrong, **{"Content-Encoding": "gzip"}))[1]["reason"] == reason
    status, told = await post(app, body, **{"Content-Encoding": "br"})
    assert (status, told["reason"]) == (415, "wrong_content_encoding")


async def test_the_bounds_are_told(app: Running) -> None:
    status, told = await post(app, [at(1)] * (MAX_READINGS + 1))
    assert (status, told["reason"]) == (413, "body_too_large")
    status, told = await post(app, b"{}\n" * (MAX_READINGS + 1), **NDJSON)
    assert (status, told["reason"]) == (413, "body_too_large")
    status, told = await post(app, b" " * (MAX_UNPACKED + 1))
    assert (status, told["reason"]) == (413, "body_too_large")
    status, told = await post(app, [], **{"Content-Type": "text/csv"})
    assert (status, told["reason"]) == (415, "wrong_content_type")
    assert (await post(app, b"[" + b" " * (MAX_UNPACKED - 2) + b"]"))[0] == 422


async def test_as_many_as_are_allowed_are_stored_beside_others(app: Running) -> None:
    readings = [{"sensor_id": f"s{n % 50}", "x": n} for n in range(MAX_READINGS)]
    bulk = asyncio.create_task(post(app, readings))
    while not bulk.done():
        assert (await app.post()).status_code == 201
    status, told = await bulk
    assert (status, told["stored"]) == (201, MAX_READINGS)


async def test_the_address_may_hold_the_key_and_the_sensor(app: Running) -> None:
    """The Ethernet firmware: a path is all that its user can set."""
    firmware = b'{"temperature":21.5,"pressure":1.2,"concentration":0.4, "flow":7.25}'
    query = f"?api-key={INGEST_KEY}&sensor_id=line%201"
    status, told = await post(app, firmware, query, **{"X-API-Key": ""})
    assert (status, told["sensor_id"], told["concentration"], told["flow"]) == (
        201,
        "line 1",
        0.4,
        7.25,
    )
    status, told = await post(app, {"x": 1, "sensor_id": "own"}, "?sensor_id=other")
    assert told["sensor_id"] == "own"
    status, told = await post(app, {"x": 1}, "?sensor_id=")
    assert (status, told["reason"]) == (422, "bad_sensor_id")


async def test_the_original_route_takes_the_sensor_from_the_address_too(app: Running) -> None:
    response = await app.http.post(
        "/api/temperature_reading?sensor_id=pico",
        json={"temperature": 1, "humidity": 2, "pressure": 3},
        headers={"X-API-Key": INGEST_KEY},
    )
    assert (response.status_code, response.json()["sensor_id"]) == (201, "pico")


async def test_an_age_counts_as_the_servers_time(app: Running) -> None:
    item = {"sensor_id": "a", "x": 1, "age_ms": 90_000}
    first, second = (await post(app, item))[1], (await post(app, item))[1]
    assert (first["id"], second["id"]) == (1, 2)  # no device's clock, no duplicate
    for told in (first, second):
        assert told["recorded_at"] < told["received_at"]
        assert "age_ms" not in told
    status, told = await post(app, {**item, "age_ms": "soon"})
    assert (status, told["field"]) == (422, "age_ms")
