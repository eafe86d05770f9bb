"""The forms in which stored readings are given away, a few readings at a time."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from sensorflow.history.raw import Gap
from sensorflow.readings import KNOWN_MEASUREMENTS, Reading

MAX_COLUMNS: Final = 200
"""Columns of a CSV for measurements that are not known by name; the rest share one cell."""

Encode = Callable[[Reading], bytes]

OTHERS: Final = "other measurements"
"""The column for what has none of its own; no measurement can be called so."""

# Excel takes the bytes for UTF-8 only with this before them.
_BOM: Final = "\ufeff"
_LINE_END: Final = "\r\n"

# What a spreadsheet takes for a formula, also in full width; and behind a `;`, for where numbers
# have decimal commas spreadsheets cut lines there. The apostrophe itself, so that it can be undone.
_FORMULA: Final = re.compile(r"(^|;)(?=\s*[=+\-@'\uff1d\uff0b\uff0d\uff20])")
_QUOTED: Final = re.compile(r'[",;\s]')


class Form(Protocol):
    """How a stream of readings is written."""

    media_type: bytes
    suffix: str

    def head(self) -> bytes:
        """What comes before all readings."""

    def rows(self, readings: Iterable[Reading]) -> bytes:
        """Some readings."""

    def gap(self, gap: Gap) -> bytes | None:
        """What tells that readings were removed; None where nothing in this form can."""


class Lines:
    """Implements `Form`: NDJSON, each line the receipt of a reading without `status`."""

    media_type = b"application/x-ndjson"
    suffix = "ndjson"

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def head(self) -> bytes:
        return b""

    def rows(self, readings: Iterable[Reading]) -> bytes:
        return b"".join([self._encode(reading) + b"\n" for reading in readings])

    def gap(self, gap: Gap) -> bytes | None:
        return b'{"gap":{"after":%d,"oldest":%d}}\n' % gap


class Table:
    """Implements `Form`: CSV (RFC 4180) for spreadsheets, times in UTC, in their order."""

    media_type = b"text/csv; charset=utf-8; header=present"
    suffix = "csv"

    def __init__(self, measurements: Sequence[str], *, others: bool) -> None:
        """The columns of the measurements; with `others` what has none is kept all the same."""
        self._names = measurements
        self._others = others

    def head(self) -> bytes:
        columns = ["id", "sensor_id", "recorded_at", "received_at", *self._names, "client_ip"]
        if self._others:
            columns.append(OTHERS)
        return (_BOM + ",".join(columns) + _LINE_END).encode()

    def rows(self, readings: Iterable[Reading]) -> bytes:
        names = self._names
        lines = []
        for reading in readings:
            measured = reading.measurements
            cells = [
                str(reading.id),
                _cell(reading.sensor_id),
                # Without T and offset, so that spreadsheets see a time.
                reading.recorded_at.isoformat(" ")[:-6].removesuffix("000"),
                reading.received_at.isoformat(" ")[:-6].removesuffix("000"),
                *[repr(measured[name]) if name in measured else "" for name in names],
                _cell(reading.client_ip or ""),
            ]
            if self._others:
                cells.append(self._rest(measured))
            lines.append(",".join(cells))
        lines.append("")
        return _LINE_END.join(lines).encode()

    def gap(self, gap: Gap) -> bytes | None:
        return None

    def _rest(self, measured: dict[str, float]) -> str:
        rest = {name: value for name, value in measured.items() if name not in self._names}
        return _quoted(msgspec.json.encode(rest).decode()) if rest else ""


def columns_of(names: Iterable[str], first: Iterable[Reading]) -> list[str]:
    """The measurements that have columns: those known by name, then `names` and those of `first`.

    The same for as long as nothing new is measured.
    """
    found = set(names).union(*(reading.measurements for reading in first))
    return [*KNOWN_MEASUREMENTS, *sorted(found.difference(KNOWN_MEASUREMENTS))[:MAX_COLUMNS]]


@lru_cache(maxsize=4_096)
def _cell(text: str) -> str:
    safe = _FORMULA.sub(r"\1'", text)
    return _quoted(safe) if _QUOTED.search(safe) else safe


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
