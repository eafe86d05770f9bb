"""The tasks that run beside the requests: named, watched, and stopped."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Background:
    """Named tasks that are meant to run until they are told to end.

    One that ends by itself is a fault nobody could repair while running: it is logged, and
    `on_failure` is called so that the process stops and is started anew.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[None], Callable[[], None]] = {}
        self._stopping = False

    def start(self, name: str, run: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
        """Run a task; `stop` asks it to finish."""
        task = asyncio.create_task(run, name=name)
        self._tasks[task] = stop
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ask every task to finish and wait until it has."""
        self._stopping = True
        for stop in self._tasks.values():
            stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        log.critical("background task ended", task=task.get_name(), exc_info=error)
        self._on_failure()
