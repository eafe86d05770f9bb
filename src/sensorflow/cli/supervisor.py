"""The process that watches over worker processes, and does nothing else."""

import os
import selectors
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from types import FrameType

import structlog

from sensorflow.cli.patience import Patience
from sensorflow.cli.processes import RETIRE, SIGNALS, Nursery, Process, Work
from sensorflow.cli.terminal import Terminal

log = structlog.get_logger()


@dataclass(eq=False)
class _Place:
    """One worker: the process it is now, and those it was before."""

    index: int
    due: float = inf
    """When a process is to be started, where there is none."""
    process: Process | None = None
    first: bool = True
    """Whether no process of it has ever reported, or died and been replaced."""
    pause: float = 0.0
    """Before the next replacement, unless the process becomes steady."""


@dataclass
class _Roll:
    """A rolling restart: one worker after another gets a successor, then is asked to end."""

    work: Work
    places: deque[_Place]
    """Those whose process is still an old one; the first is at its turn."""
    successor: Process | None = None
    """Of the first, until it has reported."""
    leaving: Process | None = None
    """The process before the last that reported, until it has ended."""
    until: float = inf
    """How long the one or the other is waited for."""


class Supervisor:
    """Keeps `count` workers at work until it is asked to stop.

    Each is a forked process that runs `work` and ends with it; `SystemExit` sets its exit code.
    The first starts alone, the others when it has reported: what only one has to do is then done,
    and what prevents all of them is told once. A worker that ends unasked is logged and replaced.
    Only where its very first process ends by itself, with a code above 0 and without a report, do
    all end with that code; the process says why itself.

    `on_first_start` is called in the supervisor at the first report; False ends all with 1.
    `on_stop` is called there before workers are asked to end. At SIGHUP `renew` is called there;
    it returns what workers are to do from now on, or None where they have to stay as they are.
    """

    def __init__(
        self,
        work: Work,
        count: int,
        patience: Patience,
        *,
        on_first_start: Callable[[], bool] = lambda: True,
        on_stop: Callable[[], None] = lambda: None,
        renew: Callable[[], Work | None] = lambda: None,
    ) -> None:
        self._work = work
        self._patience = patience
        self._on_first_start = on_first_start
        self._on_stop = on_stop
        self._renew = renew
        self._places = [_Place(index) for index in range(count)]
        self.reported = False
        """Whether any worker has ever reported its start."""
        self._roll: _Roll | None = None
        self._asked_to_roll = False
        self._asked_to_stop = False
        self._in_a_hurry = False
        self._exit_code: int | None = None
        self._terminal = Terminal()
        self._nursery = Nursery()
        self._selector = selectors.PollSelector()  # has no descriptor that workers would inherit
        for pipe in (self._nursery.reports, self._nursery.wakes):
            self._selector.register(pipe, selectors.EVENT_READ)

    def run(self) -> int:
        """Work until SIGTERM or Ctrl-C; returns the exit code. Once a process, in its main thread.

        A second Ctrl-C is passed on to the workers.
        """
        signal.set_wakeup_fd(self._nursery.wakes_end, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._note)
        self._places[0].due = monotonic()
        while not self._stopping:
            self._start_due()
            self._go_on_rolling()
            self._wait(min(self._deadlines(), default=inf))
            self._reap()
        self._stop()
        return self._exit_code or 0

    @property
    def _stopping(self) -> bool:
        return self._asked_to_stop or self._exit_code is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and not self._terminal.is_gone:
            self._asked_to_roll = True
        elif number == signal.SIGINT and self._asked_to_stop:
            self._in_a_hurry = True
        elif number != signal.SIGCHLD:
            self._asked_to_stop = True

    def _deadlines(self) -> list[float]:
        starts = [place.due for place in self._places if self._is_to_be_started(place)]
        return starts if self._roll is None else [*starts, self._roll.until]

    def _wait(self, until: float) -> None:
        """Return after a signal or a report, at the latest at the given time."""
        self._selector.select(None if until == inf else max(0.0, until - monotonic()))
        with suppress(BlockingIOError):
            os.read(self._nursery.wakes, 4096)
        self._hear()

    def _hear(self) -> None:
        """Take in what workers have reported."""
        for pid in self._nursery.reported():
            roll = self._roll
            if roll is not None and roll.successor is not None and roll.successor.pid == pid:
                self._hand_over(roll, roll.successor)
            for place in self._places:
                if place.process is not None and place.process.pid == pid:
                    place.first = False
            if not self.reported and not self._stopping:
                self.reported = True
                self._begin()

    def _begin(self) -> None:
        if not self._on_first_start():
            self._exit_code = 1
        for place in self._places:
            if place.process is None:
                place.due = monotonic()

    def _is_to_be_started(self, place: _Place) -> bool:
        has_successor = (
            self._roll is not None
            and self._roll.successor is not None
            and self._roll.places[0] is place
        )
        return place.process is None and not has_successor

    def _start_due(self) -> None:
        for place in self._places:
            if self._is_to_be_started(place) and place.due <= monotonic():
                try:
                    place.process = self._nursery.start(place.index, self._work)
                except OSError as error:
                    log.error("a worker cannot be started", worker=place.index, error=str(error))
                    self._postpone(place)

    def _postpone(self, place: _Place) -> None:
        place.due = monotonic() + place.pause
        longer = max(self._patience.shortest_pause, 2 * place.pause)
        place.pause = min(self._patience.longest_pause, longer)

    # A rolling restart. At each moment as many are at work as before, and one more process lives.

    def _go_on_rolling(self) -> None:
        if self._roll is None and self._asked_to_roll and self.reported:
            self._asked_to_roll = False
            work = self._renew()
            if work is not None:
                log.info("rolling restart", workers=len(self._places))
                self._roll = _Roll(work, deque(self._places))
        roll = self._roll
        if roll is None:
            return
        awaited = roll.successor or roll.leaving
        if awaited is not None:
            if monotonic() >= roll.until:
                roll.until = inf
                log.error("a worker takes too long and is killed", pid=awaited.pid)
                os.kill(awaited.pid, signal.SIGKILL)
        elif roll.places:
            try:
                roll.successor = self._nursery.start(roll.places[0].index, roll.work)
                roll.until = monotonic() + self._patience.start
            except OSError as error:
                self._give_up(roll, error=str(error))
        else:
            self._roll = None
            log.info("rolling restart done", workers=len(self._places))
            self._go_on_rolling()  # where it was asked for again meanwhile

    def _hand_over(self, roll: _Roll, successor: Process) -> None:
        place = roll.places.popleft()
        place.process, roll.leaving, roll.successor = successor, place.process, None
        place.pause = 0.0
        self._work = roll.work
        roll.until = inf
        if roll.leaving is not None and not self._stopping:
            roll.until = monotonic() + self._patience.retire
            os.kill(roll.leaving.pid, RETIRE)

    def _give_up(self, roll: _Roll, **reason: object) -> None:
        log.error(
            "the rolling restart is given up: a new worker did not start; the others stay",
            worker=roll.places[0].index,
            **reason,
        )
        self._roll = None

    # Deaths, and the end.

    def _processes(self) -> list[Process]:
        found = [place.process for place in self._places]
        if self._roll is not None:
            found += [self._roll.successor, self._roll.leaving]
        return [process for process in found if process is not None]

    def _reap(self) -> None:
        """Take note of the processes that have ended."""
        for process in self._processes():
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid != 0:
                self._hear()  # what it reported before its end
                self._ended(process, os.waitstatus_to_exitcode(status))

    def _ended(self, process: Process, code: int) -> None:
        roll = self._roll
        if roll is not None and process is roll.leaving:
            roll.leaving = None
        elif roll is not None and process is roll.successor:
            roll.successor = None
            if not self._stopping:
                self._give_up(roll, pid=process.pid, **_told(code))
        for place in self._places:
            if place.process is process:
                place.process = None
                if not self._stopping:
                    self._replace(place, process, code)

    def _replace(self, place: _Place, process: Process, code: int) -> None:
        if place.first and code > 0:
            self._exit_code = code
            return
        place.first = False
        if monotonic() - process.born >= self._patience.steady:
            place.pause = 0.0
        log.error(
            "a worker has died and is replaced",
            worker=place.index,
            pid=process.pid,
            **_told(code),
            after_seconds=place.pause,
        )
        self._postpone(place)

    def _stop(self) -> None:
        self._on_stop()
        self._send(signal.SIGTERM)
        if not self._ended_within(self._patience.stop):
            pids = [process.pid for process in self._processes()]
            log.error("workers have not ended in time and are killed", pids=pids)
            self._send(signal.SIGKILL)
            self._ended_within(self._patience.kill)

    def _ended_within(self, seconds: float) -> bool:
        until = monotonic() + seconds
        while self._processes():
            if monotonic() >= until:
                return False
            if self._in_a_hurry:
                self._in_a_hurry = False
                self._send(signal.SIGINT)
            self._wait(until)
            self._reap()
        return True

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes():
            os.kill(process.pid, number)


def _told(code: int) -> dict[str, object]:
    return {"exit_code": code} if code >= 0 else {"signal": signal.strsignal(-code)}
