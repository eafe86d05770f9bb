"""The composition root: chooses the implementations, wires the rooms, owns what runs."""

import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import partial

from fastapi import FastAPI

from sensorflow.backends import on_postgres, on_sqlite, policy
from sensorflow.background import Background
from sensorflow.history.series import SeriesReader
from sensorflow.keys.keyring import VARIABLES, Keyring, Scope
from sensorflow.keys.limits import ConnectionLimit, FailureLimit
from sensorflow.keys.sessions import Sessions
from sensorflow.keys.store import keep_keys, load_keys
from sensorflow.live.catchup import CatchUp
from sensorflow.live.hub import Hub
from sensorflow.metrics import Metrics
from sensorflow.metrics.board import Board
from sensorflow.readings import WireEncoder
from sensorflow.settings import Settings
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
    ByMethod,
    Edge,
    UpgradeRequired,
)
from sensorflow.web.gate import Gate
from sensorflow.web.history import HistoryEndpoint
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
from sensorflow.web.storage import tell_storage
from sensorflow.web.stream import StreamEndpoint


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
    on_backend = on_sqlite if settings.database_url is None else on_postgres
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

    tell = partial(tell_storage, backend.disk, policy(settings))
    series = SeriesReader(backend.series, settings.zone, settings.timezone)
    api = create_api(gate, metrics, backend.check_health, backend.sensors, series, tell, lifespan)
    connections = ConnectionLimit(
        settings.max_ws_connections_per_key, settings.data_dir / "connections"
    )
    catch_up = CatchUp(hub, backend.pages, metrics)
    admission = Admission(gate, connections, catch_up)
    max_buffered = settings.subscriber_buffer_kb * 1024
    live = LiveEndpoint(admission, catch_up, max_buffered, metrics)
    stream = StreamEndpoint(admission, catch_up, max_buffered, metrics)
    ingest = IngestEndpoint(gate, backend.writer, metrics)
    edge = Edge(
        prompt={INGEST_PATH: ingest},
        direct={
            INGEST_PATH: ingest,
            READINGS_PATH: ByMethod(
                {
                    "GET": HistoryEndpoint(gate, backend.history, encode, metrics),
                    "POST": ReadingsEndpoint(gate, backend.writer, metrics),
                },
                metrics,
            ),
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
