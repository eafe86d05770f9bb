"""InfluxDB 1.6 as a peer: started on loopback, with its data on the project's disk."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.server import HERE, HOST, BenchmarkError, Running, free_port, started, tool

DATABASE: Final = "benchmark"
TIMEOUT: Final = 60.0
START_TIMEOUT: Final = 30.0


class InfluxDB:
    """One running server with one database."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.base = f"http://{HOST}:{running.port}"
        self.write_path = f"/write?db={DATABASE}"
        """Times are nanoseconds."""

    def write(self, lines: bytes) -> None:
        """Write lines; return when they are on disk. Raises `BenchmarkError`."""
        self._ask(urllib.request.Request(self.base + self.write_path, lines))

    def query(self, statement: str) -> list[list[Any]]:
        """The rows of the first series of the answer, times in milliseconds."""
        asked = urllib.parse.urlencode({"db": DATABASE, "q": statement, "epoch": "ms"}).encode()
        answer = json.loads(self._ask(urllib.request.Request(f"{self.base}/query", asked)))
        result = answer["results"][0]
        if "error" in result:
            raise BenchmarkError(f"InfluxDB refuses a query: {result['error']}")
        rows: list[list[Any]] = result["series"][0]["values"] if "series" in result else []
        return rows

    def count(self, field: str, measurement: str) -> int:
        """How many values of a field there are."""
        rows = self.query(f'SELECT count("{field}") FROM "{measurement}"')
        return int(rows[0][1]) if rows else 0

    def _ask(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                body: bytes = response.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                raise BenchmarkError(f"InfluxDB answers {error.read()[:500]!r}") from error


@contextmanager
def influxdb(folder: Path, problems: list[str]) -> Iterator[InfluxDB]:
    """`influxd` with `peers/influxdb.conf` and an empty database; ready. Its files are in `folder`.

    Whatever it logs as an error is added to `problems`.
    """
    influxd = tool("influxd", "influxdb")
    home = folder / "influxdb"
    home.mkdir()
    port = free_port()
    text = (HERE / "peers" / "influxdb.conf").read_text()
    for name, value in {"FOLDER": home, "PORT": port, "RPC_PORT": free_port()}.items():
        text = text.replace(f"@{name}@", str(value))
    config = home / "influxdb.conf"
    config.write_text(text)
    command = [influxd, f"-config={config}"]
    with started(command, port, home, {"HOME": str(home)}, problems) as running:
        server = InfluxDB(running)
        _wait(server)
        server.query(f"CREATE DATABASE {DATABASE}")
        yield server


def _wait(server: InfluxDB) -> None:
    deadline = time.perf_counter() + START_TIMEOUT
    while True:
        try:
            urllib.request.urlopen(f"{server.base}/ping", timeout=1.0).close()
            return
        except OSError:
            if time.perf_counter() > deadline:
                raise BenchmarkError("InfluxDB does not start") from None
            time.sleep(0.02)
