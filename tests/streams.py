"""A stream made up for tests of the live room: its storage, and connections that read when told."""

import asyncio
import json
from collections.abc import Sequence

from sensorflow.errors import StorageUnavailable
from sensorflow.live.catchup import CatchUp
from sensorflow.live.frames import Frames
from sensorflow.live.hub import Hub
from sensorflow.live.pages import Pages
from sensorflow.live.ring import Ring
from sensorflow.live.subscriber import Subscriber
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch, Reading, WireForms
from tests.helpers import server_reading

MAX_BUFFERED = 10_000


def encode(reading: Reading) -> bytes:
    return json.dumps({"id": reading.id, "sensor_id": reading.sensor_id}).encode()


class Stored:
    """Implements `live.pages.ReadsStream` over a list."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.removed = 0
        """The highest id that was removed."""
        self.away = False
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def between(
        self, after: int, until: int, limit: int, sensors: Sequence[str] | None = None
    ) -> list[Reading]:
        await self._read()
        after = max(after, self.removed)
        found = [r for r in self.readings if after < (r.id or 0) <= until]
        return [r for r in found if sensors is None or r.sensor_id in sensors][:limit]

    async def newest(self) -> Reading | None:
        await self._read()
        return self.readings[-1] if self.readings else None

    async def latest(self, sensors: Sequence[str], until: int) -> Reading | None:
        found = await self.between(0, until, 10**9, sensors)
        return found[-1] if found else None

    async def oldest(self) -> int:
        return self.removed + 1

    async def _read(self) -> None:
        self.reads += 1
        await self.gate.wait()
        if self.away:
            raise StorageUnavailable("away")


class Stream:
    """A wired live room, and what was committed so far."""

    def __init__(self, *, ring_bytes: int = 300_000, stall_timeout: float = 30.0) -> None:
        self.metrics = Metrics()
        self.hub = Hub(self.metrics)
        self.stored = Stored()
        self.pages = Pages(self.stored, encode)
        self.catch_up = CatchUp(self.hub, self.pages, self.metrics, stall_timeout)
        self._ring_bytes = ring_bytes
        self.start()

    def start(self) -> None:
        """Have the hub begin at the newest reading that is stored."""
        newest = self.stored.readings[-1:]
        self.hub.start(CommittedBatch(newest, WireForms(newest, encode)) if newest else None)
        self.hub.ring = Ring(self.hub.cursor or 0, self._ring_bytes)

    def store(self, *sensors: str) -> CommittedBatch:
        """Commit one reading of each, and tell nobody."""
        batch = [server_reading(sensor_id) for sensor_id in sensors]
        last = self.stored.readings[-1].id or 0 if self.stored.readings else 0
        for pk, reading in enumerate(batch, last + 1):
            reading.id = pk
        self.stored.readings += batch
        return CommittedBatch(batch, WireForms(batch, encode))

    def commit(self, *sensors: str) -> None:
        """Commit one reading of each, and publish them."""
        self.hub.publish(self.store(*sensors))

    def subscriber(self, pipe: "Pipe", *sensors: str) -> Subscriber:
        return Subscriber(pipe, frozenset(sensors) or None, MAX_BUFFERED)

    def watch(self, *sensors: str, since: int | None = None) -> "Pipe":
        """A new subscriber, which reads at once all that it is given."""
        pipe = Pipe()
        self.catch_up.begin(self.subscriber(pipe, *sensors), since)
        return pipe

    @property
    def all_live(self) -> bool:
        """Whether each subscriber is given a commit at once: none is still catching up.

        Who has been given all there is goes live some turns of the loop later.
        """
        return not self.catch_up._tasks


class Pipe:
    """A connection. While it is `slow` the peer takes only what `read` says."""

    def __init__(self, *, slow: bool = False) -> None:
        self.frames: list[Frames] = []
        self.slow = slow
        self.unread = 0
        self.most_unread = 0
        self.closed: tuple[int, str] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def write(self, frames: Frames) -> None:
        self.frames.append(frames)
        if self.slow:
            self.unread += len(frames.websocket)
            self.most_unread = max(self.most_unread, self.unread)
            if self.unread > MAX_BUFFERED // 2:
                self._room.clear()

    def read(self, number: int) -> None:
        self.unread = max(0, self.unread - number)
        if self.unread < MAX_BUFFERED // 4:
            self._room.set()

    def buffered(self) -> int:
        return self.unread

    async def drained(self) -> None:
        await self._room.wait()

    def end(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    @property
    def ids(self) -> list[int | None]:
        return [pk for frames in self.frames for pk in frames.ids]

    @property
    def payloads(self) -> list[bytes]:
        return [payload for frames in self.frames for payload in frames.payloads]
