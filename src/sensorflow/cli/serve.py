"""`sensorflow serve`: the application on uvicorn, from the first line to the exit code."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import structlog
import uvicorn

from sensorflow import __version__
from sensorflow.app import Application, create_app, given_keys
from sensorflow.cli import faults_in_one_line
from sensorflow.cli.greeting import greeting
from sensorflow.cli.listening import BACKLOG, listen
from sensorflow.cli.patience import Patience
from sensorflow.cli.processes import Work, Worker
from sensorflow.cli.server import HANDOVER_TIMEOUT, Server
from sensorflow.cli.supervisor import Supervisor
from sensorflow.cli.systemd import notify_ready, notify_stopping
from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import VARIABLES, Keyring, Scope
from sensorflow.keys.store import keep_keys, load_keys
from sensorflow.logs import configure_logging
from sensorflow.metrics.board import Board
from sensorflow.settings import Settings
from sensorflow.web.http import BoundedHttpProtocol
from sensorflow.web.turns import Turns
from sensorflow.web.websocket import LiveProtocol

PING_INTERVAL = 20.0
"""Seconds; proxies cut a line that is silent for 60."""

SHUTDOWN_TIMEOUT = 20
"""Seconds that requests under way have to finish."""

STOP_TIMEOUT = SHUTDOWN_TIMEOUT + 10
"""Seconds that a worker has to end, with what follows its last request."""

FIXED = ("host", "port", "workers", "data_dir", "database_url", "log_level", "log_format")
"""Settings that a rolling restart cannot change: the supervisor's, or common to all workers."""

SWITCH_INTERVAL = 0.00002
"""Seconds that the commit's thread waits for the interpreter lock before it asks for it.

Python's 5 ms would let a busy event loop hold up every commit; measured: 8 % more readings/s.
"""

log = structlog.get_logger()


def serve(read_settings: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or Ctrl-C; what was read by then is committed and answered.

    One worker serves in this process. Several are processes of their own, and this one only
    watches over them; at SIGHUP it replaces them, one after another, by workers with the settings
    and keys of that moment. Exits with 1 if the server stopped because a part of it failed.
    """
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    _allow_many_connections()
    sys.setswitchinterval(SWITCH_INTERVAL)
    listeners = listen(settings.host, settings.port, settings.workers)
    code = (
        _supervise(read_settings, settings, listeners)
        if len(listeners) > 1
        else _run_alone(settings, *listeners)
    )
    log.info("stopped")
    if code:
        sys.exit(code)


def _run_alone(settings: Settings, listener: socket.socket) -> int:
    def started(application: Application) -> bool:
        return _welcome(settings, application.made_keys, application.keep_made_keys)

    return _run(settings, listener, started, notify_stopping)


def _supervise(
    read_settings: Callable[[], Settings], settings: Settings, listeners: list[socket.socket]
) -> int:
    """Keep a worker at work on each listener. Neither a thread nor an event loop runs here."""
    board = Board(len(listeners))
    # Loaded here, once for all workers; later it might be another version's that is on the disk.
    import sensorflow.bus.postgres
    import sensorflow.storage.postgres.notices
    import sensorflow.storage.postgres.storage
    import sensorflow.storage.postgres.upkeep  # noqa: F401

    # Here, once: a worker that replaces another must not have other keys than the rest.
    keyring, made = load_keys(settings.data_dir, given_keys(settings))

    def stop_listening() -> None:
        notify_stopping()
        for listener in listeners:
            listener.close()

    def renew() -> Work | None:
        try:
            now = read_settings()
            changed = [name for name in FIXED if getattr(now, name) != getattr(settings, name)]
            if changed:
                raise SettingsError(
                    f"{changed[0].upper()}: it has changed; stop and start the server for that."
                )
            keyring, made = load_keys(now.data_dir, given_keys(now))
            if made:
                raise SettingsError(
                    f"{VARIABLES[next(iter(made))]}: it is neither set nor kept any more; "
                    "stop and start the server to have a new one made."
                )
        except SettingsError as error:
            log.error("no rolling restart", reason=str(error))
            return None
        return partial(_work, now, keyring, listeners, board)

    gc.freeze()  # a collection would write to every page that is shared with the workers
    supervisor = Supervisor(
        partial(_work, settings, keyring, listeners, board),
        len(listeners),
        Patience(stop=STOP_TIMEOUT, retire=HANDOVER_TIMEOUT + STOP_TIMEOUT),
        on_first_start=lambda: _welcome(settings, made, lambda: keep_keys(settings.data_dir, made)),
        on_stop=stop_listening,
        renew=renew,
    )
    code = supervisor.run()
    if code and not supervisor.reported:
        sys.exit(code)  # the worker has said why; nothing was ever started
    return code


def _work(
    settings: Settings,
    keyring: Keyring,
    listeners: list[socket.socket],
    board: Board,
    worker: Worker,
) -> None:
    """Serve as one worker of several."""
    structlog.contextvars.bind_contextvars(worker=worker.index)
    for index, listener in enumerate(listeners):
        if index != worker.index:
            listener.close()

    def started(_: Application) -> bool:
        log.info("worker started", pid=os.getpid())
        worker.report_started()
        return True

    with faults_in_one_line():
        code = _run(
            settings, listeners[worker.index], started, None, worker.lifeline, keyring, board
        )
    log.info("worker stopped", pid=os.getpid())
    sys.exit(code)


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
    notify_ready()
    return True


def _run(
    settings: Settings,
    listener: socket.socket,
    on_started: Callable[[Application], bool],
    on_stopping: Callable[[], None] | None,
    lifeline: int | None = None,
    keyring: Keyring | None = None,
    board: Board | None = None,
) -> int:
    """Serve in this process until it is asked to stop; returns the exit code."""
    server: Server | None = None

    def fail() -> None:
        if server is not None:
            server.fail()

    application = create_app(settings, fail, keyring, board)
    server = Server(
        uvicorn.Config(
            application.asgi,
            loop="uvloop",
            http=cast(
                "type[asyncio.Protocol]",
                partial(BoundedHttpProtocol, application.metrics, Turns(), application.asgi.prompt),
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
        metrics=application.metrics,
        on_started=lambda: on_started(application),
        on_stopping=on_stopping,
        lifeline=lifeline,
    )
    server.run(sockets=[listener])
    return int(server.failed)


def _allow_many_connections() -> None:
    """Each subscriber is a file; most systems allow 1,024 unless asked for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
