"""Worker processes, and the one that watches over them and does nothing else."""

import os
import selectors
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from types import FrameType
from typing import Final, NoReturn

import structlog

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

LONGEST_PAUSE: Final = 5.0
"""Seconds before the replacement of a worker that has died again and again."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Patience:
    """How long a supervisor waits, in seconds."""

    stop: float
    """For workers that were asked to end; then they are killed."""
    steady: float = 5.0
    """A worker that has lived so long is replaced at once."""
    shortest_pause: float = 0.2
    """Before the replacement of one that died sooner, from the second such death in a row on."""
    longest_pause: float = LONGEST_PAUSE
    """The pause doubles with each further such death, up to this."""
    kill: float = 5.0
    """For the system to clear away those that were killed; then they are left to it."""


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
            os.write(self._reports, bytes([self.index]))


@dataclass
class _Place:
    """One worker: the process it is now, and those it was before."""

    index: int
    due: float = inf
    """When a process is to be started, where there is none."""
    pid: int | None = None
    born: float = 0.0
    first: bool = True
    """Whether this process is the first, and has not reported yet."""
    pause: float = 0.0
    """Before the next replacement, unless the process becomes steady."""


class Supervisor:
    """Keeps `count` workers, at most 256, at work until it is asked to stop.

    Each is a forked process that runs `work` and ends with it; `SystemExit` sets its exit code.
    The first starts alone, the others when it has reported: what only one has to do is then done,
    and what prevents all of them is told once. A worker that ends unasked is logged and replaced.
    Only where its very first process ends by itself, with a code above 0 and without a report, do
    all end with that code; the process says why itself.

    `on_first_start` is called in the supervisor at the first report; False ends all with 1.
    `on_stop` is called there before workers are asked to end.
    """

    def __init__(
        self,
        work: Callable[[Worker], None],
        count: int,
        patience: Patience,
        *,
        on_first_start: Callable[[], bool] = lambda: True,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._patience = patience
        self._on_first_start = on_first_start
        self._on_stop = on_stop
        self._places = [_Place(index) for index in range(count)]
        self.reported = False
        """Whether any worker has ever reported its start."""
        self._asked_to_stop = False
        self._in_a_hurry = False
        self._exit_code: int | None = None
        # Nobody writes to the lifeline: it ends with its only writer, this process.
        self._lifeline, self._lifeline_end = os.pipe()
        self._reports, self._reports_end = os.pipe()
        self._wakes, self._wakes_end = os.pipe()
        self._selector = selectors.PollSelector()  # has no descriptor that workers would inherit
        for pipe in (self._reports, self._wakes):
            self._selector.register(pipe, selectors.EVENT_READ)
        for pipe in (self._reports, self._wakes, self._wakes_end):
            os.set_blocking(pipe, False)

    def run(self) -> int:
        """Work until SIGTERM or Ctrl-C; returns the exit code. Once a process, in its main thread.

        A second Ctrl-C is passed on to the workers.
        """
        signal.set_wakeup_fd(self._wakes_end, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._note)
        self._places[0].due = monotonic()
        while not self._stopping:
            self._start_due()
            self._wait(min((p.due for p in self._places if p.pid is None), default=inf))
            self._reap()
        self._stop()
        return self._exit_code or 0

    @property
    def _stopping(self) -> bool:
        return self._asked_to_stop or self._exit_code is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked_to_stop:
            self._in_a_hurry = True
        elif number != signal.SIGCHLD:
            self._asked_to_stop = True

    def _wait(self, until: float) -> None:
        """Return after a signal or a report, at the latest at the given time."""
        self._selector.select(None if until == inf else max(0.0, until - monotonic()))
        with suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        self._hear()

    def _hear(self) -> None:
        """Take in what workers have reported."""
        with suppress(BlockingIOError):
            for index in os.read(self._reports, 4096):
                self._places[index].first = False
                if not self.reported and not self._stopping:
                    self.reported = True
                    self._begin()

    def _begin(self) -> None:
        if not self._on_first_start():
            self._exit_code = 1
        for place in self._places:
            if place.pid is None:
                place.due = monotonic()

    def _start_due(self) -> None:
        for place in self._places:
            if place.pid is None and place.due <= monotonic():
                try:
                    place.pid = self._fork(place.index)
                    place.born = monotonic()
                except OSError as error:
                    log.error("a worker cannot be started", worker=place.index, error=str(error))
                    self._postpone(place)

    def _postpone(self, place: _Place) -> None:
        place.due = monotonic() + place.pause
        longer = max(self._patience.shortest_pause, 2 * place.pause)
        place.pause = min(self._patience.longest_pause, longer)

    def _reap(self) -> None:
        """Take note of the processes that have ended."""
        for place in self._places:
            if place.pid is None:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid != 0:
                self._hear()  # what it reported before its end
                place.pid = None
                if not self._stopping:
                    self._replace(place, pid, os.waitstatus_to_exitcode(status))

    def _replace(self, place: _Place, pid: int, code: int) -> None:
        if place.first and code > 0:
            self._exit_code = code
            return
        place.first = False
        if monotonic() - place.born >= self._patience.steady:
            place.pause = 0.0
        end = {"exit_code": code} if code >= 0 else {"signal": signal.strsignal(-code)}
        log.error(
            "a worker has died and is replaced",
            worker=place.index,
            pid=pid,
            **end,
            after_seconds=place.pause,
        )
        self._postpone(place)

    def _stop(self) -> None:
        self._on_stop()
        self._send(signal.SIGTERM)
        if not self._ended_within(self._patience.stop):
            pids = [place.pid for place in self._places if place.pid is not None]
            log.error("workers have not ended in time and are killed", pids=pids)
            self._send(signal.SIGKILL)
            self._ended_within(self._patience.kill)

    def _ended_within(self, seconds: float) -> bool:
        until = monotonic() + seconds
        while any(place.pid is not None for place in self._places):
            if monotonic() >= until:
                return False
            if self._in_a_hurry:
                self._in_a_hurry = False
                self._send(signal.SIGINT)
            self._wait(until)
            self._reap()
        return True

    def _send(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, number)

    def _fork(self, index: int) -> int:
        # What is buffered would be written by both.
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal to the new process must not reach the handlers that it inherits from this one.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(index, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid

    def _become_worker(self, index: int, mask: set[int | signal.Signals]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            # Held by workers, the lifeline would outlive the supervisor.
            for pipe in (self._lifeline_end, self._reports, self._wakes, self._wakes_end):
                os.close(pipe)
            self._work(Worker(index, self._lifeline, self._reports_end))
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
