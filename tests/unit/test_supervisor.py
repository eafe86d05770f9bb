"""The supervisor with real processes: starts, deaths, and the end."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from queue import Queue
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""For whatever is waited for; on an idle machine it takes milliseconds."""


class Program:
    """`tests.supervised`, running: its lines and its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: Queue[str | None] = Queue()
        self._log: Queue[str | None] = Queue()
        self._readers = []
        for stream, queue in ((process.stdout, self._lines), (process.stderr, self._log)):
            assert stream is not None
            self._readers.append(threading.Thread(target=self._read, args=(stream, queue)))
            self._readers[-1].start()

    def _read(self, stream: IO[str], queue: "Queue[str | None]") -> None:
        for line in stream:
            queue.put(line.strip())
        queue.put(None)

    def line(self) -> str | None:
        """The next line; None when every process has ended."""
        return self._lines.get(timeout=SECONDS)

    def pid(self, *said: object) -> int:
        """The process that says this, in the next line."""
        line = self.line()
        assert line is not None
        before, _, pid = line.rpartition(" ")
        assert before == " ".join(map(str, said)), line
        return int(pid)

    def lines(self, count: int) -> set[str | None]:
        return {self.line() for _ in range(count)}

    def rest(self) -> list[str]:
        """All lines until the last process has ended."""
        rest = []
        while (line := self.line()) is not None:
            rest.append(line)
        return rest

    def death(self) -> dict[str, object]:
        """The next replacement in the log."""
        return self.logged("a worker has died and is replaced")

    def logged(self, event: str) -> dict[str, object]:
        """The next entry in the log, which is this event."""
        line = self._log.get(timeout=SECONDS)
        assert line is not None, "the program has ended"
        entry: dict[str, object] = json.loads(line)
        assert entry["event"] == event, line
        return entry

    def log_line(self) -> str | None:
        return self._log.get(timeout=SECONDS)

    def code(self) -> int:
        return self.process.wait(SECONDS)

    def end(self) -> None:
        """Kill the supervisor; the workers end with it."""
        self.process.kill()
        for reader in self._readers:
            reader.join(SECONDS)
            assert not reader.is_alive(), "a worker is left behind"


def _take_terminal() -> None:
    """Make standard input the terminal that controls this session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def supervised(
    behaviour: str,
    count: int,
    patience: dict[str, float] | None = None,
    *,
    terminal: int | None = None,
    **variables: str,
) -> Iterator[Program]:
    waits = {"stop": SECONDS, "retire": SECONDS, **(patience or {})}
    arguments = [behaviour, str(count), json.dumps(waits)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.supervised", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=terminal,
        start_new_session=terminal is not None,
        preexec_fn=None if terminal is None else _take_terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        program = Program(process)
        try:
            yield program
        finally:
            program.end()


def pids_of(program: Program, count: int) -> list[int]:
    """The workers' processes, in their order, once all have started."""
    pids = {0: program.pid("started", 0)}
    assert program.line() == "first start"
    for line in program.lines(count - 1):
        assert line is not None
        started, index, pid = line.split()
        assert started == "started"
        pids[int(index)] = int(pid)
    return [pids[index] for index in range(count)]


def test_the_first_starts_alone_and_the_others_when_it_has_reported() -> None:
    with supervised("work", 3) as program:
        assert len(set(pids_of(program, 3))) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_asked_of_all_after_the_listening_has_stopped(number: signal.Signals) -> None:
    with supervised("work", 3) as program:
        pids = pids_of(program, 3)
        program.process.send_signal(number)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}
        assert program.code() == 0
        assert program.log_line() is None


def test_ctrl_c_for_the_whole_group_is_no_death_to_replace() -> None:
    with supervised("deaf", 3) as program:
        pids = pids_of(program, 3)
        for pid in (program.process.pid, *pids):  # as a terminal does
            os.kill(pid, signal.SIGINT)
        lines = program.rest()
        assert sorted(lines) == sorted(
            ["stopping", *(f"asked {index} {pid}" for index, pid in enumerate(pids))]
        )
        assert program.code() == 0
        assert program.log_line() is None


def test_a_second_ctrl_c_is_passed_on() -> None:
    with supervised("deaf", 2) as program:
        pids = pids_of(program, 2)
        program.process.send_signal(signal.SIGINT)
        assert program.line() == "stopping"
        program.process.send_signal(signal.SIGINT)
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}
        assert program.code() == 0


