"""`sensorflow export`: the stored readings of a running server, into a file or a pipe."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from sensorflow.cli.commands import ExportFormat
from sensorflow.cli.fetching import SILENCE, ExportStopped, Fetcher, Order
from sensorflow.cli.following import open_stream_client
from sensorflow.cli.load import complain, usable_key
from sensorflow.cli.progress import REFRESH_INTERVAL, RecentRate
from sensorflow.cli.remote import Server
from sensorflow.errors import Refusal, SettingsError
from sensorflow.history.ranges import parse_range
from sensorflow.web.edge import READINGS_PATH

PART: Final = ".part"
"""Ends the name of a file that is not whole yet."""


def export(
    file: Path | None,
    *,
    url: str,
    api_key: str | None,
    parameters: Sequence[tuple[str, str]],
    chosen: ExportFormat | None,
) -> int:
    """Fetch all readings that the parameters ask for. Returns the exit code: 2 where not all came.

    A file has its name only once it is whole.
    """
    server, key = Server.at(url, READINGS_PATH), usable_key("API_KEY_WS", api_key)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    form = chosen or _form_of(file)
    asked = dict(parameters)
    try:
        start = parse_range(asked.get("start"), asked.get("end"), datetime.now(UTC)).start
    except Refusal as refusal:
        raise SettingsError(f"--{refusal.field}: {refusal.detail}") from None
    order = Order.BY_ID if "after" in asked else Order.NEWEST_FIRST
    try:
        with ExitStack() as stack:
            target = stack.enter_context(_target(file))
            client = stack.enter_context(open_stream_client(server, key))
            client.timeout = SILENCE
            fetcher = Fetcher(
                client, server, [*parameters, ("format", form.value)], form.value, order, start
            )
            show = stack.enter_context(_shown(fetcher))
            started = time.monotonic()
            for lines in fetcher.lines():
                target.write(lines)
                show()
            target.flush()
        took = time.monotonic() - started
        _tell(f"{fetcher.readings:,} readings in {took:,.1f} s, {fetcher.readings / took:,.0f}/s")
    except ExportStopped as stopped:
        complain(stopped)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _form_of(file: Path | None) -> ExportFormat:
    lines = file is not None and file.suffix in (".ndjson", ".jsonl")
    return ExportFormat.NDJSON if lines else ExportFormat.CSV


@contextmanager
def _target(file: Path | None) -> Iterator[IO[bytes]]:
    """Where the readings go."""
    if file is None:
        yield sys.stdout.buffer
        return
    part = file.with_name(file.name + PART)
    try:
        with part.open("wb") as target:
            yield target
        part.replace(file)
    except OSError as error:
        raise ExportStopped(f"{file}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _shown(fetcher: Fetcher) -> "Iterator[_Show]":
    """A bar on standard error, for standard output may be where the readings go."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal or console.is_dumb_terminal,
    ) as bar:
        yield _Show(fetcher, bar)


class _Show:
    """Keeps the bar up to date, a few times a second."""

    def __init__(self, fetcher: Fetcher, bar: Progress) -> None:
        self._fetcher = fetcher
        self._bar = bar
        self._task = bar.add_task("", total=None)
        self._rate = RecentRate()
        self._next = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REFRESH_INTERVAL
        readings, part = self._fetcher.readings, self._fetcher.part
        rate = self._rate.at(now, readings)
        self._bar.update(
            self._task,
            description=f"{readings:,} readings · {rate:,.0f}/s",
            total=None if part is None else 1.0,
            completed=part or 0.0,
        )
        self._bar.refresh()


def _tell(news: str) -> None:
    print(f"export: {news}", file=sys.stderr)
