"""Odd queries of the history, on the real program: each is answered, or refused by name."""

import base64
import csv
import http.client
import io
import json
import re
import time
from collections.abc import Iterator
from itertools import product
from typing import Final
from urllib.parse import quote

import pytest

from tests.helpers import promised
from tests.load import ANSWERED_WITHIN
from tests.servers import INGEST_KEY, READ_KEY, Server
from tests.system.conftest import Backend

NAMES: Final = (
    *('"', "'", "a;b", "a,b", "a\\b", "a/b", "%0d%0a", "a b", " ", "...", "../../etc/passwd"),
    *(
        "=1+1",
        "+1",
        "-1",
        "@x",
        "'=1",
        "é" * 128,
        "x" * 128,
        "日本",
        "😀",
        "\u202ertl",
        "\u2028",
        "\xa0",
    ),
)
TIMES: Final = (
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z"),
    *("9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-31"),
    *("-999999999y", "-2026y", "-1y", "-0s", "now", "0", "-1", "1e30", "9" * 30, "NaN", "", "\0"),
    *("1769860800", "253402300799", "253402300800", "-62135596800", "1" * 5_000, "١"),
)
CURSORS: Final = (
    *("999999999999999999-999999999999999999@999999999999999999", "0-0", "0-0@0", "1-0@-0"),
    *("1-1@-62135596800000000", "1-1@-62135596800000001", "1-1@253402300799999999"),
    *("1-1@253402300800000000", "999999999999999999-0", "0-999999999999999999", "١-1"),
)
OTHERS: Final = (
    *("%", "%%%", "&&=", "a=b=c", "unknown=1", "%F0%28%8C%28=x", "limit=1&limit=2", "limit=1e30"),
    *(
        "limit=0",
        "limit=-1",
        "limit=" + "9" * 19,
        "limit=%D9%A1",
        "format=",
        "format=csv&format=json",
    ),
    *(
        "sensor_id=",
        "sensor_id=%00",
        "sensor_id=%0D%0AX-Own:1",
        "sensor_id=%ED%A0%80",
        "sensor_id=%FF",
    ),
    *("sensor_id=" + "x" * 129, "sensor_id=" + "x" * 20_000, "measurement=", "measurement=%00"),
    *("measurement=%3D1", "measurement=" + "x" * 65, "measurement=%C3%A9", "after=" + "9" * 400),
    *("after=9223372036854775807", "after=9223372036854775808", "after=-1", "after=%D9%A1"),
    *("points=1", "points=100000", "points=1e3", "bucket=1s&start=-10y", "bucket=9999M&start=-26y"),
    *(
        "bucket=0s",
        "bucket=1s%0A",
        "bucket=%D9%A1s",
        "bucket=1m&points=10",
        "points=5000&start=-26y",
    ),
    *("&".join(f"sensor_id=s{n}" for n in range(many)) for many in (100, 101, 1_000)),
    *("&".join(f"measurement=m{n}" for n in range(many)) for many in (64, 65, 1_000)),
)


class Asker:
    """Asks over one connection, and holds every answer to what is promised of all."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.asked = 0
        self.slowest = 0.0

    def ask(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        began = time.monotonic()
        self._connection.request("GET", path, headers={"X-API-Key": READ_KEY})
        response = self._connection.getresponse()
        body = response.read()
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.asked += 1
        assert response.status in (200, 400, 422), (path[:300], response.status, body)
        if response.status != 200:
            assert response.headers["content-type"] == "application/problem+json", path[:300]
            told = json.loads(body)
            assert told["reason"] != "", path[:300]
            assert told["detail"] != "", path[:300]
        return response, body

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def asker(backend: Backend) -> Iterator[Asker]:
    readings = [
        {"sensor_id": name, "recorded_at": f"2026-01-31T12:00:{n:02}Z", "temperature": -1.5}
        for n, name in enumerate(NAMES)
    ]
    readings += [
        {
            "sensor_id": f"s{n % 300}",
            "recorded_at": f"{2001 + n % 25}-01-01T00:00:00.{n:06}Z",
            "x": n,
        }
        for n in range(3_000)
    ]
    connection = http.client.HTTPConnection("127.0.0.1", backend.server.port, timeout=60)
    headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
    connection.request("POST", "/api/readings", json.dumps(readings), headers)
    with connection.getresponse() as response:
        assert json.load(response)["stored"] == len(readings)
    connection.close()
    asker = Asker(backend.server)
    yield asker
    asker.close()


def queries() -> Iterator[str]:
    for start, end in product(map(quote, TIMES), repeat=2):
        yield f"start={start}&end={end}"
    yield from OTHERS


def test_whatever_is_asked_is_answered_or_refused_by_name(asker: Asker, backend: Backend) -> None:
    for query in queries():
        asker.ask(f"/api/readings?limit=5&{query}")
        asker.ask(f"/api/series?sensor_id=s1&sensor_id=s2&{query}")
    for query in OTHERS:
        asker.ask(f"/api/readings?{query}")
        asker.ask(f"/api/readings?{query}&format=csv")
        asker.ask(f"/api/readings?{query}&after=0&format=ndjson")
        asker.ask(f"/api/series?{query}")
        asker.ask(f"/api/series?{query}&points=10&start=-26y")
    print(f"\n{asker.asked:,} asked, the slowest answered in {asker.slowest * 1e3:.0f} ms")
    assert asker.slowest < promised(ANSWERED_WITHIN)
    assert '"level":"error"' not in backend.server.log.read_text().replace(" ", "")


def test_a_forged_cursor_is_a_place_or_refused_by_name(asker: Asker, backend: Backend) -> None:
    forged = {_encoded(text.encode()) for text in CURSORS}
    for query in ("limit=7", "limit=7&after=3"):
        _, body = asker.ask(f"/api/readings?{query}")
        cursor = json.loads(body)["next"].encode()
        plain = base64.urlsafe_b64decode(cursor + b"=" * (-len(cursor) % 4))
        forged |= {quote(flipped) for flipped in _flips(cursor)}
        forged |= {_encoded(flipped) for flipped in _flips(plain)}
    for number, cursor_ in enumerate(sorted(forged)):
        more = ("", "&sensor_id=s1", "&sensor_id=s1&sensor_id=s2", "&format=csv")[number % 4]
        asker.ask(f"/api/readings?cursor={cursor_}&limit=5{more}")
    assert asker.asked > 300
    assert asker.slowest < promised(ANSWERED_WITHIN)
    assert '"level":"error"' not in backend.server.log.read_text().replace(" ", "")


def _encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _flips(text: bytes) -> Iterator[bytes]:
    """The text with each of its bits turned."""
    for place, bit in product(range(len(text)), range(8)):
        yield text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]


def test_any_name_makes_a_sound_header_and_a_cell_that_is_no_formula(asker: Asker) -> None:
    for name in NAMES:
        query = f"format=csv&sensor_id={quote(name, safe='')}&start=0001-01-01T00:00:00Z&end=now"
        response, body = asker.ask(f"/api/readings?{query}")
        # A quoted string of RFC 9110 in which nothing has to be escaped, and no path.
        assert re.fullmatch(
            r'attachment; filename="sensorflow-[A-Za-z0-9._-]{1,64}-00010101-\d{8}\.csv"',
            response.headers["content-disposition"],
        ), name
        assert "x-own" not in response.headers
        (row,) = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
        assert row["sensor_id"].lstrip()[:1] not in ("=", "+", "-", "@"), name
        # A number stays one.
        assert row["temperature"] == "-1.5", name
