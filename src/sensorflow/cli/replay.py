"""`sensorflow replay`: recorded readings, sent once more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from sensorflow.cli.load import complain, deliver, usable_key
from sensorflow.cli.pacing import RecordedPace
from sensorflow.cli.progress import Display
from sensorflow.cli.recording import BadRecording, Recording, UnreadableRow
from sensorflow.cli.remote import Server
from sensorflow.cli.sending import Outgoing
from sensorflow.cli.tally import Tally
from sensorflow.errors import Reason
from sensorflow.readings import KNOWN_MEASUREMENTS

INTERRUPTED: Final = 130
"""What a shell reports after Ctrl-C; the file was not sent to its end."""


def replay(file: Path, *, url: str, api_key: str | None, concurrency: int, speed: float) -> int:
    """Send every row of a file, `speed` times as fast as recorded. Returns the exit code.

    It is 0 where the server has every row, 1 where some were not taken, 2 where none could be
    sent. A replay that was cut short can be run again: rows that the server has are duplicates.
    """
    server, key = Server.at(url), usable_key("API_KEY", api_key)
    tally = Tally()
    display = Display(tally, file.name)
    try:
        recording = Recording(file)
    except BadRecording as bad:
        complain(bad)
        return 2
    if display.live:
        display.expect(recording.count())
    readings = _readings(recording, speed, tally, display)
    delivery = asyncio.run(deliver(readings, server, key, tally, display, concurrency))
    if delivery.stopped:
        return 1 if tally.receipts else 2
    if delivery.interrupted:
        return INTERRUPTED
    return 1 if tally.failed else 0


async def _readings(
    recording: Recording, speed: float, tally: Tally, display: Display
) -> AsyncIterator[Outgoing]:
    """The rows when they are due; those that cannot be sent are told and counted."""
    pace = RecordedPace(speed)
    for row in recording.rows():
        # A file full of faults must not hold up answers and Ctrl-C.
        await asyncio.sleep(0)
        if isinstance(row, UnreadableRow):
            tally.unreadable += 1
            display.tell(f"line {row.line}: {row.fault}")
            continue
        lacking = [name for name in KNOWN_MEASUREMENTS if name not in row.measurements]
        if lacking:
            tally.refuse(
                Reason.MISSING_FIELD.value,
                f"line {row.line}: it has no {' and no '.join(lacking)}, which the server needs.",
            )
            continue
        await asyncio.sleep(pace.wait(row.recorded_at))
        fields = {
            "sensor_id": row.sensor_id,
            "recorded_at": row.recorded_at.isoformat(),
            **row.measurements,
        }
        yield Outgoing(msgspec.json.encode(fields), f"line {row.line}")
