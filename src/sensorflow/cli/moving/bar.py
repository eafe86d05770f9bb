"""How far a move has come, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from sensorflow.cli.progress import bar


@contextmanager
def moving(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar while it lasts, moved on by a call with what is done; nothing without a terminal."""
    console = Console(highlight=False)
    live = console.is_terminal and not console.is_dumb_terminal
    with bar(console, transient=True, disable=not live) as shown:
        task = shown.add_task(title, total=total)
        yield lambda done: shown.update(task, completed=done)
