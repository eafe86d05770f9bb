"""`sensorflow export` against the real server: the real readings of a year come back exactly."""

import csv
import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import INGEST_KEY, PROGRAM, READ_KEY, Server, http, serving

REAL_FILE = Path(__file__).parent.parent / "data" / "nyc-weather-2013.csv.gz"
MEASURED = ("temperature", "humidity", "pressure")

Row = tuple[str, str, tuple[float | None, ...]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("export")) as server:
        readings = [
            {name: cell for name, cell in row.items() if cell} for row in _rows_of_the_file()
        ]
        for start in range(0, len(readings), 10_000):
            body = json.dumps(readings[start : start + 10_000]).encode()
            headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
            answer = http(
                server.port,
                "POST /api/readings",
                body,
                {**headers, "Content-Length": str(len(body))},
            )
            assert answer.startswith(b"HTTP/1.1 201"), answer
        yield server


def _rows_of_the_file() -> list[dict[str, str]]:
    with gzip.open(REAL_FILE, "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def run(server: Server, *words: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [PROGRAM, *words, "--url", server.base],
        cwd=server.folder,
        env={"PATH": os.environ["PATH"], "API_KEY": INGEST_KEY, "API_KEY_WS": READ_KEY},
        capture_output=True,
        timeout=120,
        check=False,
    )
    for key in (INGEST_KEY, READ_KEY):
        assert key.encode() not in done.stdout + done.stderr
    return done


def sent() -> list[Row]:
    return sorted(
        (row["sensor_id"], _plain(row["recorded_at"]), _values(row)) for row in _rows_of_the_file()
    )


def _values(row: dict[str, str]) -> tuple[float | None, ...]:
    return tuple(float(row[name]) if row[name] else None for name in MEASURED)


def _plain(time: str) -> str:
    return time.replace("T", " ").removesuffix("Z").removesuffix("+00:00")


def test_a_year_comes_back_as_a_table(filled: Server) -> None:
    file = filled.folder / "year.csv"
    done = run(filled, "export", str(file))
    assert done.returncode == 0, done.stderr
    assert b"export: 23,386 readings" in done.stderr
    assert not file.with_name("year.csv.part").exists()
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    times = [(row["recorded_at"], int(row["id"])) for row in rows]
    assert times == sorted(times, reverse=True)
    assert sorted((r["sensor_id"], r["recorded_at"], _values(r)) for r in rows) == sent()


def test_a_year_comes_back_line_by_line(filled: Server) -> None:
    done = run(filled, "export", "--after", "0", "--format", "ndjson")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [reading["id"] for reading in told] == list(range(1, 23_387))
    assert (
        sorted(
            (r["sensor_id"], _plain(r["recorded_at"]), tuple(r.get(name) for name in MEASURED))
            for r in told
        )
        == sent()
    )


def test_a_part_is_asked_for_by_options(filled: Server) -> None:
    words = ["--sensor", "JFK", "--measurement", "humidity", "--start", "2013-07-01T00:00:00Z"]
    done = run(filled, "export", *words, "--end", "2013-07-02T00:00:00Z")
    rows = list(csv.DictReader(done.stdout.decode("utf-8-sig").splitlines()))
    wanted = [row for row in sent() if row[0] == "JFK" and row[1].startswith("2013-07-01")]
    assert len(rows) == len(wanted) > 0
    assert {row["sensor_id"] for row in rows} == {"JFK"}
    assert "temperature" not in rows[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--start", "yesterday"), b"--start"),
        (("--sensor", ""), b"sensor_id"),
        (("--api-key", "wrong-key-here"), b"API key is wrong"),
        (("/nowhere/at/all.csv",), b"No such file"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(
    filled: Server, words: tuple[str, ...], told: bytes
) -> None:
    done = run(filled, "export", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count(b"\n") == 1
