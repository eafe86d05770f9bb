"""Work that can wait a little, spread over the turns of the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

TURN: Final = 0.002
"""Seconds of such work in one turn; between two turns everything else has its own."""


class Turns:
    """Does each thing in order. For one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, call: Callable[[], None]) -> None:
        """Have it called soon, after what waits already. It must not raise."""
        self._waiting.append(call)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        end = perf_counter() + TURN
        while True:
            self._waiting[0]()
            self._waiting.popleft()
            if not self._waiting:
                return
            if perf_counter() >= end:
                asyncio.get_running_loop().call_soon(self._turn)
                return
