"""The composition root: chooses the implementations, wires the rooms, owns what runs."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI

from sensorflow.bus.memory import MemoryBus
from sensorflow.bus.postgres import PostgresBus
from sensorflow.errors import StorageUnavailable
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import Ledger
from sensorflow.ingest.committer import Committer
from sensorflow.ingest.database import Database
from sensorflow.ingest.shelter import Shelter
from sensorflow.ingest.spool import Spool
from sensorflow.ingest.writer import Writer
from sensorflow.keys.keyring import VARIABLES, Keyring, Scope
from sensorflow.keys.limits import ConnectionLimit, FailureLimit
from sensorflow.keys.sessions import Sessions
from sensorflow.keys.store import keep_keys, load_keys
from sensorflow.live.catchup import CatchUp
from sensorflow.live.hub import Hub
from sensorflow.live.pages import Pages
from sensorflow.metrics import Metrics
from sensorflow.metrics.board import Board
from sensorflow.readings import CommittedBatch, WireEncoder
from sensorflow.settings import Settings
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.web.admission import Admission
from sensorflow.web.api import create_api
from sensorflow.web.edge import (
    INFLUX_1_PATH,
    INFLUX_2_PATH,
    INFLUX_PING_PATH,
    INFLUX_QUERY_PATH,
    INGEST_PATH,
    LIVE_PATH,
    READINGS_PATH,
    STREAM_PATH,
    Edge,
    UpgradeRequired,
)
from sensorflow.web.gate import Gate
from sensorflow.web.health import (
    BusHealth,
    CheckHealth,
    DatabaseHealth,
    Health,
    SpoolHealth,
    Status,
)
from sensorflow.web.influx import (
    PingEndpoint,
    QueryEndpoint,
    WriteEndpoint,
    error_of_v1,
    error_of_v2,
)
from sensorflow.web.ingest import IngestEndpoint
from sensorflow.web.live import LiveEndpoint
from sensorflow.web.proxies import Proxies
from sensorflow.web.readings import ReadingsEndpoint
from sensorflow.web.sensors import KnowsSensors
from sensorflow.web.stream import StreamEndpoint

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


@dataclass(frozen=True)
class Backend:
    """What depends on where readings are kept."""

    writer: Writer
    pages: Pages
    check_health: CheckHealth
    sensors: KnowsSensors
    run: Callable[[Background], AbstractAsyncContextManager[None]]
    """Starts from the disk up; stops from the edge down, so that nothing taken is left behind."""


def create_app(
    settings: Settings,
    on_failure: Callable[[], None] = lambda: signal.raise_signal(signal.SIGTERM),
    keyring: Keyring | None = None,
    board: Board | None = None,
) -> Application:
    """Wire everything; nothing runs before the ASGI lifespan starts.

    With SQLite takes the lock on DATA_DIR at once. `on_failure` is called when a background task
    dies. Without a `keyring` the keys are those of the settings and of DATA_DIR. Workers of one
    program have one `board`. Raises `SettingsError` or `DataDirInUse`.
    """
    metrics = Metrics(board)
    encode = WireEncoder(UTC if settings.timezone == "UTC" else settings.zone)
    hub = Hub(metrics)
    on_backend = _on_sqlite if settings.database_url is None else _on_postgres
    backend = on_backend(settings, hub, encode, metrics)
    made_keys: Mapping[Scope, str] = {}
    if keyring is None:
        keyring, made_keys = load_keys(settings.data_dir, given_keys(settings))
    gate = Gate(keyring, FailureLimit(), Sessions(keyring.kept(Scope.READ)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background = Background(on_failure)
        async with backend.run(background):
            background.start("heartbeat", stream.run(), stop=stream.stop)
            try:
                yield
            finally:
                await background.stop()

    api = create_api(gate, metrics, backend.check_health, backend.sensors, lifespan)
    connections = ConnectionLimit(
        settings.max_ws_connections_per_key, settings.data_dir / "connections"
    )
    catch_up = CatchUp(hub, backend.pages, metrics)
    admission = Admission(gate, connections, catch_up)
    max_buffered = settings.subscriber_buffer_kb * 1024
    live = LiveEndpoint(admission, catch_up, max_buffered, metrics)
    stream = StreamEndpoint(admission, catch_up, max_buffered, metrics)
    edge = Edge(
        direct={
            INGEST_PATH: IngestEndpoint(gate, backend.writer, metrics),
            READINGS_PATH: ReadingsEndpoint(gate, backend.writer, metrics),
            INFLUX_1_PATH: WriteEndpoint(
                gate, backend.writer, metrics, error_of_v1, settings.influx_sensor_tag
            ),
            INFLUX_2_PATH: WriteEndpoint(
                gate, backend.writer, metrics, error_of_v2, settings.influx_sensor_tag
            ),
            INFLUX_QUERY_PATH: QueryEndpoint(gate, metrics, error_of_v1),
            INFLUX_PING_PATH: PingEndpoint(gate, metrics, error_of_v1),
            STREAM_PATH: stream,
            LIVE_PATH: UpgradeRequired(metrics),
        },
        live={LIVE_PATH: live},
        fallback=api,
        metrics=metrics,
        proxies=Proxies(settings.trusted_proxies) if settings.trusted_proxies else None,
    )
    return Application(edge, metrics, made_keys, lambda: keep_keys(settings.data_dir, made_keys))


def given_keys(settings: Settings) -> dict[Scope, str]:
    """The keys that are set."""
    return {
        scope: key
        for scope, variable in VARIABLES.items()
        if (key := getattr(settings, variable.lower())) is not None
    }


def _on_sqlite(settings: Settings, hub: Hub, encode: WireEncoder, metrics: Metrics) -> Backend:
    storage = SqliteStorage(settings.data_dir)
    bus = MemoryBus()
    writer = Writer(Committer(storage, bus, encode, metrics), metrics)
    follower = Follower(storage, Ledger(storage, metrics.by_sensor))

    async def check_health() -> Health:
        try:
            await storage.ping()
        except StorageUnavailable:
            return Health(Status.UNAVAILABLE)
        return Health(Status.OK)

    @asynccontextmanager
    async def run(background: Background) -> AsyncIterator[None]:
        try:
            try:
                await storage.start()
                newest = await storage.newest()
            except StorageUnavailable as error:
                log.critical("the database cannot be used", error=str(error))
                raise
            hub.start(CommittedBatch([newest], [encode(newest)]) if newest is not None else None)
            await bus.start(hub.publish)
            background.start("writer", writer.run(), stop=writer.close)
            background.start("follower", follower.run(), stop=follower.stop)
            yield
            await follower.close()
            await bus.stop()
        finally:
            await storage.close()

    return Backend(writer, Pages(storage, encode), check_health, storage, run)


def _on_postgres(settings: Settings, hub: Hub, encode: WireEncoder, metrics: Metrics) -> Backend:
    # Loaded here because whoever uses SQLite need not wait for the driver.
    from sensorflow.storage.postgres.notices import listen
    from sensorflow.storage.postgres.storage import PostgresStorage
    from sensorflow.storage.postgres.upkeep import Upkeep

    assert settings.database_url is not None
    storage = PostgresStorage(settings.database_url)
    bus = PostgresBus(storage.announcer, partial(listen, storage.address), storage.after, encode)
    committer = Committer(storage, bus, encode, metrics)
    spool = Spool(settings.data_dir / "spool", settings.spool_max_mb * 2**20)

    async def connect() -> None:
        await storage.start()
        reached = bus.cursor
        newest = await storage.newest()
        last = newest.id or 0 if newest is not None else 0
        if not bus.attached or last < reached:
            hub.start(CommittedBatch([newest], [encode(newest)]) if newest is not None else None)
        bus.attach(last, reached)

    database = Database(connect, waiting=lambda: spool.readings)
    shelter = Shelter(
        spool,
        database,
        committer,
        encode,
        hub.publish_provisional,
        settings.data_dir / "quarantine.ndjson",
        metrics,
    )
    writer = Writer(committer, metrics, shelter)
    database.on_return(writer.wake)
    storage.on_lost(database.lost)
    upkeep = Upkeep(storage.address, lambda: database.available)
    follower = Follower(storage, Ledger(storage, metrics.by_sensor))
    metrics.database_available.set_function(lambda: database.available)
    metrics.bus_listening.set_function(lambda: bus.listening)

    async def check_health() -> Health:
        if database.available:
            try:
                await storage.ping()
            except StorageUnavailable as error:
                database.lost(error)
        status = (
            Status.OK
            if database.available
            else Status.UNAVAILABLE
            if shelter.refuses
            else Status.SPOOLING
        )
        return Health(
            status,
            DatabaseHealth(database.available, database.since),
            SpoolHealth(
                int(metrics.spooled_readings.total() or 0), int(metrics.spooled_bytes.total() or 0)
            ),
            BusHealth(bus.listening),
        )

    @asynccontextmanager
    async def run(background: Background) -> AsyncIterator[None]:
        try:
            await bus.start(hub.publish)
            await database.attempt()
            background.start("database", database.run(), stop=database.stop)
            background.start("listener", bus.listen(), stop=bus.end)
            background.start("bus", bus.run(), stop=bus.end)
            background.start("spool", shelter.run(writer.wake), stop=shelter.stop)
            background.start("upkeep", upkeep.run(), stop=upkeep.stop)
            background.start("writer", writer.run(), stop=writer.close)
            background.start("follower", follower.run(), stop=follower.stop)
            yield
            await follower.close()
            await bus.stop()
        finally:
            shelter.close()
            await storage.close()

    return Backend(writer, Pages(storage, encode), check_health, storage, run)
