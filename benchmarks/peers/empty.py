"""The limit: an ASGI app that reads the body and answers 201, on the uvicorn that we serve with.

`empty.py PORT SIZE` answers with SIZE bytes, and with the headers that a real receipt has.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def create_app(size: int) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """An app whose every answer is a 201 with `size` bytes."""
    body = b"x" * size
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]

    async def app(_: Message, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main(port: int, size: int) -> None:
    """Serve on loopback with the settings of `sensorflow serve`, as far as they matter here."""
    uvicorn.run(
        create_app(size),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        backlog=4096,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
