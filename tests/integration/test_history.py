"""`GET /api/readings`: what was sent is read back, in every form."""

import asyncio
import csv
import io
import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sensorflow.errors import StorageUnavailable
from sensorflow.history.raw import PAGE
from sensorflow.readings import Reading
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.web import history
from sensorflow.web.forms import OTHERS
from tests.helpers import device_reading
from tests.integration.conftest import Running
from tests.integration.test_readings import at, post
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY

READ = {"X-API-Key": READ_KEY}
Told = dict[str, Any]


async def ask(app: Running, query: str = "", **headers: str) -> httpx2.Response:
    response = await app.http.get(f"/api/readings{query}", headers={**READ, **headers})
    assert response.status_code == 200, response.text
    return response


async def pages(app: Running, query: str) -> list[Told]:
    """All readings, page by page."""
    found: list[Told] = []
    cursor = ""
    while True:
        told = (await ask(app, query + cursor)).json()
        found += told["readings"]
        if told["next"] is None:
            return found
        cursor = f"&cursor={told['next']}"


async def lines(app: Running, query: str) -> list[Told]:
    response = await ask(app, query)
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def table(app: Running, query: str) -> list[dict[str, str]]:
    response = await ask(app, query)
    assert response.headers["content-type"].startswith("text/csv")
    return rows_of(response.content)


def rows_of(content: bytes) -> list[dict[str, str]]:
    """As a spreadsheet reads it."""
    text = content.decode("utf-8-sig")
    assert text.replace("\r\n", "").count("\n") == text.count('"\n')
    return list(csv.DictReader(io.StringIO(text, newline="")))


def reading_in(row: dict[str, str]) -> Told:
    """The reading that a CSV's row says."""
    told: Told = {
        "id": int(row["id"]),
        "sensor_id": re.sub(r"(^|;)'(?=\s*[=+\-@'＝＋－＠])", r"\1", row["sensor_id"]),
        "client_ip": row["client_ip"] or None,
    }
    for name in ("recorded_at", "received_at"):
        told[name] = row[name].replace(" ", "T") + "Z"
    for name in row.keys() - {*told, OTHERS}:
        if row[name]:
            told[name] = float(row[name])
    told.update(json.loads(row.get(OTHERS) or "{}"))
    return told


def same_times(told: Told) -> Told:
    """A reading with times as a CSV writes them: no zeros at the end of a fraction."""
    plain = {n: v for n, v in told.items() if n not in ("date_recorded", "time_recorded")}
    for name in ("recorded_at", "received_at"):
        plain[name] = re.sub(r"000Z$", "Z", plain[name]) if "." in plain[name] else plain[name]
    return plain


def ids(found: list[Told]) -> list[int]:
    return [reading["id"] for reading in found]


async def test_a_reading_is_told_as_its_receipt_told_it(app: Running) -> None:
    _, receipt = await post(app, at(1, flow=1.5))
    del receipt["status"]
    assert (await ask(app)).json() == {"readings": [receipt], "next": None}
    assert await lines(app, "?format=ndjson") == [receipt]


async def test_newest_first_or_in_the_order_of_ids(app: Running) -> None:
    await post(app, [at(5), at(1), at(9), {**at(1), "sensor_id": "line-2"}])
    assert ids((await ask(app)).json()["readings"]) == [3, 1, 4, 2]
    assert ids((await ask(app, "?after=0")).json()["readings"]) == [1, 2, 3, 4]
    assert ids(await pages(app, "?limit=1")) == [3, 1, 4, 2]
    assert ids(await pages(app, "?limit=3&after=1")) == [2, 3, 4]
    assert ids(await lines(app, "?format=ndjson&limit=2")) == [3, 1]
    assert ids(await lines(app, "?format=ndjson&limit=2&after=1")) == [2, 3]
    assert [row["id"] for row in await table(app, "?format=csv&sensor_id=line-1")] == [
        *("3", "1", "2"),
    ]


async def test_ranges_and_filters(app: Running) -> None:
    await post(app, [at(n, flow=n) for n in range(5)] + [{**at(2), "sensor_id": "b", "co2": 1}])
    noon = "2026-01-31T12:00:0"
    assert ids(await pages(app, f"?start={noon}1Z&end={noon}3Z")) == [6, 3, 2]
    assert ids(await pages(app, f"?start={noon}1Z&end={noon}3Z&sensor_id=b&sensor_id=x")) == [6]
    assert await pages(app, "?start=-1h&end=now") == []
    (reading,) = await pages(app, "?measurement=co2")
    assert reading["co2"] == 1
    assert "temperature" not in reading
    (row,) = await table(app, "?measurement=co2&measurement=humidity&format=csv&sensor_id=b")
    columns = ["id", "sensor_id", "recorded_at", "received_at", "co2", "humidity", "client_ip"]
    assert list(row) == columns


