"""From the body of a request with many readings to the objects in it, within bounds.

Everything that takes long does so in slices, between which others have their turn.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from sensorflow.errors import Reason, Refusal

MAX_UNPACKED: Final = 10_485_760
"""Bytes of a body, also once it is unpacked."""

MAX_READINGS: Final = 10_000
"""Readings of one request."""

MAX_PARTS: Final = 1_000_000
"""Commas and line ends of a body. 10,000 readings with all their measurements have fewer; and each
may part two things that take fifty times the memory of what they are written with."""

SLICE: Final = 200
"""Readings that are decoded and checked one by one in a turn: about a millisecond."""

_IN_A_THREAD: Final = 65_536
"""Bytes from which on unpacking is worth a thread; it lets go of the interpreter meanwhile."""

_PIECE: Final = 4_096
"""Bytes unpacked at once: what follows the end of a gzip file is copied, for each of thousands."""

_GZIP: Final = 31  # zlib's name for a gzip header
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode

T = TypeVar("T")
S = TypeVar("S")


async def unpacked(body: bytes) -> bytes:
    """What a gzip body holds. Raises a `Refusal` for more than `MAX_UNPACKED`, and for no gzip."""
    if len(body) < _IN_A_THREAD:
        return _unpacked(body)
    return await asyncio.to_thread(_unpacked, body)


def _unpacked(body: bytes) -> bytes:
    packed = memoryview(body)
    position = 0
    parts = []
    left = MAX_UNPACKED
    unpacking = None
    try:
        while position < len(packed):
            if unpacking is None:  # gzip files may follow each other
                unpacking = zlib.decompressobj(_GZIP)
            part = unpacking.decompress(packed[position : position + _PIECE], left + 1)
            left -= len(part)
            if left < 0:
                raise too_large()
            parts.append(part)
            position += _PIECE
            if unpacking.eof:
                position = min(position, len(packed)) - len(unpacking.unused_data)
                unpacking = None
    except zlib.error:
        raise Refusal(Reason.NOT_JSON, "The body is not gzip, as its header says.") from None
    if unpacking is not None:
        raise Refusal(Reason.NOT_JSON, "The body is gzip that ends too early.")
    return b"".join(parts)


def too_large() -> Refusal:
    """The answer for a body beyond the bound."""
    return Refusal(
        Reason.BODY_TOO_LARGE,
        f"The body holds more than {MAX_UNPACKED // 2**20} MiB; send fewer readings at once.",
    )


async def in_slices(work: Callable[[Sequence[T]], Iterable[S]], items: Sequence[T]) -> list[S]:
    """The results of the work on one `SLICE` after another; after each, others have their turn."""
    done: list[S] = []
    for start in range(0, len(items), SLICE):
        done += work(items[start : start + SLICE])
        await asyncio.sleep(0)
    return done


def json_parts(body: bytes) -> Sequence[bytes | msgspec.Raw] | None:
    """The elements of an array, not decoded yet; None where the body is no array.

    Raises a `Refusal` for an array that is not JSON as a whole, and for too many elements.
    """
    _check_parts(body)
    if body.lstrip()[:1] != b"[":
        return None
    try:
        raw = _split(body)
    except RecursionError:
        raise Refusal(Reason.NOT_JSON, "The body is nested too deeply.") from None
    except ValueError as error:
        raise Refusal(Reason.NOT_JSON, f"The body is not JSON: {error}.") from None
    _check_count(len(raw))
    return raw


def ndjson_parts(body: bytes) -> Sequence[bytes]:
    """The lines that are not empty. Raises a `Refusal` for too many of them."""
    _check_parts(body)
    lines = [line for line in body.split(b"\n") if line.strip()]
    _check_count(len(lines))
    return lines


def _check_parts(body: bytes) -> None:
    if body.count(b",") + body.count(b"\n") > MAX_PARTS:
        raise Refusal(
            Reason.BODY_TOO_LARGE,
            f"The body has more than {MAX_PARTS:,} commas and line ends; "
            "send fewer readings at once.",
        )


def _check_count(count: int) -> None:
    if count > MAX_READINGS:
        raise Refusal(
            Reason.BODY_TOO_LARGE,
            f"The body holds {count:,} readings; send up to {MAX_READINGS:,} at once.",
        )
