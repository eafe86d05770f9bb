"""The listeners of the port."""

import contextlib
import socket

from sensorflow.errors import SettingsError

BACKLOG = 4096
"""Connections that wait to be accepted."""


def listen(host: str, port: int, count: int) -> list[socket.socket]:
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