def test_workers_that_do_not_end_are_killed() -> None:
    with supervised("deaf", 2, {"stop": 0.2}) as program:
        pids = pids_of(program, 2)
        os.kill(pids[0], signal.SIGSTOP)
        program.process.send_signal(signal.SIGTERM)
        assert program.rest() == ["stopping"]
        assert program.code() == 0
        line = program.log_line()
        assert line is not None
        assert json.loads(line)["pids"] == pids
        assert program.log_line() is None


def test_a_killed_worker_is_logged_and_replaced_and_the_others_stay() -> None:
    with supervised("work", 2) as program:
        pids = pids_of(program, 2)
        os.kill(pids[1], signal.SIGKILL)
        replacement = program.pid("started", 1)
        assert replacement not in pids
        death = program.death()
        assert (death["worker"], death["pid"], death["signal"]) == (1, pids[1], "Killed")
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked 0 {pids[0]}", f"asked 1 {replacement}"}


def test_a_worker_that_ends_in_order_but_unasked_is_replaced() -> None:
    with supervised("work", 1) as program:
        (pid,) = pids_of(program, 1)
        os.kill(pid, signal.SIGTERM)
        assert program.pid("asked", 0) == pid
        assert program.pid("started", 0) != pid
        assert program.death()["exit_code"] == 0


def test_deaths_soon_after_the_start_are_replaced_ever_later() -> None:
    pauses = [0.0, 0.05, 0.1, 0.2, 0.2]
    patience = {"steady": 60.0, "shortest_pause": 0.05, "longest_pause": 0.2}
    with supervised("crash", 2, patience) as program:
        pids_of(program, 2)
        deaths = [program.death() for _ in pauses]
    assert [death["after_seconds"] for death in deaths] == pauses
    assert {death["exit_code"] for death in deaths} == {3}
    times = [datetime.fromisoformat(str(death["timestamp"])) for death in deaths]
    waited = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert all(
        seconds >= pause - 0.01 for seconds, pause in zip(waited, pauses[:-1], strict=True)
    ), waited


def test_a_worker_that_was_steady_is_replaced_at_once() -> None:
    with supervised("crash", 2, {"steady": 0.0}) as program:
        pids_of(program, 2)
        assert [program.death()["after_seconds"] for _ in range(5)] == [0.0] * 5


def test_a_first_start_that_fails_ends_all_with_its_code() -> None:
    with supervised("refuse", 3) as program:
        first = program.pid("started", 0)
        assert program.line() == "first start"
        rest = program.rest()
        assert f"asked 0 {first}" in rest
        assert rest.count("stopping") == 1
        assert program.code() == 2
        assert program.log_line() is None  # the worker says why


def test_an_unforeseen_fault_at_the_first_start_is_logged_and_ends_all() -> None:
    with supervised("fail", 2) as program:
        assert program.rest() == ["stopping"]
        assert program.code() == 1
        line = program.log_line()
        assert line is not None
        assert "unforeseen" in json.loads(line)["exception"]


def test_a_worker_killed_before_its_start_is_replaced() -> None:
    with supervised("killed", 2, {"shortest_pause": 0.0}) as program:
        assert len({program.pid("killed", 0) for _ in range(3)}) == 3


def test_a_welcome_that_fails_ends_all() -> None:
    with supervised("work", 2, FIRST_START="fails") as program:
        pid = program.pid("started", 0)
        assert program.rest() == ["first start", "stopping", f"asked 0 {pid}"]
        assert program.code() == 1


def test_a_fork_that_fails_is_tried_again() -> None:
    with supervised("work", 2, FORK="fails once") as program:
        pids_of(program, 2)
        line = program.log_line()
        assert line is not None
        assert json.loads(line)["event"] == "a worker cannot be started"


def test_workers_end_when_their_supervisor_is_killed() -> None:
    with supervised("work", 3) as program:
        pids = pids_of(program, 3)
        # A replacement is forked when the pipes of the others are open.
        os.kill(pids[1], signal.SIGKILL)
        pids[1] = program.pid("started", 1)
        program.process.kill()
        assert set(program.rest()) == {f"orphaned {index} {pid}" for index, pid in enumerate(pids)}


def test_a_connection_made_while_the_worker_is_dead_is_served_by_its_replacement() -> None:
    patience = {"steady": 60.0, "shortest_pause": 1.0}
    with supervised("answer", 1, patience) as program:
        port = program.pid("listening")
        (pid,) = pids_of(program, 1)
        for pause in (0.0, 1.0):
            os.kill(pid, signal.SIGKILL)
            assert program.death()["after_seconds"] == pause
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
                answered_by = int(connection.recv(100))
            assert answered_by != pid
            pid = answered_by
            assert program.pid("started", 0) == pid


