"""Sending with retries, against a server that the test plays; no time passes."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from sensorflow.cli.remote import FIRST_PATIENCE, LONGEST_BACKOFF, PATIENCE, Server, backoff
from sensorflow.cli.sending import MAX_ATTEMPTS, Outgoing, Sender, SendingStopped
from sensorflow.cli.tally import Tally
from sensorflow.errors import SettingsError

READING = Outgoing(b'{"sensor_id":"attic"}', "line 7")

Reply = httpx2.Response | Exception


class Play:
    """A sender on a stage: the replies are prepared, sleeping moves the clock."""

    def __init__(self, reply: Callable[[int], Reply]) -> None:
        self.tally = Tally()
        self.now = 0.0
        self.slept: list[float] = []
        self.requests: list[httpx2.Request] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(request)
            answer = reply(len(self.requests))
            if isinstance(answer, Exception):
                raise answer
            return answer

        self._client = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
        self._sender = Sender(
            self._client, Server.at("http://h:1"), self.tally, lambda: self.now, self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.meanwhile:
            await self.meanwhile()

    async def send(self) -> None:
        await self._sender.send(READING)


def receipt(status: int) -> httpx2.Response:
    return httpx2.Response(status, json={"id": 1})


def problem(status: int, reason: str, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status,
        json={"reason": reason, "detail": f"It is {reason}."},
        headers={"content-type": "application/problem+json", **headers},
    )


def unreachable() -> Exception:
    return httpx2.ConnectError("connection refused")


@pytest.mark.parametrize("status", [200, 201, 202, 409])
async def test_a_receipt_is_counted_by_status(status: int) -> None:
    play = Play(lambda _: receipt(status))
    await play.send()
    assert play.tally.receipts == {status: 1}
    assert str(play.requests[0].url) == "http://h:1/api/temperature_reading"
    assert play.requests[0].content == READING.body


async def test_a_refusal_is_counted_by_reason_and_not_sent_again() -> None:
    play = Play(lambda _: problem(422, "clock_ahead"))
    await play.send()
    assert play.tally.refused == {"clock_ahead": 1}
    assert play.tally.examples == {"clock_ahead": "line 7: It is clock_ahead."}
    assert len(play.requests) == 1


async def test_a_refusal_of_unknown_name_is_counted_by_status() -> None:
    play = Play(lambda _: problem(422, "made_up\x1b[31m"))
    await play.send()
    assert play.tally.refused == {"http_422": 1}


async def test_what_the_server_says_cannot_steer_the_terminal() -> None:
    refusal = httpx2.Response(
        422,
        json={"reason": "conflict", "detail": "\x1b[31mred\nline" + "x" * 1000},
        headers={"content-type": "application/problem+json"},
    )
    play = Play(lambda _: refusal)
    await play.send()
    told = play.tally.examples["conflict"]
    assert told.isprintable()
    assert len(told) < 300


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        httpx2.RemoteProtocolError("left"),
        problem(503, "queue_full"),
        problem(429, "too_many_failed_keys"),
        httpx2.Response(502, text="bad gateway"),
    ],
    ids=str,
)
async def test_a_passing_fault_is_tried_again_until_it_has_passed(fault: Reply) -> None:
    play = Play(lambda attempt: fault if attempt < 4 else receipt(200))
    await play.send()
    assert play.tally.receipts == {200: 1}
    assert (play.tally.sent, play.tally.retries, play.tally.trouble) == (1, 3, None)


async def test_retry_after_is_honoured() -> None:
    in_20_seconds = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    replies = [
        problem(503, "queue_full", **{"retry-after": "7"}),
        problem(503, "queue_full", **{"retry-after": in_20_seconds}),
        problem(503, "queue_full", **{"retry-after": "soon"}),
        receipt(201),
    ]
    play = Play(lambda attempt: replies[attempt - 1])
    await play.send()
    first, second, third = play.slept
    assert 7 <= first <= 8
    assert 17 <= second <= 21
    assert third <= 1


def test_backoff_grows_up_to_a_bound_with_jitter() -> None:
    longest = [backoff(attempt, None, lambda low, high: high) for attempt in range(2000)]
    assert longest == sorted(longest)
    assert longest[-1] == LONGEST_BACKOFF
    assert [backoff(3, None, lambda low, high: low)] == [longest[3] / 2]
    assert backoff(0, 1e9) < 61


async def test_nothing_at_the_address_is_told_after_a_short_wait() -> None:
    play = Play(lambda _: unreachable())
    with pytest.raises(SendingStopped, match="nothing answers at http://h:1") as raised:
        await play.send()
    assert "--url" in str(raised.value)
    assert FIRST_PATIENCE <= play.now < 2 * FIRST_PATIENCE


async def test_a_server_that_went_away_is_waited_for_longer() -> None:
    play = Play(lambda attempt: receipt(201) if attempt == 1 else unreachable())
    await play.send()
    # A long silence between readings is no part of the outage.
    play.now += 86_400
    began = play.now
    with pytest.raises(SendingStopped, match="gave up"):
        await play.send()
    assert PATIENCE <= play.now - began <= PATIENCE + LONGEST_BACKOFF


async def test_one_reading_that_never_passes_is_given_up_while_others_do() -> None:
    # Between two attempts for the one, another reading is sent and taken.
    play = Play(lambda n: problem(503, "queue_full") if n % 2 else receipt(201))
    play.meanwhile = play.send
    await play.send()
    assert play.tally.refused == {"queue_full": 1}
    assert play.tally.receipts == {201: MAX_ATTEMPTS - 1}
    assert play.now > PATIENCE


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_not_taken_stops_at_once(status: int) -> None:
    play = Play(lambda _: problem(status, "key_unknown"))
    with pytest.raises(SendingStopped, match="API_KEY"):
        await play.send()
    assert len(play.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, text="<html>Welcome"),
        httpx2.Response(301, headers={"location": "https://h/"}),
        problem(404, "not_found"),
        httpx2.Response(500, text="oops"),
    ],
    ids=str,
)
async def test_what_is_no_sensorflow_server_stops_at_once(answer: httpx2.Response) -> None:
    play = Play(lambda _: answer)
    with pytest.raises(SendingStopped, match="not like a SensorFlow server"):
        await play.send()
    assert not play.tally.answered


@pytest.mark.parametrize(
    ("given", "shown", "address"),
    [
        ("http://h", "http://h", "http://h/api/temperature_reading"),
        ("https://h:1/base/", "https://h:1/base", "https://h:1/base/api/temperature_reading"),
        ("http://[::1]:8000", "http://[::1]:8000", "http://[::1]:8000/api/temperature_reading"),
        ("http://h/?api-key=secret", "http://h", "http://h/api/temperature_reading"),
    ],
)
def test_an_address_is_completed(given: str, shown: str, address: str) -> None:
    server = Server.at(given)
    assert (server.url, str(server.address)) == (shown, address)


def test_a_password_in_the_address_is_used_but_not_shown() -> None:
    server = Server.at("http://me:secret@h:1")
    assert server.url == "http://h:1"
    assert server.address.password == "secret"


@pytest.mark.parametrize("given", ["", "h:8000", "ftp://h", "http://", "http://h:port", "/x"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="--url"):
        Server.at(given)
