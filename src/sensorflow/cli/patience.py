"""How long a supervisor waits for its workers."""

from dataclasses import dataclass
from typing import Final

LONGEST_PAUSE: Final = 5.0
"""Seconds before the replacement of a worker that has died again and again."""

START_TIMEOUT: Final = 90.0
"""Seconds for a successor to report its start, migrations included; then it is killed."""


@dataclass(frozen=True)
class Patience:
    """How long a supervisor waits, in seconds."""

    stop: float
    """For workers that were asked to end; then they are killed."""
    retire: float
    """For a worker that has a successor; then it is killed."""
    start: float = START_TIMEOUT
    """For a successor's report; then it is killed."""
    steady: float = 5.0
    """A worker that has lived so long is replaced at once."""
    shortest_pause: float = 0.2
    """Before the replacement of one that died sooner, from the second such death in a row on."""
    longest_pause: float = LONGEST_PAUSE
    """The pause doubles with each further such death, up to this."""
    kill: float = 5.0
    """For the system to clear away those that were killed; then they are left to it."""
