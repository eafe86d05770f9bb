"""uvicorn's server with what we need of it: late requests, failures, and leaving to a successor."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from sensorflow.cli.processes import RETIRE
from sensorflow.cli.terminal import Terminal
from sensorflow.metrics import Metrics
from sensorflow.web.http import BoundedHttpProtocol

HANDOVER_TIMEOUT = 10.0
"""Seconds that idle connections of a worker with a successor have for one more request."""

HANDOVER_TICK = 0.05
"""Seconds between two looks at who is still connected."""

COLLECT_AFTER = 20_000
"""New objects after which Python looks for garbage in cycles, of which requests leave none.

Its 700, and going through all that was imported, held everything up; measured at 256 connections:
14 % more readings/s, and a p99 of 12 to 45 ms instead of 54 ms.
"""

SWEEP_TICKS = 10
"""Every second, in uvicorn's ticks of 0.1 s."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn's server, and what a worker needs beside it.

    It cuts off late requests, shows other workers what it counts, and knows whether it has failed.

    `on_started` is called when it serves; False makes it fail. `on_stopping` is called when it
    begins to stop. It stops in order when `lifeline`, a file descriptor of a worker, becomes
    readable. At RETIRE a worker leaves its listener to its
    successor and ends. Without a supervisor SIGHUP changes nothing, unless the terminal is gone.
    """

    failed = False
    _retired = False

    def __init__(
        self,
        config: uvicorn.Config,
        metrics: Metrics,
        on_started: Callable[[], bool],
        on_stopping: Callable[[], None] | None,
        lifeline: int | None,
    ) -> None:
        super().__init__(config)
        self._metrics = metrics
        self._on_stopping = on_stopping
        self._on_started = on_started
        self._lifeline = lifeline
        self._terminal = Terminal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # The application says itself why it cannot start; uvicorn would add a trace of its own.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        loop = asyncio.get_running_loop()
        if self._lifeline is None:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        else:
            loop.add_signal_handler(RETIRE, self._retire)
        await super().startup(sockets)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._lose, self._lifeline)
        if self.started and not self._on_started():
            self.fail()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 20)

    def fail(self) -> None:
        """Stop in order."""
        self.failed = True
        self.should_exit = True

    def _lose(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        log.error("the supervisor is gone")
        self.fail()

    def _hang_up(self) -> None:
        if self._terminal.is_gone:
            self.should_exit = True
        else:
            log.warning(
                "SIGHUP is ignored: with one worker there is no rolling restart; "
                "stop and start the server to have it read keys and settings again"
            )

    def _retire(self) -> None:
        self._retired = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_stopping is not None:
            self._on_stopping()
        if self._retired:
            await self._hand_over(sockets or [])
        await super().shutdown(sockets)

    async def _hand_over(self, sockets: list[socket.socket]) -> None:
        """Accept nobody any more, and take leave of those who are connected.

        Closing an idle connection could cross with a request. So each one has its next request
        answered here, and is told that it is the last.
        """
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        until = asyncio.get_running_loop().time() + HANDOVER_TIMEOUT
        told = set()
        while not (self.failed or self._captured_signals):
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedHttpProtocol):
                    connection.retire()
                elif connection not in told and getattr(connection, "handshake_complete", True):
                    told.add(connection)
                    connection.shutdown()
            self._metrics.refresh()
            # What was accepted just before is among them only then.
            await asyncio.sleep(HANDOVER_TICK)
            if not self.server_state.connections or asyncio.get_running_loop().time() > until:
                return

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_TICKS == 0:
            self._metrics.refresh()
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedHttpProtocol):
                    connection.close_if_late(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            # Being asked to stop is no failure: uvicorn would raise the signal again.
            self._captured_signals.clear()
