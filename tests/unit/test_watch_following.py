"""Following the stream from one connection to the next; no time passes."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import httpx2
import pytest

from sensorflow.cli.following import (
    MAX_EVENT,
    Event,
    Follower,
    FollowingStopped,
    events,
)
from sensorflow.cli.remote import FIRST_PATIENCE, LONGEST_BACKOFF, PATIENCE, Server

STREAM = {"content-type": "text/event-stream"}

Reply = httpx2.Response | Exception


class Play:
    """A follower on a stage: the replies are prepared, sleeping moves the clock."""

    def __init__(
        self,
        reply: Callable[[int], Reply],
        sensors: Iterable[str] = (),
        since: int | None = None,
    ) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.asked: list[list[tuple[str, str]]] = []
        self.changes: list[str | None] = []

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.asked.append(request.url.params.multi_items())
            answer = reply(len(self.asked))
            if isinstance(answer, Exception):
                raise answer
            return answer

        self._follower = Follower(
            httpx2.Client(transport=httpx2.MockTransport(handle)),
            Server.at("http://h:1", "/api/stream"),
            sensors,
            since,
            self.changes.append,
            lambda: self.now,
            self._sleep,
        )
        self.payloads = self._follower.payloads()

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def take(self, number: int) -> list[bytes]:
        return list(islice(self.payloads, number))


class Stream(httpx2.SyncByteStream):
    """Bytes as they come, and an end, or a fault."""

    def __init__(self, *chunks: bytes, fault: Exception | None = None) -> None:
        self._chunks = chunks
        self._fault = fault

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._fault:
            raise self._fault


def stream(*chunks: bytes, fault: Exception | None = None) -> httpx2.Response:
    return httpx2.Response(200, headers=STREAM, stream=Stream(*chunks, fault=fault))


def problem(status: int, reason: str, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status,
        json={"reason": reason, "detail": f"It is {reason}."},
        headers={"content-type": "application/problem+json", **headers},
    )


def event(pk: int) -> bytes:
    return b'id: %d\ndata: {"id":%d}\n\n' % (pk, pk)


def test_events_are_whole_however_the_bytes_are_cut() -> None:
    sent = (
        b'retry: 1000\n\nid: 7\ndata: {"a":1}\n\n: \nid: 9\n\ndata: x:y\n\n: bye\n\nid: 10\ndata:'
    )
    expected = [
        Event(7, b'{"a":1}'),
        Event(9, None),
        Event(None, b"x:y"),
    ]
    assert list(events([sent])) == expected
    assert list(events(sent[n : n + 1] for n in range(len(sent)))) == expected


def test_an_id_that_is_no_cursor_counts_for_nothing() -> None:
    assert list(events([b"id: x\n\nid: -1\n\nid: " + b"9" * 5000 + b"\n\n"])) == []


def test_an_event_without_end_is_not_collected() -> None:
    with pytest.raises(FollowingStopped, match="not the stream"):
        list(events([b"data: "] + [b"x" * 1024] * (MAX_EVENT // 1024 + 1)))


def test_it_resumes_with_the_cursor_whatever_ended_the_connection() -> None:
    replies: list[Reply] = [
        stream(event(4), b"id: 5\nda", fault=httpx2.ReadError("reset")),
        httpx2.ConnectError("refused"),
        problem(502, "x"),
        stream(event(5), b'data: {"id":null}\n\n: \nid: 8\n\n'),
        stream(event(9)),
    ]
    play = Play(lambda n: replies[n - 1], sensors=["a", "b"])
    assert play.take(4) == [b'{"id":4}', b'{"id":5}', b'{"id":null}', b'{"id":9}']
    sensors = [("sensor_id", "a"), ("sensor_id", "b")]
    since = [dict(asked).get("since") for asked in play.asked]
    assert since == [None, "4", "4", "4", "8"]
    assert all(asked[:2] == sensors for asked in play.asked)
    assert play.changes == [
        None,
        "reset",
        "refused",
        "The server answered 502.",
        None,
        "the server has ended the stream",
        None,
    ]


def test_it_begins_where_it_is_told() -> None:
    play = Play(lambda _: stream(event(1)), since=0)
    play.take(1)
    assert play.asked == [[("since", "0")]]


def test_once_connected_it_never_gives_up_and_does_not_hurry() -> None:
    play = Play(lambda n: stream(event(n)) if n in (1, 500) else httpx2.ConnectError("away"))
    assert play.take(2) == [b'{"id":1}', b'{"id":500}']
    assert play.now > PATIENCE
    assert play.slept[0] < 1
    assert LONGEST_BACKOFF / 2 <= play.slept[-1] <= LONGEST_BACKOFF


def test_a_server_that_ends_each_stream_at_once_is_not_hurried_either() -> None:
    play = Play(lambda n: stream(event(1)) if n == 20 else stream(b"retry: 1000\n\n"))
    play.take(1)
    assert play.slept[-1] >= LONGEST_BACKOFF / 2


def test_it_waits_as_long_as_it_is_asked_to() -> None:
    full = {"retry-after": "30"}
    play = Play(lambda n: stream(event(1)) if n > 1 else problem(429, "queue_full", **full))
    play.take(1)
    assert play.slept[0] >= 30


def test_a_stream_that_was_set_back_is_watched_from_its_newest() -> None:
    replies = [stream(event(9)), problem(422, "cursor_ahead"), stream(event(2))]
    play = Play(lambda n: replies[n - 1])
    assert play.take(2) == [b'{"id":9}', b'{"id":2}']
    assert play.asked == [[], [("since", "9")], []]
    assert "begin anew" in str(play.changes[2])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (problem(401, "key_unknown"), "does not take the key (401)"),
        (problem(403, "key_not_allowed"), "does not take the key (403)"),
        (problem(422, "cursor_ahead"), "refuses: It is cursor_ahead."),
        (problem(422, "too_many_sensors"), "refuses: It is too_many_sensors."),
        (problem(404, "not_found"), "not like a SensorFlow server (404 at /api/stream)"),
        (httpx2.Response(200, text="hello"), "not like a SensorFlow server (200 at /api/stream)"),
    ],
)
def test_what_cannot_be_followed_is_told_at_once(reply: Reply, said: str) -> None:
    play = Play(lambda _: reply)
    with pytest.raises(FollowingStopped) as stopped:
        next(play.payloads)
    assert said in str(stopped.value)
    assert play.slept == []
    assert play.changes == []


def test_a_key_that_is_no_longer_good_ends_it() -> None:
    play = Play(lambda n: stream(event(1)) if n == 1 else problem(401, "key_unknown"))
    assert play.take(1)
    with pytest.raises(FollowingStopped):
        next(play.payloads)


@pytest.mark.parametrize(
    ("reply", "patience", "said"),
    [
        (httpx2.ConnectError("refused"), FIRST_PATIENCE, "nothing answers at http://h:1 (refused)"),
        (httpx2.ReadTimeout(""), FIRST_PATIENCE, "nothing answers at http://h:1 (ReadTimeout)"),
        (problem(503, "shutting_down"), PATIENCE, "gave up: for 60 seconds http://h:1"),
    ],
)
def test_a_server_that_never_streams_is_given_up(reply: Reply, patience: float, said: str) -> None:
    play = Play(lambda _: reply)
    with pytest.raises(FollowingStopped) as stopped:
        next(play.payloads)
    assert said in str(stopped.value)
    assert patience <= play.now <= patience + LONGEST_BACKOFF
