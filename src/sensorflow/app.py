"""The composition root: chooses the implementations, wires the rooms, owns what runs."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import structlog
from fastapi import FastAPI

from sensorflow.bus.memory import MemoryBus
from sensorflow.errors import StorageUnavailable
from sensorflow.ingest.committer import Committer
from sensorflow.ingest.writer import Writer
from sensorflow.keys.keyring import VARIABLES, Scope
from sensorflow.keys.limits import ConnectionLimit, FailureLimit
from sensorflow.keys.sessions import Sessions
from sensorflow.keys.store import keep_keys, load_keys
from sensorflow.live.hub import Hub
from sensorflow.metrics import Metrics
from sensorflow.readings import WireEncoder
from sensorflow.settings import Settings
from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_storage
from sensorflow.web.api import create_api
from sensorflow.web.edge import INGEST_PATH, LIVE_PATH, Edge, UpgradeRequired
from sensorflow.web.gate import Gate
from sensorflow.web.ingest import IngestEndpoint
from sensorflow.web.live import LiveEndpoint

log = structlog.get_logger()


class Background:
    """Named tasks that are meant to run until they are told to end.

    One that ends by itself is a fault nobody could repair while running: it is logged, and
    `on_failure` is called so that the process stops and is started anew.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[None], Callable[[], None]] = {}
        self._stopping = False

    def start(self, name: str, run: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
        """Run a task; `stop` asks it to finish."""
        task = asyncio.create_task(run, name=name)
        self._tasks[task] = stop
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ask every task to finish and wait until it has."""
        self._stopping = True
        for stop in self._tasks.values():
            stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        log.critical("background task ended", task=task.get_name(), exc_info=error)
        self._on_failure()


@dataclass(frozen=True)
class Application:
    """What `serve` needs of a wired application."""

    asgi: Edge
    metrics: Metrics
    made_keys: Mapping[Scope, str]
    """Keys made just now: to be shown once, to nobody but the operator."""
    keep_made_keys: Callable[[], None]
    """Makes them last beyond this start; to be called when they have been shown."""


def create_app(
    settings: Settings,
    on_failure: Callable[[], None] = lambda: signal.raise_signal(signal.SIGTERM),
) -> Application:
    """Wire everything; nothing runs before the ASGI lifespan starts.

    Takes the lock on DATA_DIR at once. `on_failure` is called when a background task dies.
    Raises `SettingsError` or `DataDirInUse`.
    """
    storage = open_storage(settings.data_dir, settings.database_url)
    given = {
        scope: key
        for scope, variable in VARIABLES.items()
        if (key := getattr(settings, variable.lower())) is not None
    }
    keyring, made_keys = load_keys(settings.data_dir, given)
    metrics = Metrics()
    encode = WireEncoder(UTC if settings.timezone == "UTC" else settings.zone)
    bus = MemoryBus()
    hub = Hub(metrics)
    writer = Writer(Committer(storage, bus, encode, metrics), metrics)
    gate = Gate(keyring, FailureLimit(), Sessions(keyring.kept(Scope.READ)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _running(storage, bus, hub, writer, encode, on_failure):
            yield

    api = create_api(gate, metrics, storage.ping, lifespan)
    connections = ConnectionLimit(
        settings.max_ws_connections_per_key, settings.data_dir / "connections"
    )
    live = LiveEndpoint(gate, hub, connections, metrics)
    edge = Edge(
        direct={
            INGEST_PATH: IngestEndpoint(gate, writer, metrics),
            LIVE_PATH: UpgradeRequired(metrics),
        },
        live={LIVE_PATH: live},
        fallback=api,
        metrics=metrics,
    )
    return Application(edge, metrics, made_keys, lambda: keep_keys(settings.data_dir, made_keys))


@asynccontextmanager
async def _running(
    storage: Storage,
    bus: MemoryBus,
    hub: Hub,
    writer: Writer,
    encode: WireEncoder,
    on_failure: Callable[[], None],
) -> AsyncIterator[None]:
    """Start from the disk up; stop from the edge down, so that nothing taken is left behind."""
    try:
        try:
            await storage.start()
            newest = await storage.newest()
        except StorageUnavailable as error:
            log.critical("the database cannot be used", error=str(error))
            raise
        hub.start_from(encode(newest) if newest else None)
        await bus.start(hub.publish)
        background = Background(on_failure)
        background.start("writer", writer.run(), stop=writer.close)
        try:
            yield
        finally:
            await background.stop()
            await bus.stop()
    finally:
        await storage.close()
