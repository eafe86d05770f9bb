"""The compose file of Grafana and Prometheus fits what is there, and opens nothing."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose/monitoring.yml"
PROMETHEUS = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
DATA_SOURCE = (ROOT / "deploy/grafana/provisioning/datasources/sensorflow.yml").read_text()
PROVIDER = (ROOT / "deploy/grafana/provisioning/dashboards/sensorflow.yml").read_text()
TEXT = COMPOSE.read_text()


def test_it_is_a_compose_file() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_mounted_is_there_and_cannot_be_written() -> None:
    mounts = re.findall(r"^ +- \./(\S+?):(\S+)$", TEXT, re.MULTILINE)
    assert dict(mounts) == {
        "deploy/prometheus": "/etc/prometheus:ro",
        "deploy/grafana/role.sql": "/role.sql:ro",
        "deploy/grafana/provisioning": "/etc/grafana/provisioning:ro",
        "deploy/grafana/dashboards": "/etc/grafana/dashboards:ro",
    }
    assert all((ROOT / source).exists() for source, _ in mounts)
    assert "path: /etc/grafana/dashboards" in PROVIDER
    (home,) = re.findall(r"HOME_DASHBOARD_PATH: /etc/grafana/dashboards/(\S+)", TEXT)
    assert (ROOT / "deploy/grafana/dashboards" / home).exists()


def test_ports_are_open_to_this_machine_only_unless_one_says_otherwise() -> None:
    ports = re.findall(r'^ +- "(\S+):(\d+)"$', TEXT, re.MULTILINE)
    assert ports == [
        ("${PROMETHEUS_LISTEN:-127.0.0.1:9090}", "9090"),
        ("${GRAFANA_LISTEN:-127.0.0.1:3000}", "3000"),
    ]


def test_images_are_pinned_and_start_with_their_profile_only() -> None:
    images = re.findall(r"^    image: (\S+)\n    profiles: \[(\w+)\]$", TEXT, re.MULTILINE)
    assert len(images) == TEXT.count("image:") == 3
    assert all(re.search(r":(v?\d+\.\d+\.\d+|18)$", image) for image, _ in images)
    assert [profile for _, profile in images] == ["prometheus", "grafana", "grafana"]


def test_the_data_source_gets_all_that_it_asks_for() -> None:
    asked = set(re.findall(r"\$(SENSORFLOW_DB_[A-Z]+)", DATA_SOURCE))
    given = set(re.findall(r"^ +(SENSORFLOW_DB_[A-Z]+):", TEXT, re.MULTILINE))
    assert asked == given
    assert len(asked) == 6


def test_prometheus_reads_the_key_that_compose_gives_it_from_the_server_that_is_there() -> None:
    secrets = re.findall(r"^  (\w+):\n    environment: (\w+)$", TEXT, re.MULTILINE)
    assert secrets == [("sensorflow_read_key", "API_KEY_WS")]
    assert "credentials_file: /run/secrets/sensorflow_read_key" in PROMETHEUS
    assert 'targets: ["api:8000"]' in PROMETHEUS


def test_the_docs_name_each_variable() -> None:
    page = (ROOT / "docs/deployment.md").read_text()
    variables = set(re.findall(r"\$\{([A-Z_]+):-", TEXT))
    assert variables
    assert all(f"`{variable}`" in page for variable in variables)
