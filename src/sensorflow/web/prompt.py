"""Requests that are answered without a task of their own.

A request on the hot path waits for one thing only, the commit. A task that waits for it, a
coroutine for each layer that the task goes through, and an event that tells it of the body cost a
quarter of what the whole request does; a callback costs none of it.
"""

from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, ClassVar, Final, Protocol

import msgspec
import structlog

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.receipts import Answer
from sensorflow.metrics import Metrics
from sensorflow.metrics.instruments import Route
from sensorflow.web import asgi
from sensorflow.web.proxies import Proxies

Response = tuple[int, asgi.Headers, bytes]
"""The headers hold the body's length."""

log = structlog.get_logger()


class _Nobody:
    """In place of the event that tells a task of the body or of the connection's end."""

    def set(self) -> None:
        """Tells nobody."""


class PromptCycle(msgspec.Struct, gc=False):
    """One request under way on a connection: what uvicorn's protocol asks of its own cycles."""

    route: "PromptRoute"
    scope: Any
    headers: dict[bytes, bytes]
    default_headers: asgi.Headers
    keep_alive: bool
    body: bytes = b""
    more_body: bool = True
    disconnected: bool = False
    response_started: bool = False
    response_complete: bool = False
    message_event: ClassVar[_Nobody] = _Nobody()


Respond = Callable[[PromptCycle, int, asgi.Headers, bytes], None]
"""Sends the whole response to one request."""


class Endpoint(Protocol):
    """What can be asked in this way, besides as an ASGI application with the same outcome."""

    @property
    def longest(self) -> int:
        """Bytes of body that it takes."""

    def begin(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[Future[list[Answer]], int]:
        """Submit what the body holds; the second is for `finish`. Raises `Refusal`."""

    def finish(self, answers: list[Answer], ignored: int) -> Response:
        """The response, when what was submitted is durable. Raises `Refusal`."""


class PromptRoute:
    """One path's endpoint, and where its requests are counted."""

    def __init__(
        self, endpoint: Endpoint, route: Route, metrics: Metrics, proxies: Proxies | None
    ) -> None:
        self.longest: Final = endpoint.longest
        self._endpoint = endpoint
        self._route = route
        self._metrics = metrics
        self._proxies = proxies

    def take(self, cycle: PromptCycle, respond: Respond) -> None:
        """Have a whole POST request answered, once, in one of the event loop's next turns."""
        began = perf_counter()
        try:
            if self._proxies is not None:
                self._proxies.unwrap(cycle.scope)
            submitted, ignored = self._endpoint.begin(cycle.scope, cycle.headers, cycle.body)
        except Exception as error:
            # Not now: what came with the request is parsed first, as behind one that is taken.
            get_running_loop().call_soon(self._fail, error, cycle, respond, began)
            return

        def settle(done: Future[list[Answer]]) -> None:
            try:
                response = self._endpoint.finish(done.result(), ignored)
            except (Exception, CancelledError) as error:
                self._fail(error, cycle, respond, began)
                return
            self._answer(response, cycle, respond, began)

        submitted.add_done_callback(settle)

    def _fail(
        self, error: BaseException, cycle: PromptCycle, respond: Respond, began: float
    ) -> None:
        if not isinstance(error, Refusal):
            log.error("a request failed", exc_info=error)
            error = Refusal(Reason.INTERNAL_ERROR, "The server failed; its log says why.")
        self._answer(asgi.refused(self._metrics, error), cycle, respond, began)

    def _answer(
        self, response: Response, cycle: PromptCycle, respond: Respond, began: float
    ) -> None:
        status, headers, body = response
        # Counted first: who has the answer finds it in the counts, whichever worker tells them.
        self._route.answered(status, perf_counter() - began)
        respond(cycle, status, headers, body)
