"""Live connections per key, counted over real processes."""

import errno
import fcntl
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sensorflow.errors import SettingsError
from sensorflow.keys.limits import PLACES_TRIED, ConnectionLimit

PROGRAM = """
import sys
from pathlib import Path
from sensorflow.keys.limits import ConnectionLimit

limit = ConnectionLimit(int(sys.argv[1]), Path(sys.argv[2]))
for line in sys.stdin:
    command, key, times = line.split()
    method = getattr(limit, command)
    print(sum(bool(method(key.encode())) for _ in range(int(times))), flush=True)
"""


class Elsewhere:
    """The same limit in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def acquire(self, key: str, times: int) -> int:
        """How many of so many attempts got a place."""
        return self._ask("acquire", key, times)

    def release(self, key: str) -> None:
        self._ask("release", key, 1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def _ask(self, command: str, key: str, times: int) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command} {key} {times}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def elsewhere(allowed: int, folder: Path) -> Iterator[Elsewhere]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(allowed), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Elsewhere(process)
        finally:
            process.kill()


def acquired(limit: ConnectionLimit, key: bytes, times: int) -> int:
    return sum(limit.acquire(key) for _ in range(times))


def test_connections_are_counted_by_key_and_given_back(tmp_path: Path) -> None:
    limit = ConnectionLimit(2, tmp_path)
    assert [limit.acquire(b"a") for _ in range(3)] == [True, True, False]
    assert limit.acquire(b"b")
    limit.release(b"a")
    assert [limit.acquire(b"a") for _ in range(2)] == [True, False]


def test_processes_share_the_places_and_give_them_back(tmp_path: Path) -> None:
    here = ConnectionLimit(5, tmp_path)
    with elsewhere(5, tmp_path) as there:
        assert there.acquire("a", 2) == 2
        assert acquired(here, b"a", 10) == 3
        assert there.acquire("b", 5) == 5
        there.release("a")
        assert there.acquire("a", 1) == 1
        there.release("a")
        assert acquired(here, b"a", 10) == 1
        here.release(b"a")
        assert there.acquire("a", 10) == 1


def test_the_places_of_a_killed_process_are_free(tmp_path: Path) -> None:
    here = ConnectionLimit(5, tmp_path)
    with elsewhere(5, tmp_path) as there:
        assert there.acquire("a", 5) == 5
        assert not here.acquire(b"a")
        there.kill()
        assert acquired(here, b"a", 10) == 5


def test_processes_that_come_at_the_same_moment_get_all_places_and_no_more(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        others = [stack.enter_context(elsewhere(50, tmp_path)) for _ in range(4)]
        got = threads.map(lambda other: other.acquire("a", 40), others)
        assert sum(got) == 50


def test_where_no_more_than_the_places_tried_are_allowed_each_free_one_is_found(
    tmp_path: Path,
) -> None:
    with elsewhere(PLACES_TRIED, tmp_path) as there:
        assert there.acquire("a", PLACES_TRIED) == PLACES_TRIED
        for _ in range(20):
            there.release("a")
            # Each limit begins at another place.
            assert acquired(ConnectionLimit(PLACES_TRIED, tmp_path), b"a", 2) == 1
            assert there.acquire("a", 2) == 0
            # Closing the file gives the place back; a running server never does.
            (tmp_path / b"a".hex()).open().close()
            assert there.acquire("a", 2) == 1


def test_an_attempt_tries_a_bounded_number_of_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = ConnectionLimit(10**30, tmp_path)
    assert limit.acquire(b"a")
    tried = []

    def taken(_: object, __: int, length: int, place: int) -> None:
        tried.append(place)
        raise BlockingIOError(errno.EAGAIN, "taken")

    monkeypatch.setattr(fcntl, "lockf", taken)
    assert not limit.acquire(b"a")
    assert len(tried) == PLACES_TRIED


def test_a_free_place_among_many_taken_ones_is_found(tmp_path: Path) -> None:
    allowed = 10 * PLACES_TRIED
    with elsewhere(allowed, tmp_path) as there:
        taken = allowed * 9 // 10
        assert there.acquire("a", taken) == taken
        assert acquired(ConnectionLimit(allowed, tmp_path), b"a", 50) == 50


def test_zero_allows_any_number_and_touches_no_file(tmp_path: Path) -> None:
    limit = ConnectionLimit(0, tmp_path / "connections")
    assert acquired(limit, b"a", 1000) == 1000
    limit.release(b"a")
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_look_into_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "connections"
    assert ConnectionLimit(1, folder).acquire(b"a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(SettingsError, match=r"DATA_DIR: .*connections"):
        ConnectionLimit(1, tmp_path / "data" / "connections")


@pytest.mark.parametrize("failing", ["open", "lock"])
def test_where_the_file_fails_each_process_counts_alone_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    limit = ConnectionLimit(2, tmp_path)
    if failing == "open":
        (tmp_path / b"a".hex()).mkdir()
    else:

        def no_locks(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "lockf", no_locks)
    with capture_logs() as logs:
        assert acquired(limit, b"a", 5) == 2
        limit.release(b"a")
        assert acquired(limit, b"a", 5) == 1
    assert [entry["log_level"] for entry in logs] == ["warning"]