# Rolling restarts


def roll(program: Program) -> None:
    program.process.send_signal(signal.SIGHUP)
    assert program.line() == "renewing"


GIVEN_UP = "the rolling restart is given up: a new worker did not start; the others stay"


def test_workers_are_replaced_one_after_another_each_after_its_successor_has_started() -> None:
    with supervised("work", 3, RENEW="work") as program:
        pids = pids_of(program, 3)
        for _ in range(2):
            roll(program)
            for index in range(3):
                successor = program.pid("started", index)
                # By now two processes are at work in this place.
                assert program.pid("retired", index) == pids[index]
                pids[index] = successor
            assert program.logged("rolling restart")["workers"] == 3
            program.logged("rolling restart done")
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}
        assert program.code() == 0


def test_what_cannot_be_renewed_stays_as_it_is() -> None:
    with supervised("work", 2) as program:
        pids = pids_of(program, 2)
        roll(program)
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}
        assert program.log_line() is None


def test_a_successor_that_does_not_start_ends_the_rolling_restart_and_no_worker() -> None:
    with supervised("work", 3, RENEW="refuse_second") as program:
        pids = pids_of(program, 3)
        roll(program)
        successor = program.pid("started", 0)
        assert program.pid("retired", 0) == pids[0]
        pids[0] = successor
        program.logged("rolling restart")
        given_up = program.logged(GIVEN_UP)
        assert (given_up["worker"], given_up["exit_code"]) == (1, 2)
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}


def test_a_successor_that_hangs_is_killed() -> None:
    with supervised("work", 2, {"start": 0.2}, RENEW="hang") as program:
        pids = pids_of(program, 2)
        roll(program)
        successor = program.pid("hanging", 0)
        program.logged("rolling restart")
        assert program.logged("a worker takes too long and is killed")["pid"] == successor
        assert program.logged(GIVEN_UP)["signal"] == "Killed"
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}


def test_a_worker_that_does_not_leave_is_killed_and_the_rolling_restart_goes_on() -> None:
    with supervised("stay", 2, {"retire": 0.2}, RENEW="stay") as program:
        pids = pids_of(program, 2)
        roll(program)
        program.logged("rolling restart")
        for index, pid in enumerate(pids):
            assert program.pid("started", index) != pid
            assert program.logged("a worker takes too long and is killed")["pid"] == pid
        program.logged("rolling restart done")


def test_a_worker_that_dies_while_its_successor_starts_is_not_replaced_twice() -> None:
    with supervised("work", 2, {"start": 0.5}, RENEW="hang") as program:
        pids = pids_of(program, 2)
        roll(program)
        program.pid("hanging", 0)
        program.logged("rolling restart")
        os.kill(pids[0], signal.SIGKILL)
        assert program.death()["pid"] == pids[0]
        # Only when nothing has come of the successor.
        program.logged("a worker takes too long and is killed")
        program.logged(GIVEN_UP)
        assert program.pid("started", 0) not in pids


def test_an_end_amid_a_rolling_restart_ends_the_successor_too() -> None:
    with supervised("work", 2, RENEW="hang") as program:
        pids = pids_of(program, 2)
        roll(program)
        program.pid("hanging", 0)
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}
        assert program.code() == 0


def test_sighup_before_the_first_start_waits_for_it() -> None:
    with supervised("killed", 1, {"shortest_pause": 0.0}, RENEW="work") as program:
        program.pid("killed", 0)
        program.process.send_signal(signal.SIGHUP)
        assert len({program.pid("killed", 0) for _ in range(3)}) == 3  # and no "renewing"


def test_sighup_to_a_worker_changes_nothing() -> None:
    with supervised("work", 2) as program:
        pids = pids_of(program, 2)
        os.kill(pids[0], signal.SIGHUP)
        program.process.send_signal(signal.SIGTERM)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}


def test_a_terminal_that_is_closed_ends_all() -> None:
    ours, theirs = os.openpty()
    with supervised("work", 2, RENEW="work", terminal=theirs) as program:
        os.close(theirs)
        pids = pids_of(program, 2)
        os.close(ours)
        assert program.line() == "stopping"
        assert set(program.rest()) == {f"asked {index} {pid}" for index, pid in enumerate(pids)}
        assert program.code() == 0
