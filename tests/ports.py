"""Ports that no other test is given, in whichever process and run it is."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from io import BufferedRandom
from pathlib import Path

# Below the range for outgoing connections: a client that retries while its server is down can
# neither take the server's port nor connect to itself.
PORTS = range(20_000, 32_000)

_given: set[int] = set()


@cache
def _claims() -> BufferedRandom:
    """A file of which each process locks one byte for each port that it has; kept open, since
    closing it would let go of all of them."""
    return (Path(tempfile.gettempdir()) / f"sensorflow-ports-{os.getuid()}").open("a+b")


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, this process's until it ends."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            if port not in _given:
                fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                _given.add(port)
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no free port")