async def test_a_table_has_a_column_for_each_measurement(app: Running) -> None:
    await post(app, [at(1, flow=1.5, co2=400)])
    response = await ask(app, "?format=csv")
    assert response.content.startswith(
        b"\xef\xbb\xbfid,sensor_id,recorded_at,received_at,temperature,humidity,pressure,co2,flow,"
        b"client_ip,other measurements\r\n1,line-1,2026-01-31 12:00:01,"
    )
    assert response.content.endswith(b",,,,400.0,1.5,127.0.0.1,\r\n")


async def test_what_has_no_column_is_kept_all_the_same(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 1)
    await post(app, [at(1, later=1.5, **{"other.one": 2.0}), at(2, flow=1)])
    newest, oldest = await table(app, "?format=csv&end=2026-01-31T13:00:00Z")
    assert (newest["flow"], newest[OTHERS]) == ("1.0", "")
    # Of nothing but the first page, or of what was followed meanwhile.
    assert reading_in(oldest) | {"later": 1.5, "other.one": 2.0} == reading_in(oldest)


async def test_an_answer_ends_when_much_was_looked_through(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    monkeypatch.setattr(history, "LOOKS", 3)
    await post(app, [at(n, flow=n) for n in range(1, 10)] + [at(0, co2=1)])
    first = (await ask(app, "?sensor_id=line-1&measurement=co2")).json()
    assert first["readings"] == []
    assert first["next"] is not None
    assert ids(await pages(app, "?sensor_id=line-1&measurement=co2")) == [10]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        ("application/x-ndjson;q=1, */*", "application/x-ndjson"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
    ],
)
async def test_the_form_is_what_the_client_accepts(app: Running, accept: str, kind: str) -> None:
    response = await ask(app, Accept=accept)
    assert response.headers["content-type"].startswith(kind)
    response = await ask(app, "?format=csv", Accept=accept)
    assert response.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", r"sensorflow-readings-\d{8}.csv"),
        ("&sensor_id=line%2F1%20%22%0d", None),
        ("&sensor_id=K%C3%BCche%2F1%22", r"sensorflow-K_che_1_-\d{8}.csv"),
        (
            "&sensor_id=a&start=2026-01-31T00:00:00Z&end=2026-02-28T00:00:00Z",
            "sensorflow-a-20260131-20260228.csv",
        ),
        ("&start=0001-01-01T00:00:00Z&end=now", r"sensorflow-readings-00010101-\d{8}.csv"),
    ],
)
async def test_a_file_has_a_sensible_name(app: Running, query: str, name: str | None) -> None:
    response = await app.http.get(f"/api/readings?format=csv{query}", headers=READ)
    if name is None:
        assert response.status_code == 422
        return
    disposition = response.headers["content-disposition"]
    assert re.fullmatch(f'attachment; filename="{name}"', disposition), disposition


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1",
        "@sum",
        "'quoted",
        " =1",
        "a;=1",
        "a; -1",
        "＝1",
        'say "=1"',
        "a,=b",
        "a;'b",
    ],
)
async def test_no_formula_runs_and_every_name_comes_back(app: Running, name: str) -> None:
    await post(app, {**at(1), "sensor_id": name})
    content = (await ask(app, "?format=csv")).content
    (row,) = rows_of(content)
    assert reading_in(row)["sensor_id"] == name
    # Where spreadsheets cut lines at semicolons, quotes in the midst of a cell mean nothing.
    line = content.decode("utf-8-sig").splitlines()[1]
    cells = [row["sensor_id"], *line.split(";")[1:]]
    assert not any(cell.lstrip().startswith(tuple("=+-@＝＋－＠")) for cell in cells)


NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12
) | st.sampled_from(["=1;=2", "'", ";", '"', "a,b"])
MEASURED = st.dictionaries(
    st.sampled_from(["temperature", "humidity", "pressure", "co2", "x.y-z", "_"]),
    st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(NAMES, st.integers(0, 50), st.integers(0, 999_999), MEASURED),
        min_size=1,
        max_size=20,
    )
)
async def test_what_is_read_back_is_what_was_sent(
    app: Running, sent: list[tuple[str, int, int, dict[str, float]]]
) -> None:
    before = len(await lines(app, "?format=ndjson"))
    receipts = []
    for sensor_id, seconds, micro, measured in sent:
        stamp = f"2026-01-31T12:00:{seconds:02}.{micro:06}Z"
        status, receipt = await post(
            app, {"sensor_id": sensor_id, "recorded_at": stamp, **measured}
        )
        if status == 201:
            del receipt["status"]
            receipts.append(receipt)
    after = await lines(app, f"?format=ndjson&after={before}")
    assert after == receipts
    everything = await lines(app, "?format=ndjson")
    assert everything == sorted(everything, key=lambda r: (_at(r), r["id"]), reverse=True)
    assert len(everything) == before + len(receipts)
    assert await pages(app, "?limit=7") == everything
    as_told = [same_times(reading) for reading in everything]
    assert [same_times(reading_in(r)) for r in await table(app, "?format=csv")] == as_told


