"""Requests as a broken device, a bad line or an attacker sends them: mutated, by a seed."""

import gzip
import json
import random
import re
import zlib
from dataclasses import dataclass
from typing import Final

ONE: Final = (
    b'{"temperature":23.45, "humidity":"56.78", "pressure":"1013.25", '
    b'"sensor_id":"E6614103E7452D2F"}',
    b'{"sensor_id":"boiler-2","recorded_at":"2026-01-31T12:00:00.123456Z","temperature":61,'
    b'"humidity":40,"pressure":1e3,"flow":-0.5,"note":"ok","door":true}',
    '{"sensor_id":"Küche","age_ms":90000,"temperature":21.5,"humidity":"0.5e2","pressure":1}'.encode(),
)
MANY: Final = (
    b'[{"sensor_id":"a","flow":1},{"sensor_id":"b","recorded_at":1769860800,"flow":2.5},'
    b'{"sensor_id":"a","recorded_at":1769860800123,"flow":3,"level":"4"}]',
    b'{"esp8266id":"12345","software_version":"NRZ-2020-133","sensordatavalues":['
    b'{"value_type":"SDS_P1","value":"12.30"},{"value_type":"BME280_pressure","value":"101325"}]}',
    json.dumps([{"sensor_id": f"s{n % 7}", "value": n} for n in range(300)]).encode(),
)
LINES: Final = (
    b'{"sensor_id":"a","flow":1}\n{"sensor_id":"b","flow":2}\r\n\n{"sensor_id":"c","flow":3}',
    *(b"\n".join([body] * 3) for body in ONE[:2]),
)
POINTS: Final = (
    b"climate,sensor_id=sensor-01 temperature=25.5,humidity=60.2 1769860800000000000",
    b'weather,host=pi\\ 4,room=attic temperature=1i,ok=t,text="a \\" b, c=d"\n# no point\n'
    b"cpu,device=x,cpu=cpu0 usage=0.5,idle=99u 1769860800\n",
    b"\n".join(b"m,sensor=s%d value=%d %d" % (n % 5, n, 1769860800 + n) for n in range(200)),
)
CORPUS: Final = (*ONE, *MANY, *LINES, *POINTS)

