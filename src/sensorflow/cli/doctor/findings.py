"""What a check finds."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST: Final = 15.0
"""Seconds for one check; each wait in it has a shorter bound, but names are looked up without."""


class Level(StrEnum):
    """How bad it is."""

    WELL = "pass"
    WARNING = "warning"
    """It works, and something is not as it should be."""
    FAULT = "fault"
    """It does not work."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, and what is so. Holds no secret."""

    about: str
    level: Level
    said: str
    advice: str = ""
    """What to do; empty where nothing is."""


Check = Callable[[], list[Finding]]


def passed(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(about, Level.WELL, said)


def warned(about: str, said: str, advice: str) -> Finding:
    """It works, but."""
    return Finding(about, Level.WARNING, said, advice)


def faulted(about: str, said: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(about, Level.FAULT, said, advice)


def bounded(about: str, check: Check, seconds: float = LONGEST) -> list[Finding]:
    """What the check finds, or that it takes too long."""
    found: list[list[Finding]] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            found.append(check())
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=work, name=f"check-{about}", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not found:
        return [faulted(about, f"no answer within {seconds:.0f} s", "Look at what it waits for.")]
    return found[0]
