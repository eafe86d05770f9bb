"""What the program counts about itself. One set for each running application."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sensorflow.errors import Reason


class Metrics:
    """The counters, with their label sets fixed here so that they stay bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        receipts = Counter(
            "sensorflow_receipts",
            "Readings answered, by the receipt's status.",
            ["status"],
            registry=self.registry,
        )
        self.stored = receipts.labels("stored")
        self.spooled = receipts.labels("spooled")
        self.duplicate = receipts.labels("duplicate")
        refusals = Counter(
            "sensorflow_refusals",
            "What was not taken, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._refusals = {reason: refusals.labels(reason.value) for reason in Reason}
        self.ignored_fields = Counter(
            "sensorflow_ignored_fields",
            "Fields of accepted readings that were no measurement.",
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "sensorflow_batch_readings",
            "Readings in one commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "sensorflow_commit_seconds",
            "Time to make one batch durable.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 3),
            registry=self.registry,
        )
        self.queued = Gauge(
            "sensorflow_queued_readings",
            "Readings that wait for their commit.",
            registry=self.registry,
        )
        self.spooled_readings = Gauge(
            "sensorflow_spooled_readings",
            "Readings that wait in the spool for the database.",
            registry=self.registry,
        )
        self.spooled_bytes = Gauge(
            "sensorflow_spooled_bytes",
            "Bytes that the spool takes on disk.",
            registry=self.registry,
        )
        self.drained = Counter(
            "sensorflow_drained_readings",
            "Spooled readings that the database has taken since.",
            registry=self.registry,
        )
        self.quarantined = Counter(
            "sensorflow_quarantined_readings",
            "Spooled readings that the database then refused.",
            registry=self.registry,
        )
        self.subscribers = Gauge(
            "sensorflow_subscribers", "Live subscribers now.", registry=self.registry
        )
        self.catching_up = Gauge(
            "sensorflow_catching_up_subscribers",
            "Subscribers that are given what they have missed.",
            registry=self.registry,
        )
        self.buffered = Gauge(
            "sensorflow_buffered_bytes",
            "Bytes that subscribers have not taken yet.",
            registry=self.registry,
        )
        self._deliveries = Counter(
            "sensorflow_deliveries",
            "Frames handed to subscribers.",
            registry=self.registry,
        )
        self._delivered_bytes = Counter(
            "sensorflow_delivered_bytes",
            "Bytes of the readings in those frames.",
            registry=self.registry,
        )
        self.closed = Counter(
            "sensorflow_closed_subscribers",
            "Subscribers closed by the server.",
            ["reason"],
            registry=self.registry,
        )

    def delivered(self, subscribers: int, payloads: Sequence[bytes]) -> None:
        """Count frames that so many subscribers were given."""
        self._deliveries.inc(subscribers * len(payloads))
        self._delivered_bytes.inc(subscribers * sum(map(len, payloads)))

    def refused(self, reason: Reason) -> None:
        """Count one refusal."""
        self._refusals[reason].inc()
