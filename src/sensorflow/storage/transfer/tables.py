"""What is moved: the declared tables and columns that both databases have."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Column, DateTime, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from sensorflow.storage.tables import metadata, readings
from sensorflow.times import moment

Row: TypeAlias = tuple[Any, ...]
"""A row in the values that PostgreSQL's driver takes and gives."""

_encode: Final = msgspec.msgpack.Encoder().encode


def tables() -> list[Table]:
    """All of them, the readings first, since they are the many."""
    common = [t for t in metadata.sorted_tables if _common(t) and t.info.get("moves", True)]
    return sorted(common, key=lambda table: table is not readings)


def columns(table: Table) -> list[Column[Any]]:
    """Those that both databases have, in the order of a `Row`."""
    return [column for column in table.columns if _common(column)]


def numbered(table: Table) -> str | None:
    """The column for which the database itself gives numbers, if there is one."""
    column = table.autoincrement_column
    return column.name if column is not None and column.autoincrement is True else None


def quoted(names: Iterable[str]) -> str:
    """Names, ready for SQL."""
    return ", ".join(f'"{name}"' for name in names)


def select(table: Table, tail: str = "") -> str:
    """All rows in an order that both databases agree on."""
    chosen = quoted(column.name for column in columns(table))
    return f'SELECT {chosen} FROM "{table.name}" {tail} ORDER BY {{order}}'  # noqa: S608


def texts(table: Table) -> set[str]:
    """The columns of its key that are text, which each database may sort in its own way."""
    return {column.name for column in table.primary_key if isinstance(column.type, String)}


def reader(table: Table) -> Callable[[Sequence[Any]], Row]:
    """From SQLite's values to a `Row`."""
    times = [
        place for place, column in enumerate(columns(table)) if isinstance(column.type, DateTime)
    ]
    return partial(_with_times, times)


class Digest:
    """A checksum over rows in their order: equal where every value is."""

    def __init__(self, table: Table) -> None:
        self.rows = 0
        self._sum = blake2b(digest_size=8)
        self._documents = [
            place for place, column in enumerate(columns(table)) if isinstance(column.type, JSONB)
        ]

    def add(self, rows: Iterable[Row]) -> None:
        """The next rows."""
        for row in rows:
            self.rows += 1
            self._sum.update(_encode(self._plain(row)))

    def __str__(self) -> str:
        return self._sum.hexdigest()

    def _plain(self, row: Row) -> Sequence[Any]:
        """Documents as PostgreSQL keeps them: without order, numbers by their value."""
        if all(row[place] is None for place in self._documents):
            return row
        plain = list(row)
        for place in self._documents:
            if row[place] is not None:
                found = json.loads(row[place], parse_int=_number, parse_float=_number)
                plain[place] = json.dumps(found, sort_keys=True)
        return plain


def _number(text: str) -> float:
    return float(text) + 0.0  # there is no -0 among PostgreSQL's


def _common(item: Table | Column[Any]) -> bool:
    return "only" not in item.info


def _with_times(places: Sequence[int], row: Sequence[Any]) -> Row:
    values = list(row)
    for place in places:
        if values[place] is not None:
            values[place] = moment(values[place])
    return tuple(values)