NUMBERS: Final = (
    *(b"1e999", b"-1e999", b"1e-999", b"-0", b"-0.0", b"0e0", b"1E+400", b"1e400i", b"5e-324"),
    *(b"NaN", b"-NaN", b"Infinity", b"-Infinity", b'"nan"', b'"inf"', b'"1e999"', b'" 7 "'),
    *(
        b"9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551616",
        b"01",
        b"1.",
        b".5",
    ),
    *(b"0x10", b"1_000", b"+1", b"1e", b"--1", b'"\xd9\xa1"', b"null", b"true", b"{}", b"[]"),
    *(b"9" * 400, b"9" * 5_000, b"1" + b"0" * 308, b"0." + b"0" * 400 + b"1", b"1e" + b"9" * 50),
)
INSERTED: Final = (
    *(b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xef\xbb\xbf"),
    *(
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\u0000",
        b"\\ud83d\\ude00",
        b"\\x",
        b"\\",
        b"\x00",
        b"\x7f",
    ),
    *(b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"=", b" ", b"\n", b"\r\n", b"\t", b"#"),
    *(b'"sensor_id":"\\n",', b'"recorded_at":0,', b'"id":1,', b'"temperature":[],', b'"":1,'),
    *("\u202e\u2028\u0085".encode(), "\U0010ffff".encode(), b"a" * 200, b"a" * 20_000),
)
NESTED: Final = (b"[", b'{"a":', b'[{"sensor_id":', b'{"sensordatavalues":[', b'a="')
KINDS: Final = (
    *(b"application/json", b"application/json; charset=utf-8", b"APPLICATION/JSON", b"text/plain"),
    *(b"application/x-ndjson", b"application/jsonl", b"", b"\xff", b"application/json;" * 50),
)
ENCODINGS: Final = (
    b"gzip",
    b"GZIP",
    b" gzip ",
    b"gzip, gzip",
    b"identity",
    b"deflate",
    b"br",
    b"\xff",
)
QUERIES: Final = (
    *(b"", b"?precision=s", b"?precision=ns", b"?precision=x", b"?precision=", b"?sensor_id=door"),
    *(
        b"?sensor_id=",
        b"?sensor_id=%00",
        b"?sensor_id=%ff",
        b"?sensor_id=" + b"x" * 300,
        b"?%",
        b"?&&=&",
    ),
    *(b"?db=x&rp=&consistency=any", b"?org=o&bucket=b&precision=us", b"?sensor_id=%ed%a0%80"),
)
ROUTES: Final = {
    b"/api/temperature_reading": (ONE, b"application/json"),
    b"/api/readings": ((*ONE, *MANY), b"application/json"),
    b"/api/readings#": (LINES, b"application/x-ndjson"),
    b"/write": (POINTS, b"text/plain"),
    b"/api/v2/write": (POINTS, b"text/plain; charset=utf-8"),
}
"""Bodies and media types; what follows a # only tells two uses of a path apart."""

MAX_BODY: Final = 200_000
"""Bytes; larger ones are slow to send, and the bounds have tests of their own."""

BOMB: Final = gzip.compress(bytes(64 * 2**20))


@dataclass(frozen=True)
class Request:
    """One request, and its bytes as they are sent."""

    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    wire: bytes

    def __str__(self) -> str:
        return f"{self.path!r} {self.headers} {self.body[:500]!r} ({len(self.body)} bytes)"


def request(seed: str, key: bytes) -> Request:
    """The request of a seed, the same whenever it is asked for."""
    chance = random.Random(seed)
    route = chance.choice(list(ROUTES))
    bodies, kind = ROUTES[route]
    body = chance.choice(bodies)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        body = _mutated(chance, body)[:MAX_BODY]
    headers = [(b"Host", b"x"), (b"X-API-Key", key)]
    headers.append((b"Content-Type", chance.choice(KINDS) if chance.random() < 0.05 else kind))
    if route != b"/api/temperature_reading" and chance.random() < 0.2:
        headers.append((b"Content-Encoding", b"gzip"))
        body = _packed(chance, body)
    elif chance.random() < 0.03:
        headers.append((b"Content-Encoding", chance.choice(ENCODINGS)))
    path = route.rstrip(b"#") + (chance.choice(QUERIES) if chance.random() < 0.2 else b"")
    if chance.random() < 0.2:
        headers.append((b"Transfer-Encoding", b"chunked"))
        sent = _chunked(chance, body)
    else:
        headers.append((b"Content-Length", b"%d" % len(body)))
        sent = body
    head = [b"POST %b HTTP/1.1" % path, *(b"%b: %b" % field for field in headers), b"", b""]
    return Request(path, tuple(headers), body, b"\r\n".join(head) + sent)


def _mutated(chance: random.Random, body: bytes) -> bytes:
    at = chance.randrange(len(body) + 1)
    end = min(len(body), at + chance.choice((1, 1, 4, 16, 64)))
    match chance.randrange(9):
        case 0:
            flipped = bytearray(body)
            for _ in range(chance.choice((1, 1, 2, 8)) if body else 0):
                flipped[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            return bytes(flipped)
        case 1:
            return body[:at]
        case 2:
            other = chance.choice(CORPUS)
            return body[:at] + other[chance.randrange(len(other)) :] + body[end:]
        case 3:
            return body[:at] + body[at:end] * chance.choice((2, 3, 100, 1_000)) + body[end:]
        case 4:
            return body[:at] + body[end:]
        case 5 | 6:
            return _other_number(chance, body)
        case 7:
            return body[:at] + chance.choice(INSERTED) + body[at:]
        case _:
            depth = chance.choice((3, 100, 1_000, 10_000))
            return body[:at] + chance.choice(NESTED) * depth + body[at:]


def _other_number(chance: random.Random, body: bytes) -> bytes:
    """The body with another number in the place of one of its own."""
    found = list(re.finditer(rb'"?-?[0-9][0-9.eE]*"?', body[:2_000]))
    if not found:
        return body
    one = chance.choice(found)
    return body[: one.start()] + chance.choice(NUMBERS) + body[one.end() :]


def _packed(chance: random.Random, body: bytes) -> bytes:
    """As gzip, mostly as it should be."""
    packed = gzip.compress(body, mtime=0)
    match chance.randrange(12):
        case 0:
            return packed[: chance.randrange(len(packed))]
        case 1:
            return _mutated(chance, packed)
        case 2:
            return packed + gzip.compress(chance.choice(CORPUS), mtime=0)
        case 3:
            return packed + chance.choice(INSERTED)
        case 4:
            return chance.choice((body, b"", zlib.compress(body), gzip.compress(packed)))
        case 5 if chance.random() < 0.2:
            return chance.choice((BOMB, gzip.compress(BOMB), packed + BOMB))
        case _:
            return packed


def _chunked(chance: random.Random, body: bytes) -> bytes:
    sizes = (1, 10, 1_000) if len(body) < 2_000 else (1_000, 100_000)
    parts = []
    at = 0
    while at < len(body):
        part = body[at : at + chance.choice(sizes)]
        parts.append(b"%x\r\n%b\r\n" % (len(part), part))
        at += len(part)
    return b"".join([*parts, b"0\r\n\r\n"])
