"""Hands every committed batch to this process's subscribers."""

from collections.abc import Sequence

from sensorflow.live.frames import text_frame
from sensorflow.live.subscriber import CLOSE_TOO_SLOW, Subscriber
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch


class Hub:
    """Delivers in order of id, and to all or none of a batch, without ever waiting for anyone."""

    def __init__(self, metrics: Metrics) -> None:
        self._subscribers: set[Subscriber] = set()
        self._newest: bytes | None = None
        self._cursor: int | None = None
        self._metrics = metrics
        metrics.subscribers.set_function(lambda: len(self._subscribers))

    def start_from(self, newest: CommittedBatch) -> None:
        """Set what greets a subscriber before the first batch: the newest reading on disk."""
        self._newest = newest.encoded[-1]
        self._cursor = newest.readings[-1].id

    def subscribe(self, subscriber: Subscriber) -> None:
        """Greet with the newest reading; from then on every batch, without a gap between."""
        if self._newest is not None:
            subscriber.offer(text_frame(self._newest), (self._newest,))
        self._subscribers.add(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Deliver nothing more. Idempotent."""
        self._subscribers.discard(subscriber)

    def publish(self, batch: CommittedBatch) -> None:
        """Hand the batch to every subscriber; whoever's buffer is full is closed with 1013."""
        self._offer(batch.encoded)
        self._newest = batch.encoded[-1]
        self._cursor = batch.readings[-1].id

    def publish_provisional(self, messages: Sequence[bytes]) -> None:
        """Hand out readings that have no place in the stream yet; nobody is greeted with them."""
        self._offer(messages)

    def _offer(self, messages: Sequence[bytes]) -> None:
        joined = b"".join(map(text_frame, messages))
        slow = [s for s in self._subscribers if not s.offer(joined, messages)]
        delivered = len(self._subscribers) - len(slow)
        if delivered:
            self._metrics.deliveries.inc(delivered * len(messages))
        for subscriber in slow:
            self._subscribers.discard(subscriber)
            self._metrics.closed.labels("too_slow").inc()
            subscriber.close(CLOSE_TOO_SLOW, f"too slow; last id {self._cursor}")
