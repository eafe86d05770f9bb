"""Debian's Prometheus with our configuration: its rules, and what it reads from the real server."""

import asyncio
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from prometheus_client import generate_latest

from sensorflow.metrics import Metrics
from tests.helpers import eventually
from tests.ports import free_port
from tests.requirements import require
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY, http
from tests.workers import SECONDS, Workers, on_each

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULE_TESTS = ROOT / "tests/data/prometheus-rules.test.yml"

ALERTS = set(re.findall(r"- alert: (\w+)", (FOLDER / "rules.yml").read_text()))


def configured(folder: Path, target: str, key: str = READ_KEY) -> Path:
    """Our configuration, with the target, the key's file and the intervals of a test."""
    secret = folder / "read-key"
    secret.write_text(f"{key}\n")
    text = (FOLDER / "prometheus.yml").read_text()
    for old, new in (
        ("api:8000", target),
        ("/run/secrets/sensorflow_read_key", str(secret)),
        ("_interval: 15s", "_interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "rules.yml").write_text((FOLDER / "rules.yml").read_text())
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


def promtool(*arguments: str | Path) -> str:
    """Its output, when it has found nothing wrong."""
    program = require("promtool", "prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_the_rules_are_valid(tmp_path: Path) -> None:
    told = promtool("check", "config", configured(tmp_path, "127.0.0.1:8000"))
    assert f"{len(ALERTS)} rules found" in told


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", RULE_TESTS)
    expected = re.findall(r'labels: \'\{alertname="(\w+)", instance=', RULE_TESTS.read_text())
    assert sorted(expected) == sorted(ALERTS)


def test_the_rules_ask_for_what_there_is() -> None:
    asked = set(re.findall(r"sensorflow_[a-z_]+\b", (FOLDER / "rules.yml").read_text()))
    metrics = Metrics()
    metrics.database_available.set_function(lambda: True)
    metrics.disk_budget.set_function(lambda: 0)
    metrics.route("/").answered(200, 0.01)
    told = {sample.name for metric in metrics.registry.collect() for sample in metric.samples}
    assert asked
    assert asked <= told


def test_promtool_finds_nothing_to_say_of_the_names() -> None:
    metrics = Metrics()
    metrics.route("/").answered(200, 0.01)
    program = require("promtool", "prometheus")
    done = subprocess.run(
        [program, "check", "metrics"],
        input=generate_latest(metrics.registry),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


class Prometheus:
    """One that runs, and its API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready", timeout=60) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"{self._base}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=60) as response:
            return json.load(response)["data"]

    def value(self, query: str) -> float | None:
        found = self.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    async def tells(self, query: str, value: float) -> None:
        """Return as soon as it does."""
        async with asyncio.timeout(SECONDS):
            while await asyncio.to_thread(self.value, query) != value:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@contextmanager
def prometheus(folder: Path, configuration: Path) -> Iterator[Prometheus]:
    program = require("prometheus", "prometheus")
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait(60)


async def test_prometheus_reads_what_was_sent_to_two_workers(tmp_path: Path, database: str) -> None:
    require("prometheus", "prometheus")
    (tmp_path / "server").mkdir()
    (tmp_path / "prometheus").mkdir()
    server = Workers(tmp_path / "server", database, WORKERS="2")
    with server:
        await server.both()
        configuration = configured(tmp_path / "prometheus", f"127.0.0.1:{server.port}")
        with prometheus(tmp_path / "prometheus", configuration) as reader:
            await eventually(reader.ready, SECONDS)
            async with on_each(server) as connections:
                for number, (connection,) in enumerate(connections.values()):
                    for n in range(10 + number):
                        assert (await connection.post("kitchen", n))[0] == 201
                    wrong = {"X-API-Key": INGEST_KEY}
                    assert (await connection.ask("POST /api/temperature_reading", b"{", wrong))[
                        0
                    ] == 400
            # Another connection each time, so that any worker may be the one that is scraped.
            for _ in range(4):
                http(server.port, "GET /healthz")
            await reader.tells('sensorflow_receipts_total{status="stored"}', 21)
            route = 'route="/api/temperature_reading"'
            for query, value in (
                ('up{job="sensorflow"}', 1),
                (f'sensorflow_requests_total{{{route},status="201"}}', 21),
                (f'sensorflow_requests_total{{{route},status="400"}}', 2),
                (f"sensorflow_request_seconds_count{{{route}}}", 23),
                ('sensorflow_requests_total{route="/healthz",status="200"}', 4),
                ('sensorflow_refusals_total{reason="not_json"}', 2),
                ("sensorflow_batch_readings_sum", 21),
                ("sensorflow_workers", 2),
                ("sensorflow_database_available", 1),
                ("count(sensorflow_build_info)", 1),
            ):
                await reader.tells(query, value)
            (group,) = (await asyncio.to_thread(reader.ask, "rules"))["groups"]
            assert {rule["name"] for rule in group["rules"]} == ALERTS
            while any(rule["health"] == "unknown" for rule in group["rules"]):
                (group,) = (await asyncio.to_thread(reader.ask, "rules"))["groups"]
            assert {rule["health"] for rule in group["rules"]} == {"ok"}
            assert "firing" not in {rule["state"] for rule in group["rules"]}
            told = json.dumps(await asyncio.to_thread(reader.ask, "status/config"))
            for key in (READ_KEY, INGEST_KEY, ADMIN_KEY):
                assert key not in told
