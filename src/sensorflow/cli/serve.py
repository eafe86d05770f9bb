"""`sensorflow serve`: the application on uvicorn, from the first line to the exit code."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import cast

import structlog
import uvicorn

from sensorflow import __version__
from sensorflow.app import Application, create_app, given_keys
from sensorflow.cli import faults_in_one_line
from sensorflow.cli.greeting import greeting
from sensorflow.cli.supervisor import Patience, Supervisor, Worker
from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import Keyring, Scope
from sensorflow.keys.store import keep_keys, load_keys
from sensorflow.logs import configure_logging
from sensorflow.settings import Settings
from sensorflow.web.protocols import BoundedHttpProtocol, LiveProtocol
from sensorflow.web.turns import Turns

PING_INTERVAL = 20.0
"""Seconds; proxies cut a line that is silent for 60."""

SHUTDOWN_TIMEOUT = 20
"""Seconds that requests under way have to finish."""

STOP_TIMEOUT = SHUTDOWN_TIMEOUT + 10
"""Seconds that a worker has to end, with what follows its last request."""

SWITCH_INTERVAL = 0.00002
"""Seconds that the commit's thread waits for the interpreter lock before it asks for it.

Python's 5 ms would let a busy event loop hold up every commit; measured: 8 % more readings/s.
"""

COLLECT_AFTER = 20_000
"""New objects after which Python looks for garbage in cycles, of which requests leave none.

Its 700, and going through all that was imported, held everything up; measured at 256 connections:
14 % more readings/s, and a p99 of 12 to 45 ms instead of 54 ms.
"""

BACKLOG = 4096
"""Connections that wait to be accepted."""

LATE_CHECK_TICKS = 10
"""Every second, in uvicorn's ticks of 0.1 s."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn's server, which also cuts off late requests and knows whether it has failed.

    `on_started` is called when it serves; False makes it fail. It stops in order when `lifeline`,
    a file descriptor, becomes readable.
    """

    failed = False

    def __init__(
        self, config: uvicorn.Config, on_started: Callable[[], bool], lifeline: int | None
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # The application says itself why it cannot start; uvicorn would add a trace of its own.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().startup(sockets)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._lose, self._lifeline)
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

    async def on_tick(self, counter: int) -> bool:
        if counter % LATE_CHECK_TICKS == 0:
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


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; what was read by then is committed and answered.

    One worker serves in this process. Several are processes of their own, and this one only
    watches over them. Exits with 1 if the server stopped because a part of it failed.
    """
    configure_logging(settings.log_level, settings.log_format)
    _allow_many_connections()
    sys.setswitchinterval(SWITCH_INTERVAL)
    listeners = _listen(settings.host, settings.port, settings.workers)
    code = (
        _supervise(settings, listeners) if len(listeners) > 1 else _run_alone(settings, *listeners)
    )
    log.info("stopped")
    if code:
        sys.exit(code)


def _run_alone(settings: Settings, listener: socket.socket) -> int:
    def started(application: Application) -> bool:
        return _welcome(settings, application.made_keys, application.keep_made_keys)

    return _run(settings, listener, started)


def _supervise(settings: Settings, listeners: list[socket.socket]) -> int:
    """Keep a worker at work on each listener. Neither a thread nor an event loop runs here."""
    # Here, once: a worker that replaces another must not have other keys than the rest.
    keyring, made = load_keys(settings.data_dir, given_keys(settings))

    def work(worker: Worker) -> None:
        structlog.contextvars.bind_contextvars(worker=worker.index)
        for index, listener in enumerate(listeners):
            if index != worker.index:
                listener.close()

        def started(_: Application) -> bool:
            log.info("worker started", pid=os.getpid())
            worker.report_started()
            return True

        with faults_in_one_line():
            code = _run(settings, listeners[worker.index], started, worker.lifeline, keyring)
        log.info("worker stopped", pid=os.getpid())
        sys.exit(code)

    def stop_listening() -> None:
        for listener in listeners:
            listener.close()

    gc.freeze()  # a collection would write to every page that is shared with the workers
    supervisor = Supervisor(
        work,
        len(listeners),
        Patience(stop=STOP_TIMEOUT),
        on_first_start=lambda: _welcome(settings, made, lambda: keep_keys(settings.data_dir, made)),
        on_stop=stop_listening,
    )
    code = supervisor.run()
    if code and not supervisor.reported:
        sys.exit(code)  # the worker has said why; nothing was ever started
    return code


def _welcome(settings: Settings, made: Mapping[Scope, str], keep: Callable[[], None]) -> bool:
    """Say that it serves, and make the made keys last; False where that cannot be done."""
    for variable in settings.placeholders:
        log.warning("this key is the README's example; everybody knows it", variable=variable)
    try:
        print(greeting(settings, made), flush=True)
        # Only now: a key that nobody has seen must not be the one in force.
        keep()
    except OSError as error:
        log.critical("the made keys cannot be shown and kept", error=str(error))
        return False
    log.info(
        "started",
        version=__version__,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
    )
    return True


def _run(
    settings: Settings,
    listener: socket.socket,
    on_started: Callable[[Application], bool],
    lifeline: int | None = None,
    keyring: Keyring | None = None,
) -> int:
    """Serve in this process until it is asked to stop; returns the exit code."""
    server: Server | None = None

    def fail() -> None:
        if server is not None:
            server.fail()

    application = create_app(settings, fail, keyring)
    server = Server(
        uvicorn.Config(
            application.asgi,
            loop="uvloop",
            http=cast(
                "type[asyncio.Protocol]", partial(BoundedHttpProtocol, application.metrics, Turns())
            ),
            ws=LiveProtocol,
            ws_ping_interval=PING_INTERVAL,
            ws_ping_timeout=PING_INTERVAL,
            ws_max_size=4096,
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
            backlog=BACKLOG,
        ),
        on_started=lambda: on_started(application),
        lifeline=lifeline,
    )
    server.run(sockets=[listener])
    return int(server.failed)


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind before anything else, so that a port in use costs neither keys nor a database.

    The kernel spreads connections over all of the listeners.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(socket.socket(family, socket.SOCK_STREAM)) for _ in range(count)
        ]
        try:
            for listener in listeners:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # Not for the first: it must find the port unused, by another such server too.
                if listener is not listeners[0]:
                    listeners[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind((host, port))
                # Bound alone, the port could still be lost to another that binds and listens.
                listener.listen(BACKLOG)
        except (socket.gaierror, UnicodeError):
            raise SettingsError(f"HOST: there is no address {host!r} to listen on.") from None
        except OSError as error:
            raise SettingsError(
                f"PORT: cannot listen on {host} port {port} ({error.strerror}); "
                "stop what uses it, or set another PORT."
            ) from None
        opened.pop_all()
    return listeners


def _allow_many_connections() -> None:
    """Each subscriber is a file; most systems allow 1,024 unless asked for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
