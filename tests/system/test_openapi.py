"""Schemathesis over every route of the OpenAPI document, on the real program.

It makes requests of the document, right and wrong ones, and holds the answers to it: statuses,
headers, schemas, keys that must not be ignored, methods; and no answer may be a 5xx. A new route is
called as soon as the document has it; tests/data/schemathesis.toml says with which key.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY, serving
from tests.system.conftest import Kept

HERE = Path(__file__).parent
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
SEED = "20260131"


def run(folder: Path, database_url: str, *options: str) -> str:
    """Return the report; fail with it where there are failures."""
    with serving(folder, TRUSTED_PROXIES="127.0.0.1", DATABASE_URL=database_url) as server:
        body = json.dumps({"sensor_id": "sensor-01", "temperature": 20}).encode()
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.base}/api/readings", body, headers)
        urllib.request.urlopen(request, timeout=10).close()
        config = HERE.parent / "data" / "schemathesis.toml"
        command = [str(SCHEMATHESIS), "--no-color", "--config-file", str(config)]
        command += ["run", f"{server.base}/openapi.json", "--seed", SEED, *options]
        done = subprocess.run(
            command,
            cwd=folder,
            env={
                "HOOKS": str(HERE / "openapi_hooks.py"),
                "INGEST_KEY": INGEST_KEY,
                "READ_KEY": READ_KEY,
                "ADMIN_KEY": ADMIN_KEY,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "error" not in server.log.read_text()
    return done.stdout


def test_every_route_answers_as_the_document_says(tmp_path: Path) -> None:
    run(tmp_path, "", "--max-examples", "3")


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("kept", ["sqlite", "postgresql-15"], indirect=True)
def test_every_route_answers_as_the_document_says_to_many_requests(
    tmp_path: Path, kept: Kept
) -> None:
    report = run(tmp_path, kept.url, "--max-examples", "300" if not kept.url else "100")
    print(*report.splitlines()[-30:], sep="\n")
