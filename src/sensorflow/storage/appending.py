"""How a batch becomes rows of the embedded database, in the thread that owns the connection."""

import contextlib
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sensorflow.errors import BatchRefused
from sensorflow.readings import Clock, Outcome, Reading, Stored
from sensorflow.storage.duplicates import compare
from sensorflow.storage.rows import (
    INSERT_READINGS,
    INSERT_SENSORS,
    READING_COLUMNS,
    ROWS_PER_STATEMENT,
    SELECT_READINGS,
    as_json,
    from_row,
    insert_rows,
    to_row,
)
from sensorflow.times import microseconds

SENSORS_KEPT: Final = 100_000  # about 20 MB; a sensor beyond it costs a look-up

# What a value can do wrong on its way into SQLite; everything else is SQLite's own trouble.
_FAULTS_OF_THE_BATCH: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)


class _Sensor(msgspec.Struct, gc=False):
    id: int
    latest: int
    """No device's time of this sensor is newer, so anything newer cannot be a duplicate."""


class Appender:
    """Judges and inserts batches; remembers sensors and the last id between them."""

    def __init__(self, sensors_kept: int = SENSORS_KEPT) -> None:
        self._sensors_kept = sensors_kept
        self._sensors: dict[str, _Sensor] = {}
        self.last_id = 0
        """The highest id that was ever given."""

    def recover(self, cursor: sqlite3.Cursor) -> None:
        """Forget what a failed transaction may have left in memory; to be called first of all."""
        self._sensors.clear()
        row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
        self.last_id = row[0] if row else 0

    def forget(self, sensor_id: str) -> None:
        """Know nothing of a sensor that was removed."""
        self._sensors.pop(sensor_id, None)

    def append(self, cursor: sqlite3.Cursor, readings: Sequence[Reading]) -> list[Outcome]:
        """As `storage.base.Storage.append` promises; raises the driver's errors otherwise."""
        readings = list(readings)  # of columns, which make each anew
        try:
            return self._commit(cursor, readings)
        except BaseException as error:
            # A failed COMMIT or a full disk may have ended the transaction already.
            with contextlib.suppress(sqlite3.Error):
                cursor.execute("ROLLBACK")
            for reading in readings:
                reading.id = None
            self.recover(cursor)
            if isinstance(error, _FAULTS_OF_THE_BATCH):
                raise BatchRefused(str(error)) from error
            raise

    def _commit(self, cursor: sqlite3.Cursor, readings: Sequence[Reading]) -> list[Outcome]:
        in_transaction = self._know_sensors(cursor, readings)
        outcomes, rows = self._judge(cursor, readings)
        if len(rows) > ROWS_PER_STATEMENT * READING_COLUMNS and not in_transaction:
            cursor.execute("BEGIN IMMEDIATE")
            in_transaction = True
        # A single INSERT commits by itself: two waits for the interpreter lock less.
        insert_rows(cursor, INSERT_READINGS, rows, READING_COLUMNS)
        if in_transaction:
            cursor.execute("COMMIT")
        self.last_id += len(rows) // READING_COLUMNS
        return outcomes

    def _judge(
        self, cursor: sqlite3.Cursor, readings: Sequence[Reading]
    ) -> tuple[list[Outcome], list[Any]]:
        """The readings' outcomes, and the values of the rows to insert, one row after another."""
        outcomes: list[Outcome] = []
        rows: list[Any] = []
        at_device_time: dict[tuple[int, int], list[Reading]] = {}
        next_id = self.last_id + 1
        for reading in readings:
            sensor = self._sensors[reading.sensor_id]
            recorded_at = microseconds(reading.recorded_at)
            if reading.clock is Clock.DEVICE:
                batched = at_device_time.setdefault((sensor.id, recorded_at), [])
                if recorded_at > sensor.latest:
                    sensor.latest = recorded_at
                else:
                    earlier = self._at_device_time(cursor, sensor.id, recorded_at)
                    verdict = compare(reading, [*earlier, *batched])
                    if verdict is not None:
                        outcomes.append(verdict)
                        continue
                batched.append(reading)
            reading.id = next_id
            next_id += 1
            rows += to_row(reading, sensor.id, recorded_at)
            outcomes.append(Stored(reading))
        return outcomes, rows

    def _know_sensors(self, cursor: sqlite3.Cursor, readings: Sequence[Reading]) -> bool:
        """Have every sensor of the batch in memory.

        Those heard for the first time are created, in a transaction that the caller has to end:
        then the answer is True.
        """
        known = self._sensors
        missing: dict[str, int] = {}
        for reading in readings:
            if reading.sensor_id not in known and reading.sensor_id not in missing:
                missing[reading.sensor_id] = microseconds(reading.received_at)
        if not missing:
            return False
        if len(known) + len(missing) > self._sensors_kept:
            wanted = {reading.sensor_id for reading in readings}
            self._sensors = known = {name: known[name] for name in wanted & known.keys()}
        for name, pk, latest in cursor.execute(
            "SELECT sensor_id, id,"
            " (SELECT max(recorded_at) FROM readings WHERE sensor = sensors.id)"
            " FROM sensors WHERE sensor_id IN (SELECT value FROM json_each(?))",
            (as_json(missing),),
        ):
            known[name] = _Sensor(pk, latest or 0)
            del missing[name]
        if not missing:
            return False
        cursor.execute("BEGIN IMMEDIATE")
        insert_rows(cursor, INSERT_SENSORS, [x for pair in missing.items() for x in pair], 2)
        for name, pk in cursor.execute(
            "SELECT sensor_id, id FROM sensors WHERE sensor_id IN (SELECT value FROM json_each(?))",
            (as_json(missing),),
        ):
            known[name] = _Sensor(pk, 0)
        return True

    def _at_device_time(
        self, cursor: sqlite3.Cursor, sensor: int, recorded_at: int
    ) -> list[Reading]:
        rows = cursor.execute(
            SELECT_READINGS
            + "WHERE r.sensor = ? AND r.recorded_at = ? AND r.clock = ? ORDER BY r.id",
            (sensor, recorded_at, Clock.DEVICE),
        )
        return [from_row(row) for row in rows]
