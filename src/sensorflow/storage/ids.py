"""Where ids go on after a restore, when nobody knows which ones were given after the backup."""

import sqlite3
from typing import Final

STRIDE: Final = 10**12
"""Ids go on at the next multiple of it, so an id tells how often a backup was restored."""

MARGIN: Final = 10**11
"""As many ids at least are left out: 10,000 readings a second for 115 days."""


def first_after_restore(highest: int) -> int:
    """An id that was surely never given, where `highest` is the highest that is known."""
    return -(-(highest + MARGIN) // STRIDE) * STRIDE + 1


def skip_sqlite_ids(cursor: sqlite3.Cursor) -> int:
    """What `storage.base.Storage.skip_ids` promises, in an embedded database."""
    row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
    first = first_after_restore(row[0] if row else 0)
    if row is None:
        cursor.execute("INSERT INTO sqlite_sequence VALUES ('readings', ?)", (first - 1,))
    else:
        cursor.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'readings'", (first - 1,))
    return first
