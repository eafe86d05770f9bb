"""What the routes that ask the database share: who may ask, and what is said while it is away."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fastapi import Request

from sensorflow.errors import Reason, Refusal, StorageUnavailable
from sensorflow.web.gate import Gate

RETRY_AFTER: Final = 5
"""Seconds after which the database may be there again."""

T = TypeVar("T")


def reader(gate: Gate) -> Callable[[Request], Awaitable[None]]:
    """The dependency of a route for who may read: the read key, or a browser's session."""

    async def require_reader(request: Request) -> None:
        gate.require_reader(request.scope, dict(request.scope["headers"]), url_key=False)

    return require_reader


async def asked(answer: Awaitable[T]) -> T:
    """The storage's answer, or a `Refusal` where it is away."""
    try:
        return await answer
    except StorageUnavailable as error:
        raise away(error) from None


def away(error: StorageUnavailable) -> Refusal:
    """What is said while the database does not answer."""
    return Refusal(
        Reason.STORAGE_UNAVAILABLE,
        f"The database does not answer ({error}); ask again in a moment.",
        retry_after=RETRY_AFTER,
    )
