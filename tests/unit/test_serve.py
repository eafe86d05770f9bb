"""What `serve` does before and beside serving: its listeners and its greeting."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sensorflow.cli.greeting import greeting
from sensorflow.cli.listening import listen
from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import Scope
from sensorflow.settings import Settings
from tests.ports import free_port


@contextmanager
def listening(port: int, count: int) -> Iterator[list[socket.socket]]:
    listeners = listen("127.0.0.1", port, count)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("second", [1, 3])
def test_a_port_that_another_server_has_is_refused(first: int, second: int) -> None:
    port = free_port()
    with (
        listening(port, first),
        pytest.raises(SettingsError, match=r"PORT: cannot listen on 127\.0\.0\.1"),
        listening(port, second),
    ):
        pass
    with listening(port, second):
        pass


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="HOST: there is no address"):
        listen("no such host", free_port(), 2)


def test_connections_are_spread_over_alllisteners() -> None:
    port = free_port()
    taken: Counter[int] = Counter()
    with listening(port, 3) as listeners:
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for index, listener in enumerate(listeners):
            listener.setblocking(False)
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    break
                taken[index] += 1
        for caller in callers:
            caller.close()
    assert taken.total() == 300
    assert min(taken[index] for index in range(3)) > 30


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:secret@db.lan:5433/plant", "(PostgreSQL at db.lan:5433/plant)"),
        ("postgresql://user:se@cr/et@db/plant?sslmode=require", "(PostgreSQL at db/plant)"),
        ("postgres://localhost/plant?user=u&password=secret", "(PostgreSQL at localhost/plant)"),
        ("postgresql:///plant?host=/run/postgresql", "(PostgreSQL at /plant)"),
        ("postgresql://user:secr?et@db/plant", "(PostgreSQL)"),
        ("postgresql:///plant?user=u&password=secr@et", "(PostgreSQL)"),
    ],
)
def test_the_greeting_names_the_database_without_its_secrets(url: str, shown: str) -> None:
    first_line = greeting(Settings(database_url=url), {}).splitlines()[0]
    assert first_line.endswith(shown)


def test_the_greeting_names_the_embedded_database() -> None:
    assert "(SQLite in data)" in greeting(Settings(), {})


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_greeting_in_a_container_shows_what_can_be_typed_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str
) -> None:
    mark = tmp_path / "mark"
    if engine == "podman":
        mark.touch()
    monkeypatch.setattr("sensorflow.cli.greeting.PODMAN_MARK", mark)
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("socket.gethostname", lambda: "0123456789ab")
    first = greeting(Settings(), {Scope.INGEST: "sf_made"})
    execute = f"{engine} exec -e API_KEY=sf_made 0123456789ab sensorflow"
    assert f"Try:    {execute} simulate --url http://127.0.0.1:8000\n" in first
    assert "port 8000 is published as itself" in first
    assert first.endswith(f"\n{engine} stop 0123456789ab stops the server.")
    later = greeting(Settings(), {})
    assert f"{engine} exec 0123456789ab sensorflow keys renew API_KEY\n" in later
