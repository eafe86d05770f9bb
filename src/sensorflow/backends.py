"""The two ways to keep readings, each wired: storage, bus, writer, and what runs beside them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from sensorflow.background import Background
from sensorflow.bus.memory import MemoryBus
from sensorflow.bus.postgres import PostgresBus
from sensorflow.disk import Tier
from sensorflow.errors import StorageUnavailable
from sensorflow.history.follower import EMBEDDED_PAGE, EMBEDDED_TURN, Follower
from sensorflow.history.keeper import Keeper
from sensorflow.history.ledger import Ledger
from sensorflow.history.raw import History
from sensorflow.history.retention import Policy
from sensorflow.history.series import Summarises
from sensorflow.ingest.committer import Committer
from sensorflow.ingest.database import Database
from sensorflow.ingest.shelter import Shelter
from sensorflow.ingest.spool import Spool
from sensorflow.ingest.writer import Writer
from sensorflow.live.hub import Hub
from sensorflow.live.pages import Pages
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch, WireEncoder
from sensorflow.settings import Settings
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.storage.sqlite_disk import SqliteDisk
from sensorflow.web.changes import ManagesSensors
from sensorflow.web.health import (
    BusHealth,
    CheckHealth,
    DatabaseHealth,
    Health,
    SpoolHealth,
    Status,
)
from sensorflow.web.storage import KnowsDisk

log = structlog.get_logger()


@dataclass(frozen=True)
class Backend:
    """What depends on where readings are kept."""

    writer: Writer
    pages: Pages
    history: History
    check_health: CheckHealth
    sensors: ManagesSensors
    series: Summarises
    disk: KnowsDisk
    run: Callable[[Background], AbstractAsyncContextManager[None]]
    """Starts from the disk up; stops from the edge down, so that nothing taken is left behind."""


def on_sqlite(settings: Settings, hub: Hub, encode: WireEncoder, metrics: Metrics) -> Backend:
    """SQLite in DATA_DIR, one process: takes the lock on DATA_DIR at once."""
    storage = SqliteStorage(settings.data_dir)
    bus = MemoryBus()
    writer = Writer(Committer(storage, bus, encode, metrics), metrics)
    ledger = Ledger(storage, metrics.by_sensor)
    follower = Follower(storage, ledger, EMBEDDED_PAGE, EMBEDDED_TURN)
    disk = SqliteDisk(storage, settings.data_dir)
    keeper = Keeper(disk, policy(settings), metrics)

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
            background.start("keeper", keeper.run(), stop=keeper.stop)
            yield
            await follower.close()
            await bus.stop()
        finally:
            await storage.close()

    return Backend(
        writer,
        Pages(storage, encode),
        History(storage),
        check_health,
        storage,
        storage,
        disk,
        run,
    )


def on_postgres(settings: Settings, hub: Hub, encode: WireEncoder, metrics: Metrics) -> Backend:
    """PostgreSQL, with the spool for when it is away."""
    # Loaded here because whoever uses SQLite need not wait for the driver.
    from sensorflow.storage.postgres.disk import PostgresDisk
    from sensorflow.storage.postgres.notices import listen
    from sensorflow.storage.postgres.storage import PostgresStorage
    from sensorflow.storage.postgres.upkeep import Upkeep

    assert settings.database_url is not None
    storage = PostgresStorage(settings.database_url)
    bus = PostgresBus(
        storage.announcer, partial(listen, storage.address), storage.after, encode, hub
    )
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
    disk = PostgresDisk(storage)
    keeper = Keeper(disk, policy(settings), metrics)
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
            background.start("keeper", keeper.run(), stop=keeper.stop)
            yield
            await follower.close()
            await bus.stop()
        finally:
            shelter.close()
            await disk.close()
            await storage.close()

    return Backend(
        writer,
        Pages(storage, encode),
        History(storage),
        check_health,
        storage,
        storage,
        disk,
        run,
    )


def policy(settings: Settings) -> Policy:
    """What the settings say of keeping and dropping."""
    limits = {
        Tier.RAW: settings.retention_raw,
        Tier.MINUTE: settings.retention_minute,
        Tier.HOUR: settings.retention_hour,
        Tier.DAY: settings.retention_day,
    }
    return Policy(
        {tier: limit for tier, limit in limits.items() if limit is not None}, settings.disk_budget
    )
