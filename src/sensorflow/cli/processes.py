"""Worker processes: how a supervisor makes them, and what they have of it."""

import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, NoReturn, TypeAlias

import structlog

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)
"""Those that a supervisor handles; a worker must not inherit the handlers."""

RETIRE: Final = signal.SIGUSR1
"""Asks a worker to end because another process has taken its place."""

_REPORT: Final = struct.Struct("=i")

log = structlog.get_logger()


class Worker:
    """What a worker process has of its supervisor."""

    def __init__(self, index: int, lifeline: int, reports: int) -> None:
        self.index = index
        """Which of the workers it is, from 0; its replacement is the same one."""
        self.lifeline = lifeline
        """A file descriptor that becomes readable, at its end, when the supervisor is gone."""
        self._reports = reports

    def report_started(self) -> None:
        """Tell the supervisor that this worker is at work."""
        with suppress(OSError):  # the supervisor is gone, as the lifeline tells
            os.write(self._reports, _REPORT.pack(os.getpid()))


Work: TypeAlias = Callable[[Worker], None]


@dataclass(eq=False)
class Process:
    """A process that was started."""

    pid: int
    born: float


class Nursery:
    """Makes processes that run a `Work`, end with it, and notice when this one is gone."""

    def __init__(self) -> None:
        # Nobody writes to the lifeline: it ends with its only writer, this process.
        self._lifeline, self._lifeline_end = os.pipe()
        self.reports, self._reports_end = os.pipe()
        """What workers report; becomes readable then."""
        self.wakes, self.wakes_end = os.pipe()
        """Whatever is written to the end, the other becomes readable."""
        for pipe in (self.reports, self.wakes, self.wakes_end):
            os.set_blocking(pipe, False)

    def reported(self) -> list[int]:
        """The pids of those that have reported since it was last asked."""
        with suppress(BlockingIOError):
            # Each report is written at once, so none is ever read in parts.
            return [pid for (pid,) in _REPORT.iter_unpack(os.read(self.reports, 4096))]
        return []

    def start(self, index: int, work: Work) -> Process:
        """Raises `OSError`."""
        # What is buffered would be written by both.
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal to the new process must not reach the handlers that it inherits from this one.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(index, work, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return Process(pid, monotonic())

    def _become_worker(self, index: int, work: Work, mask: set[int | signal.Signals]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # Meant for the supervisor, though a terminal sends it to all.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            # Held by workers, the lifeline would outlive the supervisor.
            for pipe in (self._lifeline_end, self.reports, self.wakes, self.wakes_end):
                os.close(pipe)
            work(Worker(index, self._lifeline, self._reports_end))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            log.critical("a worker has failed", worker=index, exc_info=True)
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
