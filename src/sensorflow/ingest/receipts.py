"""Receipts: what a device is told of its reading."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from sensorflow.errors import Reason, Refusal
from sensorflow.readings import Reading

RETRY_AFTER_STORAGE: Final = 5
"""Seconds after which a reading that could not be stored may be sent again."""


class Status(StrEnum):
    """What a receipt says became of the reading."""

    STORED = "stored"
    SPOOLED = "spooled"
    DUPLICATE = "duplicate"


class Receipt(msgspec.Struct, gc=False, frozen=True):
    """The answer for one reading that is safe: the one at a place among `wire_forms`."""

    status: Status
    wire_forms: Sequence[bytes]
    place: int

    @property
    def wire_form(self) -> bytes:
        """The reading as JSON, without the status."""
        return self.wire_forms[self.place]

    def with_status(self) -> bytes:
        """The wire form as receipts and provisional frames have it."""
        return self.wire_form[:-1] + _SUFFIX[self.status]


_SUFFIX: Final = {status: f',"status":"{status.value}"}}'.encode() for status in Status}

Answer = Receipt | Refusal


def conflict(stored: Reading, measurement: str) -> Refusal:
    """The answer for a reading that contradicts `stored`."""
    return Refusal(
        Reason.CONFLICT,
        f"{measurement} of this sensor at this recorded_at is already "
        f"{stored.measurements[measurement]!r} (reading {stored.id}); the first value stays.",
        field=measurement,
    )


def not_stored(why: object) -> Refusal:
    """The answer for a reading that is safe nowhere."""
    return Refusal(
        Reason.STORAGE_UNAVAILABLE,
        f"The reading could not be stored ({why}); send it again in a moment.",
        retry_after=RETRY_AFTER_STORAGE,
    )
