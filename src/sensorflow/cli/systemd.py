"""What systemd is told of a service with `Type=notify`: that it serves, and that it stops."""

import os
import socket
from typing import Final

import structlog

_PATIENCE: Final = 1.0
"""Seconds; systemd takes it at once, and a stop must not wait for it."""

log = structlog.get_logger()


def notify_ready() -> None:
    """Say that it serves; whoever started it may now start what depends on it."""
    _notify(b"READY=1")


def notify_stopping() -> None:
    """Say that it stops, and that this takes a while."""
    _notify(b"STOPPING=1")


def _notify(state: bytes) -> None:
    """Send a line to the socket that systemd has named, if it has; see sd_notify(3).

    systemd believes only the process that it started itself, so the supervisor of several workers
    speaks for all of them.
    """
    # No setting, and not to be read from `.env`: systemd writes it for the one process that it
    # starts, and no user chooses it.
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name  # @ stands for an abstract name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as service:
            service.settimeout(_PATIENCE)
            service.sendto(state, address)
    except OSError as error:
        log.warning("systemd cannot be told", state=state.decode(), error=str(error))
