"""A small program under a supervisor: `python -m tests.supervised BEHAVIOUR COUNT PATIENCE`.

Its standard output tells what happens, a line each; its log is JSON.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

from sensorflow.cli.patience import Patience
from sensorflow.cli.processes import RETIRE, Work, Worker
from sensorflow.cli.supervisor import Supervisor
from sensorflow.logs import configure_logging

wakes: list[int] = []
"""What a signal makes readable in this process."""


def say(*words: object) -> None:
    # One write a line, so that the lines of several processes do not mix.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def end_at(number: signal.Signals, worker: Worker, word: str = "asked") -> None:
    def end(_: int, __: FrameType | None) -> None:
        say(word, worker.index, os.getpid())
        sys.exit(0)

    # Without it a signal that arrives just before a select would not end that.
    worker_wakes, wakes_end = os.pipe()
    os.set_blocking(wakes_end, False)
    signal.set_wakeup_fd(wakes_end)
    wakes.append(worker_wakes)
    signal.signal(number, end)


def first_readable(*files: int) -> int:
    """Wait for one of the files, or for a signal, whose handler then runs."""
    return select.select([*files, *wakes], [], [])[0][0]


def start(worker: Worker) -> None:
    say("started", worker.index, os.getpid())
    worker.report_started()


def work(worker: Worker) -> None:
    """Do nothing, until asked to end or orphaned."""
    end_at(signal.SIGTERM, worker)
    end_at(RETIRE, worker, "retired")
    start(worker)
    first_readable(worker.lifeline)
    say("orphaned", worker.index, os.getpid())


def deaf(worker: Worker) -> None:
    """End at SIGINT only."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_at(signal.SIGINT, worker)
    start(worker)
    first_readable(worker.lifeline)


def crash(worker: Worker) -> None:
    """Fail soon after the start, all but the first."""
    if worker.index == 0:
        work(worker)
    else:
        start(worker)
        sys.exit(3)


def refuse(worker: Worker) -> None:
    """Fail before the start, all but the first."""
    if worker.index == 0:
        work(worker)
    else:
        say("refused", worker.index, os.getpid())
        sys.exit(2)


def fail(worker: Worker) -> None:
    """Fail by a fault that nobody foresaw."""
    raise RuntimeError("unforeseen")


def killed(worker: Worker) -> None:
    """Be killed before the start."""
    say("killed", worker.index, os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def answer(worker: Worker) -> None:
    """Tell each caller which process takes the call."""
    end_at(signal.SIGTERM, worker)
    start(worker)
    while first_readable(worker.lifeline, listener.fileno()) != worker.lifeline:
        connection, _ = listener.accept()
        connection.sendall(str(os.getpid()).encode())
        connection.close()


def stay(worker: Worker) -> None:
    """Do not end when there is a successor."""
    signal.signal(RETIRE, signal.SIG_IGN)
    end_at(signal.SIGTERM, worker)
    start(worker)
    first_readable(worker.lifeline)


def refuse_second(worker: Worker) -> None:
    """Fail before the start, but not as the first of them."""
    if worker.index == 1:
        sys.exit(2)
    work(worker)


def hang(worker: Worker) -> None:
    """Never start."""
    say("hanging", worker.index, os.getpid())
    first_readable(worker.lifeline)


BEHAVIOURS: dict[str, Callable[[Worker], None]] = {
    function.__name__: function
    for function in (
        work,
        deaf,
        crash,
        refuse,
        fail,
        killed,
        answer,
        stay,
        refuse_second,
        hang,
    )
}


def first_start() -> bool:
    say("first", "start")
    return os.environ.get("FIRST_START") != "fails"


def renew() -> Work | None:
    """What the variable RENEW says."""
    say("renewing")
    return BEHAVIOURS.get(os.environ.get("RENEW", ""))


def fork_fails_once() -> None:
    fork = os.fork

    def no_fork() -> int:
        os.fork = fork
        raise BlockingIOError(11, "Resource temporarily unavailable")

    os.fork = no_fork


if __name__ == "__main__":
    configure_logging("info", "json")
    behaviour, count, patience = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    if behaviour == "answer":
        say("listening", listener.getsockname()[1])
    if os.environ.get("FORK") == "fails once":
        fork_fails_once()
    supervisor = Supervisor(
        BEHAVIOURS[behaviour],
        int(count),
        Patience(**json.loads(patience)),
        on_first_start=first_start,
        on_stop=lambda: say("stopping"),
        renew=renew,
    )
    sys.exit(supervisor.run())
