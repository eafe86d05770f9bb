"""Recorded readings: a CSV file, plain or gzipped, read row by row.

The header names the columns: `recorded_at`, `sensor_id`, and one for each measurement. An empty
cell means that the sensor did not measure this.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sensorflow.errors import Refusal, SensorFlowError
from sensorflow.ingest.formats import RESERVED_NAMES
from sensorflow.readings import check_sensor_id

REQUIRED_COLUMNS: Final = ("recorded_at", "sensor_id")

_GZIP_MAGIC: Final = b"\x1f\x8b"
# What a damaged or vanishing file raises while it is read.
_BROKEN: Final = (OSError, EOFError, zlib.error)
_SHOWN_LENGTH: Final = 40


class BadRecording(SensorFlowError):
    """The file cannot be replayed at all. The message is one line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded reading; `recorded_at` is in UTC, and there is at least one measurement."""

    line: int
    sensor_id: str
    recorded_at: datetime
    measurements: dict[str, float]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that holds no reading, and why."""

    line: int
    fault: str


class Recording:
    """A file with the needed columns. Raises `BadRecording` where it is not one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with _text(path) as text:
                header = next(csv.reader(text), [])
        except (*_BROKEN, csv.Error) as error:
            raise BadRecording(f"{path} cannot be read: {_told(error)}.") from None
        self._columns = [name.strip() for name in header]
        self._check_columns()

    def count(self) -> int:
        """How many rows there are, as far as the file can be read; nothing is kept of them."""
        rows = 0
        with _text(self._path) as text:
            reader = csv.reader(text)
            while True:
                try:
                    rows += bool(next(reader))
                except csv.Error:
                    rows += 1
                except (StopIteration, *_BROKEN):
                    return max(0, rows - 1)

    def rows(self) -> Iterator[Row | UnreadableRow]:
        """All rows in the file's order. Only one of them is in memory."""
        with _text(self._path) as text:
            reader = csv.reader(text)
            next(reader)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield UnreadableRow(line, f"it is not CSV: {_told(error)}")
                    continue
                except _BROKEN as error:
                    yield UnreadableRow(line, f"the file breaks off here: {_told(error)}")
                    return
                if cells:
                    yield self._row(line, cells)

    def _check_columns(self) -> None:
        columns = self._columns
        found = f"its header has {', '.join(_shown(name) for name in columns[:10]) or 'nothing'}"
        for name in REQUIRED_COLUMNS:
            if name not in columns:
                raise BadRecording(f"{self._path} has no column {name}: {found}.")
        if len(set(columns)) < len(columns):
            raise BadRecording(f"{self._path} has two columns of the same name: {found}.")
        if not set(columns) - RESERVED_NAMES - set(REQUIRED_COLUMNS):
            raise BadRecording(f"{self._path} has no column with a measurement: {found}.")
        if not all(name and name.isprintable() for name in columns):
            raise BadRecording(f"{self._path} has a column without a printable name: {found}.")

    def _row(self, line: int, cells: list[str]) -> Row | UnreadableRow:
        if len(cells) != len(self._columns):
            return UnreadableRow(
                line, f"it has {len(cells)} cells, the header has {len(self._columns)}"
            )
        fields = dict(zip(self._columns, map(str.strip, cells), strict=True))
        try:
            if not fields["sensor_id"]:
                raise ValueError("sensor_id is missing")
            sensor_id = check_sensor_id(fields.pop("sensor_id"))
            recorded_at = _time(fields.pop("recorded_at"))
            measurements = {
                name: _number(name, cell)
                for name, cell in fields.items()
                if cell and name not in RESERVED_NAMES
            }
        except (ValueError, Refusal) as fault:
            return UnreadableRow(line, str(fault).removesuffix("."))
        if not measurements:
            return UnreadableRow(line, "it has no measurement")
        return Row(line, sensor_id, recorded_at, measurements)


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOBase]:
    """The file's text. Bytes that are not UTF-8 spoil only the row that they are in."""
    if path.exists() and not path.is_file():
        raise BadRecording(f"{path} is not a file.")
    with path.open("rb") as raw:
        zipped = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        binary = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw
        with io.TextIOWrapper(
            binary, encoding="utf-8-sig", errors="surrogateescape", newline=""
        ) as text:
            yield text


def _time(cell: str) -> datetime:
    if not cell:
        raise ValueError("recorded_at is missing")
    try:
        recorded_at = datetime.fromisoformat(cell)
        if recorded_at.tzinfo is not None:
            return recorded_at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"recorded_at is not a time: {_shown(cell)}") from None
    raise ValueError(f"recorded_at has no UTC offset: {_shown(cell)}")


def _number(name: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    # float() also takes Python's own spelling of numbers.
    if not math.isfinite(number) or "_" in cell:
        raise ValueError(f"{name} is not a finite number: {_shown(cell)}")
    return number


def _shown(cell: str) -> str:
    return ascii(cell[:_SHOWN_LENGTH]) + ("…" if len(cell) > _SHOWN_LENGTH else "")


def _told(error: BaseException) -> str:
    told = error.strerror if isinstance(error, OSError) else None
    return (told or str(error)).rstrip(".")
