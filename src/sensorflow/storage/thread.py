"""One thread for one connection."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_Job = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class OwnThread:
    """Runs calls one after another in a thread of its own.

    What `ThreadPoolExecutor(1)` does, with one queue operation and one wake-up for each call
    instead of two futures, a condition and a semaphore: every commit pays for them.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Return what `call` returns in the thread, or raise what it raises."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((answer, call, arguments))
        return await answer

    def join(self) -> None:
        """Finish what is queued and end the thread. Blocks."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            answer, call, arguments = job
            result: Any = None
            failure: BaseException | None = None
            try:
                result = call(*arguments)
            except BaseException as error:
                failure = error
            answer.get_loop().call_soon_threadsafe(_settle, answer, result, failure)


def _settle(answer: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if answer.done():  # the caller was cancelled
        return
    if failure is None:
        answer.set_result(result)
    else:
        answer.set_exception(failure)
