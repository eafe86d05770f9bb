"""What the program counts about itself. One set for each running application."""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from sensorflow import __version__
from sensorflow.disk import Tier
from sensorflow.errors import Reason
from sensorflow.metrics.board import Board
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.metrics.instruments import (
    OTHER,
    Counter,
    Counters,
    Gauge,
    Histogram,
    Instrument,
    Latencies,
    Requests,
    Route,
    Sheet,
)
from sensorflow.metrics.processes import Processes

ROUTES: Final = (
    "/api/temperature_reading",
    "/api/readings",
    "/write",
    "/api/v2/write",
    "/query",
    "/ping",
    "/ws/sensor_updates",
    "/api/stream",
    "/api/sensors",
    "/api/sensors/{sensor_id}",
    "/api/series",
    "/api/storage",
    "/api/session",
    "/healthz",
    "/readyz",
    "/metrics",
    "/",
    "/assets",
    "/docs",
    "/openapi.json",
    "/favicon.svg",
)
"""Those that are counted by name, as they are declared; all else is `other`."""

STATUSES: Final = (
    *(101, 200, 201, 202, 204, 206, 304, 307),
    *(400, 401, 403, 404, 405, 408, 409, 413, 415, 416, 422, 426, 429, 431),
    *(500, 503),
)
"""Those that are counted by number; all else is `other`."""

CLOSES: Final = (
    "too_slow",
    *(
        reason.value
        for reason in (
            Reason.KEY_MISSING,
            Reason.KEY_UNKNOWN,
            Reason.KEY_NOT_ALLOWED,
            Reason.FOREIGN_ORIGIN,
            Reason.TOO_MANY_CONNECTIONS,
            Reason.BAD_CURSOR,
            Reason.CURSOR_AHEAD,
            Reason.BAD_SENSOR_ID,
            Reason.TOO_MANY_SENSORS,
        )
    ),
)
"""Why the server closes a subscriber."""

_REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """The counters, with their label sets fixed here so that they stay bounded.

    With a `board` that other processes have joined too, what is told is the sum over all of them.
    """

    def __init__(self, board: Board | None = None) -> None:
        sheet = Sheet(board or Board())
        self.by_sensor = BySensor()
        """For the ledger of each sensor; told by no metric, for sensors have no bound."""
        receipts = Counters(
            sheet,
            "sensorflow_receipts",
            "Readings answered, by the receipt's status.",
            "status",
            ("stored", "spooled", "duplicate"),
        )
        self.stored = receipts.labels("stored")
        self.spooled = receipts.labels("spooled")
        self.duplicate = receipts.labels("duplicate")
        self._refusals = Counters(
            sheet,
            "sensorflow_refusals",
            "What was not taken, by reason.",
            "reason",
            [reason.value for reason in Reason],
        )
        self.ignored_fields = Counter(
            sheet,
            "sensorflow_ignored_fields",
            "Fields of accepted readings that were no measurement.",
        )
        self._routes = {name: Route(sheet, STATUSES, _REQUEST_SECONDS) for name in (*ROUTES, OTHER)}
        self.batch_size = Histogram(
            sheet,
            "sensorflow_batch_readings",
            "Readings in one commit.",
            (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
        )
        self.commit_seconds = Histogram(
            sheet,
            "sensorflow_commit_seconds",
            "Time to make one batch durable.",
            (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 3),
        )
        self.queued = Gauge(
            sheet, "sensorflow_queued_readings", "Readings that wait for their commit."
        )
        self.spooled_readings = Gauge(
            sheet,
            "sensorflow_spooled_readings",
            "Readings that wait in the spool for the database.",
        )
        self.spooled_bytes = Gauge(
            sheet, "sensorflow_spooled_bytes", "Bytes that the spool takes on disk."
        )
        self.drained = Counter(
            sheet,
            "sensorflow_drained_readings",
            "Spooled readings that the database has taken since.",
        )
        self.quarantined = Counter(
            sheet,
            "sensorflow_quarantined_readings",
            "Spooled readings that the database then refused.",
        )
        self.database_available = Gauge(
            sheet,
            "sensorflow_database_available",
            "Whether PostgreSQL takes readings, of every worker.",
            min,
        )
        self.bus_listening = Gauge(
            sheet,
            "sensorflow_bus_listening",
            "Whether other workers' readings come at once, to every worker.",
            min,
        )
        self.subscribers = Gauge(sheet, "sensorflow_subscribers", "Live subscribers now.")
        self.catching_up = Gauge(
            sheet,
            "sensorflow_catching_up_subscribers",
            "Subscribers that are given what they have missed.",
        )
        self.buffered = Gauge(
            sheet, "sensorflow_buffered_bytes", "Bytes that subscribers have not taken yet."
        )
        self._deliveries = Counter(sheet, "sensorflow_deliveries", "Frames handed to subscribers.")
        self._delivered_bytes = Counter(
            sheet, "sensorflow_delivered_bytes", "Bytes of the readings in those frames."
        )
        self.closed = Counters(
            sheet,
            "sensorflow_closed_subscribers",
            "Subscribers closed by the server.",
            "reason",
            CLOSES,
        )
        self.storage_bytes = Gauge(
            sheet, "sensorflow_storage_bytes", "Bytes that what is stored takes in the database."
        )
        self.disk_budget = Gauge(
            sheet, "sensorflow_disk_budget_bytes", "DISK_BUDGET; 0 where none is set.", max
        )
        self.dropped_rows = Counters(
            sheet,
            "sensorflow_dropped_rows",
            "Readings and rollups dropped by retention or for the budget.",
            "tier",
            [tier.value for tier in Tier],
        )
        self.dropped_bytes = Counters(
            sheet,
            "sensorflow_dropped_bytes",
            "Bytes that they took.",
            "tier",
            [tier.value for tier in Tier],
        )
        workers = Gauge(sheet, "sensorflow_workers", "Processes that serve.")
        workers.set_function(lambda: 1)
        self._gauges = (
            self.queued,
            self.spooled_readings,
            self.spooled_bytes,
            self.database_available,
            self.bus_listening,
            self.subscribers,
            self.catching_up,
            self.buffered,
            self.storage_bytes,
            self.disk_budget,
        )
        self._instruments: tuple[Instrument, ...] = (
            Requests(
                "sensorflow_requests", "Requests answered, by route and status.", self._routes
            ),
            Latencies(
                "sensorflow_request_seconds",
                "Time from a request to the end of its response.",
                self._routes,
            ),
            receipts,
            self._refusals,
            self.ignored_fields,
            self.batch_size,
            self.commit_seconds,
            self.queued,
            self.spooled_readings,
            self.spooled_bytes,
            self.drained,
            self.quarantined,
            self.database_available,
            self.bus_listening,
            self.subscribers,
            self.catching_up,
            self.buffered,
            self._deliveries,
            self._delivered_bytes,
            self.closed,
            self.storage_bytes,
            self.disk_budget,
            self.dropped_rows,
            self.dropped_bytes,
            workers,
        )
        self._processes = Processes(sheet.board.founder, sheet.board.processes)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def delivered(self, subscribers: int, payloads: Sequence[bytes]) -> None:
        """Count frames that so many subscribers were given."""
        self._deliveries.inc(subscribers * len(payloads))
        self._delivered_bytes.inc(subscribers * sum(map(len, payloads)))

    def refused(self, reason: Reason, count: int = 1, *, sensor_id: str | None = None) -> None:
        """Count one refusal, or several alike; one of a reading also for its sensor."""
        self._refusals.labels(reason.value).inc(count)
        if sensor_id is not None:
            self.by_sensor.count(sensor_id, reason.value)

    def route(self, name: str) -> Route:
        """Where the requests of a route are counted."""
        return self._routes.get(name) or self._routes[OTHER]

    def refresh(self) -> None:
        """Let the other processes see the gauges as they are now."""
        for gauge in self._gauges:
            gauge.refresh()

    def collect(self) -> Iterator[Metric]:
        """Everything, for the registry."""
        for instrument in self._instruments:
            yield instrument.collect()
        build = GaugeMetricFamily(
            "sensorflow_build_info", "Which program this is.", labels=["version"]
        )
        build.add_metric([__version__], 1)
        yield build
        yield from self._processes.collect()
