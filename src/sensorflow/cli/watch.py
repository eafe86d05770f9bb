"""`sensorflow watch`: the live stream in the terminal, or a line a reading for other programs."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Protocol

import msgspec
from rich.console import Console
from rich.live import Live

from sensorflow.cli.board import Board
from sensorflow.cli.following import (
    NOT_THE_STREAM,
    Follower,
    FollowingStopped,
    open_stream_client,
)
from sensorflow.cli.load import complain, usable_key
from sensorflow.cli.progress import REFRESH_INTERVAL
from sensorflow.cli.remote import Server
from sensorflow.web.edge import STREAM_PATH

GAP = b'{"gap":'


class Output(Protocol):
    """Where the stream is shown, while entered."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def take(self, payload: bytes) -> None:
        """Show one frame."""

    def change(self, trouble: str | None) -> None:
        """Show what keeps us from the stream, None where nothing does."""


def watch(*, url: str, api_key: str | None, sensors: Sequence[str], since: int | None) -> int:
    """Show the stream until Ctrl-C. Returns the exit code: 2 where there is none to show."""
    server, key = Server.at(url, STREAM_PATH), usable_key("API_KEY_WS", api_key)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Raised wherever the program is, also in a write that the reader of a pipe holds up.
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    on_terminal = console.is_terminal and not console.is_dumb_terminal
    output: Output = Screen(console) if on_terminal else Lines()
    try:
        with open_stream_client(server, key) as client, output:
            for payload in Follower(client, server, sensors, since, output.change).payloads():
                output.take(payload)
    except FollowingStopped as stopped:
        complain(stopped)
        return 2
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # seen enough
    finally:
        if not on_terminal:
            # Python would else complain that it cannot write what is left at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class Screen:
    """Implements `Output`: a table, redrawn a few times a second. The last one stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._board = Board(console)
        self._live = Live(
            console=console,
            get_renderable=self._board.picture,
            refresh_per_second=1 / REFRESH_INTERVAL,
            transient=True,
            redirect_stderr=False,
        )
        self.change = self._board.change

    def __enter__(self) -> object:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        if not isinstance(error[1], FollowingStopped):
            self._console.print(self._board.picture())

    def take(self, payload: bytes) -> None:
        try:
            self._board.take(msgspec.json.decode(payload))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FollowingStopped(NOT_THE_STREAM) from None


class Lines:
    """Implements `Output`: each reading a line of JSON, for a pipe or a file; all else aside."""

    def __init__(self) -> None:
        self._told: str | None = None

    def __enter__(self) -> object:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def take(self, payload: bytes) -> None:
        if payload.startswith(GAP):
            gap = msgspec.json.decode(payload)["gap"]
            self._tell(f"{gap['after'] + 1} to {gap['oldest'] - 1} were removed by retention")
            return
        try:
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise FollowingStopped(f"standard output: {error.strerror}") from None

    def change(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._told:
            self._tell(f"reconnecting: {trouble}")
        self._told = trouble

    def _tell(self, news: str) -> None:
        print(f"sensorflow: {news}", file=sys.stderr)
