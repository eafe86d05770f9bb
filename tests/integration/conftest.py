"""The whole application inside the test's own loop, on our protocols and on uvicorn's own."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import uvicorn
import websockets
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sensorflow.app import Application, create_app
from sensorflow.settings import Settings
from sensorflow.web.http import BoundedHttpProtocol
from sensorflow.web.turns import Turns
from sensorflow.web.websocket import LiveProtocol
from tests.embedded import make_tables
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY

GOOD = {"temperature": 25.5, "humidity": 60.2, "pressure": 1012.5, "sensor_id": "sensor-01"}


@dataclass
class Running:
    """A served application, and clients for it."""

    application: Application
    port: int
    http: httpx2.AsyncClient
    stock: bool
    """Whether it is served by uvicorn's own protocols."""

    async def post(self, content: object = GOOD, **options: Any) -> httpx2.Response:
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
        headers |= options.pop("headers", {})
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return await self.http.post(
            "/api/temperature_reading", content=body, headers=headers, **options
        )

    def watch(self, query: str = f"?api-key={READ_KEY}", **options: Any) -> websockets.connect:
        return websockets.connect(f"ws://127.0.0.1:{self.port}/ws/sensor_updates{query}", **options)

    def refusals(self, reason: str) -> float:
        value = self.application.metrics.registry.get_sample_value(
            "sensorflow_refusals_total", {"reason": reason}
        )
        assert value is not None, reason
        return value


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(params=["own protocols", "stock protocols"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """Serve with settings; once with our ASGI extensions, once without."""
    own = request.param == "own protocols"

    @asynccontextmanager
    async def running(ping: float | None = 20.0, **settings: Any) -> AsyncIterator[Running]:
        keys = {"api_key": INGEST_KEY, "api_key_ws": READ_KEY, "admin_key": ADMIN_KEY}
        if settings.get("database_url") is None:
            make_tables(tmp_path / "data")
        application = create_app(Settings(data_dir=tmp_path / "data", **{**keys, **settings}))
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(
                application.asgi,
                http=cast(
                    "type[asyncio.Protocol]",
                    partial(
                        BoundedHttpProtocol, application.metrics, Turns(), application.asgi.prompt
                    )
                    if own
                    else HttpToolsProtocol,
                ),
                ws=LiveProtocol if own else WebSocketsSansIOProtocol,
                ws_ping_interval=ping,
                ws_ping_timeout=ping,
                ws_max_size=4096,
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
            )
        )
        serving = asyncio.create_task(server._serve([listener]))
        try:
            # There is no TLS here, and to load the system's certificates takes long.
            base = f"http://127.0.0.1:{port}"
            async with httpx2.AsyncClient(base_url=base, verify=False) as client:
                async with asyncio.timeout(30):
                    while (await client.get("/healthz")).status_code != 200:
                        pass
                yield Running(application, port, client, not own)
        finally:
            server.should_exit = True
            await serving

    return running


@pytest.fixture
async def app(serve: Serve) -> AsyncIterator[Running]:
    async with serve() as running:
        yield running
