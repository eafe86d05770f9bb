"""Images that stand for those of Prometheus and Grafana.

The first has Debian's Prometheus. The second has a program that reads what is provisioned, tells
which dashboards there are, and asks the data source.
"""

from tests.deploy.containers import Engine
from tests.deploy.images import Images, copy_program
from tests.requirements import require

PROMETHEUS = "localhost/prom/prometheus:v3.14.0"
GRAFANA = "localhost/grafana/grafana:13.2.3"

OF_PROMETHEUS = """
FROM python:3.13-slim
COPY prometheus /bin/prometheus
RUN install --directory --owner=65534 --group=65534 /prometheus
USER 65534
WORKDIR /prometheus
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
"""

OF_GRAFANA = """
FROM sensorflow-server
COPY answer.py /answer.py
HEALTHCHECK NONE
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "/answer.py"]
CMD []
"""

ANSWER = r'''
import asyncio, json, os, re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import asyncpg

(source,) = Path("/etc/grafana/provisioning/datasources").iterdir()
(provider,) = Path("/etc/grafana/provisioning/dashboards").iterdir()
said = re.findall(r"^ +(\w+): (\S+)$", source.read_text(), re.MULTILINE)
given = {name: os.path.expandvars(value) for name, value in said}
(folder,) = re.findall(r"^ +path: (\S+)$", provider.read_text(), re.MULTILINE)
host, port = given["url"].split(":")


async def ask(sql):
    connection = await asyncpg.connect(
        host=host, port=int(port), user=given["user"], password=given["password"],
        database=given["database"], ssl=given["sslmode"], timeout=5, command_timeout=30,
    )
    try:
        return [list(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        """All dashboards."""
        self.tell(200, [json.loads(path.read_text()) for path in Path(folder).iterdir()])

    def do_POST(self):
        """The rows of a statement."""
        try:
            sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.tell(200, asyncio.run(ask(sql)))
        except (OSError, asyncpg.PostgresError) as error:
            self.tell(502, str(error))

    def tell(self, status, what):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(what, default=str).encode())


HTTPServer(("", 3000), Answer).serve_forever()
'''


def make_watchers(engine: Engine, images: Images) -> None:
    """Put both into the engine's storage."""
    assert images.server
    folder = engine.folder / "watchers"
    copy_program(require("prometheus", "prometheus"), folder)
    (folder / "answer.py").write_text(ANSWER)
    for name, text in ((PROMETHEUS, OF_PROMETHEUS), (GRAFANA, OF_GRAFANA)):
        (folder / "Dockerfile").write_text(text)
        engine.build(folder, name)
