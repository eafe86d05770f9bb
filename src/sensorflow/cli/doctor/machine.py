"""The machine: its clock and its limits."""

import ctypes
import resource
import time
from typing import Final

from sensorflow.cli.doctor.findings import Finding, passed, warned

FEW_FILES: Final = 4_096
"""Open files; each live connection is one."""

_UNSYNCHRONISED: Final = 5
_TIMEX_BYTES: Final = 512  # more than `struct timex` has on any system

_ADVICE: Final = "Run chrony or systemd-timesyncd: readings without a time get this machine's."


def synchronised() -> bool | None:
    """Whether the kernel's clock is kept right by somebody; None where it does not say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _UNSYNCHRONISED


def check_clock(synchronised: bool | None, now: float, known: float) -> list[Finding]:
    """`known` is a time that is surely past, such as that of this program's files."""
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < known:
        return [warned("clock", f"it says {told}, which is past", _ADVICE)]
    if synchronised is None:
        return [passed("clock", f"{told}; whether it is synchronised cannot be told here")]
    if not synchronised:
        return [warned("clock", f"{told}, and nobody synchronises it", _ADVICE)]
    return [passed("clock", f"{told}, synchronised")]


def check_open_files() -> list[Finding]:
    """Whether there is room for live connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return [passed("open files", "no limit")]
    if most < FEW_FILES:
        return [
            warned(
                "open files",
                f"at most {most:,}, and each connection is one",
                "Raise the limit: ulimit -Hn, LimitNOFILE= or --ulimit nofile=.",
            )
        ]
    return [passed("open files", f"up to {most:,}")]
