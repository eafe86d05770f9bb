"""Hands every committed batch to this process's subscribers."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from sensorflow.columns import values_of
from sensorflow.live.frames import Frames
from sensorflow.live.ring import Ring
from sensorflow.live.subscriber import Subscriber
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch, Reading

RETURN_TIMEOUT: Final = 30.0
"""Seconds in which those who have left, or whom a program before this one had served, come back."""


class Hub:
    """Delivers in order of id, and to all or none of a batch, without ever waiting for anyone.

    Subscribers with the same filter form a group, so that a filter is applied once a batch, and
    one that wants nothing of it costs nothing.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.subscribers: set[Subscriber] = set()
        """All that have come and not gone, whether they get each batch or have yet to catch up."""
        self._deserted_at = monotonic()
        """When the last of them went; at first, when the last may have lost the program before."""
        self._everything: set[Subscriber] = set()
        self._filtered: dict[frozenset[str], set[Subscriber]] = {}
        self._by_sensor: dict[str, set[frozenset[str]]] = {}
        self.cursor: int | None = None
        """The highest id that was handed out or skipped; None until that is known."""
        self._newest: Frames | None = None
        self.skipped = False
        """Whether the newest reading was skipped, so that the storage alone has it."""
        self.ring = Ring(0)
        """Everything that was handed out of late, for those who come back; nothing for nobody."""
        self._waiting: list[asyncio.Future[None]] = []
        self._on_behind: Callable[[Subscriber], None] = lambda _: None

    def on_behind(self, call: Callable[[Subscriber], None]) -> None:
        """Have `call` take each subscriber that cannot take a batch; its cursor is set."""
        self._on_behind = call

    def start(self, newest: CommittedBatch | None) -> None:
        """Tell where the stream stands: at its newest reading on disk, or at its beginning.

        Called again where the stream was set back, as by a restored backup.
        """
        self._newest = Frames.committed(newest) if newest is not None else None
        self.skipped = False
        self.cursor = self._newest.ids[-1] if self._newest is not None else 0
        self.ring = Ring(self.cursor or 0)
        self._wake()

    @property
    def newest(self) -> Frames | None:
        """What greets a subscriber."""
        return self._newest.last() if self._newest is not None else None

    def found(self, newest: Frames) -> None:
        """Take it that this is the newest reading up to `cursor`, which was skipped."""
        self._newest = newest
        self.skipped = False

    @property
    def watched(self) -> bool:
        """Whether there is a subscriber, or one may be about to come back."""
        return bool(self.subscribers) or monotonic() < self._deserted_at + RETURN_TIMEOUT

    def come(self, subscriber: Subscriber) -> None:
        """From now on skip nothing: it will join, when it has had everything before that."""
        self.subscribers.add(subscriber)

    def go(self, subscriber: Subscriber) -> None:
        """Hand it nothing more, and do not wait for it. Idempotent."""
        self.leave(subscriber)
        self.subscribers.discard(subscriber)
        if not self.subscribers:
            self._deserted_at = monotonic()

    def skip(self, last: int) -> None:
        """Go on behind this id without what comes before it. Only while not `watched`."""
        self._newest = None
        self.skipped = True
        self.cursor = last
        self.ring = Ring(last)

    def join(self, subscriber: Subscriber) -> None:
        """From now on hand it every batch; it has had everything up to `cursor`."""
        sensors = subscriber.sensors
        if sensors is None:
            self._everything.add(subscriber)
            return
        self._filtered.setdefault(sensors, set()).add(subscriber)
        for sensor_id in sensors:
            self._by_sensor.setdefault(sensor_id, set()).add(sensors)

    def leave(self, subscriber: Subscriber) -> None:
        """Hand it nothing more until it joins again. Idempotent."""
        sensors = subscriber.sensors
        if sensors is None:
            self._everything.discard(subscriber)
            return
        group = self._filtered.get(sensors, set())
        group.discard(subscriber)
        if not group and self._filtered.pop(sensors, None) is not None:
            for sensor_id in sensors:
                self._by_sensor[sensor_id].discard(sensors)
                if not self._by_sensor[sensor_id]:
                    del self._by_sensor[sensor_id]

    def publish(self, batch: CommittedBatch) -> None:
        """Hand the batch out; whoever has no room for it falls behind."""
        frames = Frames.committed(batch)
        behind = self._offer(frames)
        for subscriber in behind:
            subscriber.cursor = self.cursor or 0
            self.leave(subscriber)
        last = batch.readings[-1].id
        assert last is not None
        if self.watched:
            self.ring.append(frames, last, values_of(batch.readings))
        else:
            self.ring = Ring(last)
        self._newest = frames
        self.skipped = False
        self.cursor = last
        for subscriber in behind:
            self._on_behind(subscriber)
        if self._waiting:
            self._wake()

    def publish_provisional(self, readings: Sequence[Reading], payloads: Sequence[bytes]) -> None:
        """Hand out readings that have no place in the stream yet.

        Nobody is greeted with them, and who has no room for them gets them with their ids.
        """
        self._offer(Frames.of(readings, payloads))

    async def moved(self) -> None:
        """Return after the next batch."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting = []

    def _offer(self, frames: Frames) -> list[Subscriber]:
        """Give it to whom it concerns; return those who had no room."""
        behind = self._offer_to(self._everything, frames) if self._everything else []
        if self._by_sensor:
            concerned: set[frozenset[str]] = set()
            for sensor_id in set(frames.sensor_ids):
                concerned |= self._by_sensor.get(sensor_id, set())
            for sensors in concerned:
                wanted = frames.only(sensors)
                if wanted is not None:
                    behind += self._offer_to(self._filtered[sensors], wanted)
        return behind

    def _offer_to(self, group: set[Subscriber], frames: Frames) -> list[Subscriber]:
        behind = [subscriber for subscriber in group if not subscriber.offer(frames)]
        delivered = len(group) - len(behind)
        if delivered:
            self._metrics.delivered(delivered, frames.payloads)
        return behind