def _at(reading: Told) -> datetime:
    return datetime.fromisoformat(reading["recorded_at"])


@pytest.mark.parametrize(
    ("query", "status", "reason", "field"),
    [
        ("?limit=0", 400, "bad_request", "limit"),
        ("?limit=10001", 400, "bad_request", "limit"),
        ("?limit=x", 400, "bad_request", "limit"),
        ("?limit=10001&format=csv", 200, None, None),
        ("?format=xml", 400, "bad_request", "format"),
        ("?after=-1", 422, "bad_cursor", "after"),
        ("?after=x", 422, "bad_cursor", "after"),
        ("?cursor=x", 422, "bad_cursor", "cursor"),
        ("?cursor=w6k", 422, "bad_cursor", "cursor"),
        ("?cursor=", 422, "bad_cursor", "cursor"),
        ("?start=yesterday", 422, "bad_range", "start"),
        ("?start=now&end=-1h", 422, "bad_range", "start"),
        ("?sensor_id=", 422, "bad_sensor_id", "sensor_id"),
        ("?sensor_id=%00", 422, "bad_sensor_id", "sensor_id"),
        ("?measurement=1x", 422, "bad_measurement_name", "1x"),
        (
            "?" + "&".join(f"sensor_id={n}" for n in range(101)),
            422,
            "too_many_sensors",
            "sensor_id",
        ),
        ("?" + "&".join(["sensor_id=a"] * 101), 422, "too_many_sensors", "sensor_id"),
        (
            "?" + "&".join(f"measurement=m{n}" for n in range(65)),
            422,
            "too_many_measurements",
            "measurement",
        ),
        ("?nothing=known", 200, None, None),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(
    app: Running, query: str, status: int, reason: str | None, field: str | None
) -> None:
    response = await app.http.get(f"/api/readings{query}", headers=READ)
    assert response.status_code == status
    if status != 200:
        problem = response.json()
        assert (problem["reason"], problem["field"]) == (reason, field)
        assert response.headers["content-type"] == "application/problem+json"


async def test_only_who_may_read_is_told(app: Running) -> None:
    assert (await app.http.get("/api/readings")).status_code == 401
    assert (await app.http.get(f"/api/readings?api-key={READ_KEY}")).status_code == 401
    for key in (INGEST_KEY, ADMIN_KEY):
        response = await app.http.get("/api/readings", headers={"X-API-Key": key})
        assert response.status_code == 403
    signed_in = await app.http.post("/api/session", headers=READ)
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    app.http.cookies.clear()
    own = {**cookie, "Sec-Fetch-Site": "same-origin"}
    assert (await app.http.get("/api/readings?format=csv", headers=own)).status_code == 200
    foreign = {**cookie, "Origin": "http://elsewhere.example"}
    assert (await app.http.get("/api/readings", headers=foreign)).status_code == 403


async def test_other_methods_are_refused(app: Running) -> None:
    response = await app.http.put("/api/readings", headers=READ)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
async def test_without_a_database_the_answer_says_so(
    app: Running, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    async def away(*_: object) -> None:
        raise StorageUnavailable("it is gone")

    monkeypatch.setattr(SqliteStorage, "recorded_before", away)
    response = await app.http.get(f"/api/readings?format={form}", headers=READ)
    assert (response.status_code, response.json()["reason"]) == (503, "storage_unavailable")
    assert int(response.headers["retry-after"]) > 0


async def test_a_stream_that_fails_does_not_look_whole(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(app, [at(n) for n in range(5)])
    monkeypatch.setattr(history, "PAGE", 2)
    found = SqliteStorage.recorded_before
    calls = 0

    async def failing(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StorageUnavailable("it is gone")
        return await found(*given)

    monkeypatch.setattr(SqliteStorage, "recorded_before", failing)
    with pytest.raises(httpx2.RemoteProtocolError):
        await app.http.get("/api/readings?format=ndjson&sensor_id=line-1", headers=READ)


async def test_who_takes_nothing_is_cut_off(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    if app.stock:
        pytest.skip("uvicorn's own protocol cannot be cut off")
    page = [device_reading() for _ in range(PAGE)]
    for reading in page:
        reading.id = 1

    async def endless(*_: object) -> list[Reading]:
        return page

    monkeypatch.setattr(SqliteStorage, "recorded_before", endless)
    monkeypatch.setattr(history, "SEND_TIMEOUT", 0.2)
    monkeypatch.setattr("sensorflow.web.sinks.LINGER", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port, limit=4_096)
    head = f"GET /api/readings?format=ndjson HTTP/1.1\r\nHost: x\r\nX-API-Key: {READ_KEY}\r\n\r\n"
    writer.write(head.encode())
    with capture_logs() as logs:
        async with asyncio.timeout(20):
            while not logs:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert [entry["reason"] for entry in logs] == ["nothing is taken"]
            with suppress(ConnectionResetError):
                while await reader.read(65_536):
                    pass
    writer.close()
