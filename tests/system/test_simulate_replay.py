"""`sensorflow simulate` and `sensorflow replay` against the real server."""

import gzip
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.devices import send_pico
from tests.ports import free_port
from tests.servers import INGEST_KEY, PROGRAM, READ_KEY, Server, serving

REAL_FILE = Path(__file__).parent.parent / "data" / "nyc-weather-2013.csv.gz"
TIMEOUT = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "server") as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the program in a folder of its own; what still runs at the end is killed by its id."""
    folder = tmp_path / "client"
    folder.mkdir()
    started: list[subprocess.Popen[str]] = []

    def start(*words: str | Path, key: str | None = INGEST_KEY) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"]} | ({"API_KEY": key} if key else {})
        process = subprocess.Popen(
            [PROGRAM, *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


Start = Callable[..., subprocess.Popen[str]]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=TIMEOUT)
    for key in (INGEST_KEY, READ_KEY):
        assert key not in out + err
    return process.returncode, out, err


def stored(server: Server) -> int:
    ((count,),) = server.rows()
    assert isinstance(count, int)
    return count


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_replayed_twice_is_stored_once(server: Server, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "first-rows.csv"
    with gzip.open(REAL_FILE, "rt") as real:
        file.write_text("".join(islice(real, 301)))
    code, out, err = finish(start("replay", file, "--url", server.base))
    assert (code, err) == (0, "")
    assert "      300  201 stored\n" in out
    code, out, err = finish(start("replay", file, "--url", server.base))
    assert (code, err) == (0, "")
    assert "      300  200 duplicate\n" in out
    assert "stored" not in out
    assert stored(server) == 300


def test_rows_that_are_not_taken_are_told_and_counted(
    server: Server, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "mixed.csv.gz"
    rows = [
        "recorded_at,sensor_id,temperature,humidity,pressure,co2",
        "2013-01-01T06:00:00Z,EWR,3.9,59.37,1012.0,417",
        "2013-01-01T06:00:00Z,EWR,4.9,59.37,1012.0,",
        "2013-01-01T07:00:00Z,,3.9,59.37,1012.0,",
        "2013-01-01T07:00:00Z,JFK,warm,59.37,1012.0,",
        "1970-01-01T00:00:07Z,JFK,3.9,59.37,1012.0,",
        "2013-01-01T07:00:00Z,JFK,3.9,,1012.0,",
    ]
    file.write_bytes(gzip.compress("\n".join(rows).encode()))
    code, out, err = finish(start("replay", file, "--url", server.base, "--concurrency", "1"))
    assert code == 1
    assert err.splitlines() == [
        "line 4: sensor_id is missing",
        "line 5: temperature is not a finite number: 'warm'",
    ]
    answers = sorted(line.partition("  ")[2].strip() for line in out.splitlines()[1:])
    assert "1  201 stored" in out
    assert "1  409 conflict" in out
    assert "1  refused, clock_not_set: line 6: recorded_at is 1970-01-01" in out
    assert "1  refused, missing_field: line 7: it has no humidity, which the server needs." in out
    assert "2  not readable" in out
    assert len(answers) == 5
    assert server.rows("SELECT temperature, extra FROM readings") == [(3.9, '{"co2":417.0}')]


def test_time_is_kept_at_the_given_speed(server: Server, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "hours.csv"
    rows = [f"2013-01-01T0{hour}:00:00Z,EWR,{hour},50,1000\n" for hour in range(4)]
    file.write_text("recorded_at,sensor_id,temperature,humidity,pressure\n" + "".join(rows))
    code, _, _ = finish(start("replay", file, "--url", server.base, "--speed", "7200"))
    assert code == 0
    ((span,),) = server.rows("SELECT max(received_at) - min(received_at) FROM readings")
    assert isinstance(span, int)
    # Three hours at two hours a second; a busy machine may take longer, none may take less.
    assert span / 1e6 >= 1.3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file or directory"), ("time,value\n1,2\n", "has no column recorded_at")],
)
def test_a_file_that_cannot_be_replayed_is_told_in_one_line(
    start: Start, tmp_path: Path, content: str | None, complaint: str
) -> None:
    file = tmp_path / "bad.csv"
    if content:
        file.write_text(content)
    code, out, err = finish(start("replay", file))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert complaint in line


def test_simulate_stores_what_it_counts(server: Server, start: Start) -> None:
    words = ("simulate", "--url", server.base, "--rate", "0", "--count", "50", "--sensors", "7")
    code, out, err = finish(start(*words))
    assert (code, err) == (0, "")
    assert "       50  201 stored\n" in out
    assert stored(server) == 50
    assert server.rows("SELECT count(*) FROM sensors") == [(7,)]


def test_simulate_ends_after_its_duration(server: Server, start: Start) -> None:
    words = ("simulate", "--url", server.base, "--rate", "20", "--duration", "1")
    code, out, _ = finish(start(*words))
    assert code == 0
    # What a second holds; the first reading waits for nothing, and a late one may be missed.
    assert 1 <= stored(server) <= 21
    assert f"{stored(server)}  201 stored\n" in out


def test_ctrl_c_ends_simulate_calmly(server: Server, start: Start) -> None:
    process = start("simulate", "--url", server.base, "--rate", "50")
    wait_for(lambda: stored(server) >= 5)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert f"{stored(server):,}  201 stored\n" in out


@pytest.mark.parametrize("key", ["wrong-key-of-the-tests", READ_KEY])
@pytest.mark.parametrize(
    "words", [("simulate",), ("replay", REAL_FILE)], ids=["simulate", "replay"]
)
def test_a_wrong_key_is_told_in_one_line(
    server: Server, start: Start, words: tuple[str | Path, ...], key: str
) -> None:
    code, out, err = finish(start(*words, "--url", server.base, "--concurrency", "64", key=key))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "API_KEY" in line
    assert stored(server) == 0
    # One failure, not one by each sender: this address is not shut out.
    assert send_pico(server).startswith(b"HTTP/1.1 201 ")


def test_without_a_key_or_a_server_one_line_says_so(start: Start) -> None:
    code, out, err = finish(start("simulate", key=None))
    assert (code, out) == (2, "")
    assert err.startswith("sensorflow: API_KEY: no key is given")
    assert len(err.splitlines()) == 1
    nowhere = f"http://127.0.0.1:{free_port()}"
    code, out, err = finish(start("simulate", "--url", nowhere))
    assert (code, out) == (2, "")
    assert err.startswith(f"sensorflow: nothing answers at {nowhere}")
    assert len(err.splitlines()) == 1


def test_the_key_of_the_working_folder_is_used(
    server: Server, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "client" / ".env").write_text(f"API_KEY={INGEST_KEY}\n")
    code, _, _ = finish(start("simulate", "--url", server.base, "--count", "1", key=None))
    assert code == 0


def test_a_server_killed_and_started_again_has_every_reading_once(
    server: Server, start: Start
) -> None:
    process = start("simulate", "--url", server.base, "--rate", "150", "--count", "300")
    wait_for(lambda: stored(server) >= 50)
    server.kill()
    server.start()
    code, out, _ = finish(process)
    assert code == 0
    assert "300 answered" in out
    assert stored(server) == 300
