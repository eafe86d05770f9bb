"""Readings in the forms that connections take, each form made once however many take it.

A WebSocket server's frames are not masked (RFC 6455 section 5.2), so without compression the bytes
are the same for everybody; and so are server-sent events (WHATWG HTML, section 9.2).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from sensorflow.columns import ids_of, sensor_ids_of
from sensorflow.readings import CommittedBatch, Reading


def text_frame(payload: bytes) -> bytes:
    """One whole, final WebSocket text frame."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def event(payload: bytes, pk: int | None) -> bytes:
    """One server-sent event; its id, if it has one, is the cursor of who has read it."""
    if pk is None:
        return b"data: %b\n\n" % payload
    return b"id: %d\ndata: %b\n\n" % (pk, payload)


class Frames:
    """Some readings of the stream, in its order. What is asked for twice is made once."""

    __slots__ = ("_events", "_websocket", "ids", "payloads", "sensor_ids")

    def __init__(
        self, ids: Sequence[int | None], sensor_ids: Sequence[str], payloads: Sequence[bytes]
    ) -> None:
        """An id is None where a reading has no place in the stream yet."""
        self.ids = ids
        self.sensor_ids = sensor_ids
        self.payloads = payloads
        self._websocket: bytes | None = None
        self._events: bytes | None = None

    @classmethod
    def of(cls, readings: Sequence[Reading], payloads: Sequence[bytes]) -> "Frames":
        """Those of readings and their wire forms."""
        return cls(ids_of(readings), sensor_ids_of(readings), payloads)

    @classmethod
    def committed(cls, batch: CommittedBatch) -> "Frames":
        """Those of a batch."""
        return cls.of(batch.readings, batch.wire_forms)

    @classmethod
    def gap(cls, after: int, oldest: int) -> "Frames":
        """What tells that the readings between the two ids were removed."""
        return cls([oldest - 1], [""], [b'{"gap":{"after":%d,"oldest":%d}}' % (after, oldest)])

    @classmethod
    def heartbeat(cls, cursor: int | None) -> "Frames":
        """An event without data, which nobody sees; it tells the stream's position."""
        beat = cls([], [], [])
        beat._events = b": \n\n" if cursor is None else b": \nid: %d\n\n" % cursor
        return beat

    @property
    def websocket(self) -> bytes:
        """Text frames, one after another."""
        if self._websocket is None:
            self._websocket = b"".join(map(text_frame, self.payloads))
        return self._websocket

    @property
    def events(self) -> bytes:
        """Server-sent events, one after another."""
        if self._events is None:
            self._events = b"".join(map(event, self.payloads, self.ids))
        return self._events

    def only(self, sensors: frozenset[str]) -> "Frames | None":
        """Those of some sensors; None where there are none."""
        wanted = [n for n, sensor_id in enumerate(self.sensor_ids) if sensor_id in sensors]
        if not wanted:
            return None
        return Frames(
            [self.ids[n] for n in wanted],
            [self.sensor_ids[n] for n in wanted],
            [self.payloads[n] for n in wanted],
        )

    def after(self, cursor: int) -> "Frames":
        """Those with a higher id. Only where all have one."""
        start = bisect_right(self.ids, cursor)  # type: ignore[type-var]
        return self if start == 0 else self._slice(start, len(self.ids))

    def pieces(self, size: int) -> Iterator["Frames"]:
        """All of them in turn, some `size` bytes at a time."""
        start = total = 0
        for end, payload in enumerate(self.payloads, 1):
            total += len(payload)
            if total >= size or end == len(self.payloads):
                whole = end - start == len(self.payloads)
                yield self if whole else self._slice(start, end)
                start, total = end, 0

    def last(self) -> "Frames":
        """The last of them."""
        return self._slice(len(self.ids) - 1, len(self.ids))

    def _slice(self, start: int, end: int) -> "Frames":
        part = slice(start, end)
        return Frames(self.ids[part], self.sensor_ids[part], self.payloads[part])
