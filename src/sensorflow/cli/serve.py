"""`sensorflow serve`: the application on uvicorn, from the first line to the exit code."""

import asyncio
import contextlib
import logging
import os
import resource
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import cast

import structlog
import uvicorn

from sensorflow import __version__
from sensorflow.app import create_app
from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import VARIABLES, Scope
from sensorflow.logs import configure_logging
from sensorflow.settings import Settings
from sensorflow.web.edge import INGEST_PATH
from sensorflow.web.protocols import BoundedHttpProtocol, LiveProtocol

PING_INTERVAL = 20.0
"""Seconds; proxies cut a line that is silent for 60."""

SHUTDOWN_TIMEOUT = 20
"""Seconds that requests under way have to finish."""

SWITCH_INTERVAL = 0.00002
"""Seconds that the commit's thread waits for the interpreter lock before it asks for it.

Python's 5 ms would let a busy event loop hold up every commit; measured: 8 % more readings/s.
"""

BACKLOG = 4096
"""Connections that wait to be accepted."""

LATE_CHECK_TICKS = 10
"""Every second, in uvicorn's ticks of 0.1 s."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn's server, which also cuts off late requests and tells failure by its exit code."""

    failed = False

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # The application says itself why it cannot start; uvicorn would add a trace of its own.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().startup(sockets)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        if self.started:
            self._on_started()

    def fail(self) -> None:
        """Stop in order, then exit with 1."""
        self.failed = True
        self.should_exit = True

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
    """Serve until SIGTERM or Ctrl-C; what was read by then is committed and answered."""
    configure_logging(settings.log_level, settings.log_format)
    _allow_many_connections()
    sys.setswitchinterval(SWITCH_INTERVAL)
    listener = _listen(settings.host, settings.port)
    server: Server | None = None

    def fail() -> None:
        if server is not None:
            server.fail()

    def started() -> None:
        try:
            print(_greeting(settings, application.made_keys), flush=True)
            # Only now: a key that nobody has seen must not be the one in force.
            application.keep_made_keys()
        except OSError as error:
            log.critical("the made keys cannot be shown and kept", error=str(error))
            fail()
            return
        log.info("started", version=__version__, host=settings.host, port=settings.port)

    application = create_app(settings, on_failure=fail)
    for variable in settings.placeholders:
        log.warning("this key is the README's example; everybody knows it", variable=variable)
    server = Server(
        uvicorn.Config(
            application.asgi,
            loop="uvloop",
            http=cast("type[asyncio.Protocol]", partial(BoundedHttpProtocol, application.metrics)),
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
        on_started=started,
    )
    server.run(sockets=[listener])
    log.info("stopped")
    if server.failed:
        sys.exit(1)


def _listen(host: str, port: int) -> socket.socket:
    """Bind before anything else, so that a port in use costs neither keys nor a database."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Bound alone, the port could still be lost to another program that binds and listens.
        listener.listen(BACKLOG)
    except (socket.gaierror, UnicodeError):
        raise SettingsError(f"HOST: there is no address {host!r} to listen on.") from None
    except OSError as error:
        raise SettingsError(
            f"PORT: cannot listen on {host} port {port} ({error.strerror}); "
            "stop what uses it, or set another PORT."
        ) from None
    return listener


def _allow_many_connections() -> None:
    """Each subscriber is a file; most systems allow 1,024 unless asked for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _greeting(settings: Settings, made: Mapping[Scope, str]) -> str:
    """What to do next. Keys appear only here, and only those made at this start."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    lines = [f"SensorFlow Server {__version__}: {base}  (SQLite in {settings.data_dir})", ""]
    if made:
        lines.append("Keys made just now. They are shown this once; keep them:")
        lines += [f"  {VARIABLES[scope]:<11}{key}" for scope, key in made.items()]
        lines.append("")
    if Scope.READ in made:
        lines.append(f"Watch:  {base}/#key={made[Scope.READ]}")
    else:
        lines.append(f"Watch:  {base}/  and sign in with the API_KEY_WS")
    if Scope.INGEST in made:
        body = '{"temperature": 23.5, "humidity": 56.2, "pressure": 1013.2, "sensor_id": "kitchen"}'
        lines += [
            "Send:   " + _curl(f"{base}{INGEST_PATH}", made[Scope.INGEST], body),
            f"Try:    API_KEY={made[Scope.INGEST]} {_program()} simulate --url {base}",
        ]
    elif settings.api_key is None:
        lines.append(f"Lost the key for devices?  {_program()} keys renew API_KEY")
    return "\n".join([*lines, "", "Ctrl-C stops the server."])


def _program() -> str:
    """How the user can call this program: by its name only where the shell would find it."""
    found = shutil.which("sensorflow")
    return "sensorflow" if found else os.path.relpath(sys.argv[0])


def _curl(url: str, key: str, body: str) -> str:
    words = ["curl", url, "-H", f"X-API-Key: {key}", "-H", "Content-Type: application/json"]
    return shlex.join([*words, "-d", body])
