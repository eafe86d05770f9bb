"""`sensorflow export` from one connection to the next: every line once, whatever breaks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from sensorflow.cli.fetching import ExportStopped, Fetcher, Order
from sensorflow.cli.remote import Server
from sensorflow.history.raw import Cursor
from sensorflow.web.edge import READINGS_PATH

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEAD = "\ufeffid,sensor_id,recorded_at,received_at,temperature,client_ip\r\n".encode()
FUTURE = datetime(9999, 12, 31, tzinfo=UTC)


def row(pk: int) -> bytes:
    at = (NOON + timedelta(seconds=pk)).isoformat(" ")[:-6]
    return f'{pk},"a,""b""",{at},{at},21.5,\r\n'.encode()


def line(pk: int) -> bytes:
    at = (NOON + timedelta(seconds=pk)).isoformat()
    return f'{{"id":{pk},"sensor_id":"a","recorded_at":"{at}"}}\n'.encode()


class Broken(httpx2.SyncByteStream):
    """A body that breaks after so many bytes, in parts of a few."""

    def __init__(self, body: bytes, breaks_at: int | None) -> None:
        self._body = body
        self._breaks_at = breaks_at

    def __iter__(self) -> Iterator[bytes]:
        end = len(self._body) if self._breaks_at is None else self._breaks_at
        for start in range(0, end, 7):
            yield self._body[start : min(start + 7, end)]
        if self._breaks_at is not None:
            raise httpx2.ReadError("cut off")


Answer = Callable[[httpx2.Request], httpx2.Response]


def fetcher(answer: Answer, form: str = "csv", order: Order = Order.NEWEST_FIRST) -> Fetcher:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    server = Server.at("http://127.0.0.1:1", READINGS_PATH)
    return Fetcher(client, server, [("limit", "9")], form, order, NOON, lambda: now[0], sleep)


def answering(begun: Cursor, body: bytes, breaks_at: int | None = None) -> httpx2.Response:
    headers = {"Sensorflow-Cursor": begun.text()}
    return httpx2.Response(200, headers=headers, stream=Broken(body, breaks_at))


@pytest.mark.parametrize("breaks_at", range(0, 400, 13))
@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize("order", list(Order))
def test_it_goes_on_behind_the_last_whole_line(breaks_at: int, form: str, order: Order) -> None:
    head, write = (HEAD, row) if form == "csv" else (b"", line)
    ids = list(range(1, 6)) if order is Order.BY_ID else list(range(5, 0, -1))
    begun = Cursor(5, 0, None if order is Order.BY_ID else FUTURE)
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params.get("cursor"))
        place = Cursor.of(asked[-1]) if asked[-1] else begun
        assert place.until == 5
        if place.recorded_at is None:
            left = [pk for pk in ids if pk > place.id]
        else:
            left = [
                pk
                for pk in ids
                if (NOON + timedelta(seconds=pk), pk) < (place.recorded_at, place.id)
            ]
        body = head + b"".join(write(pk) for pk in left)
        return answering(begun, body, min(breaks_at, len(body) - 1) if len(asked) < 3 else None)

    found = fetcher(answer, form, order)
    assert b"".join(found.lines()) == head + b"".join(write(pk) for pk in ids)
    assert found.readings == 5
    assert len(asked) == 3


def test_a_table_with_other_columns_is_not_mixed_in() -> None:
    begun = Cursor(5, 0, FUTURE)
    heads = iter([HEAD, HEAD.replace(b"temperature", b"temperature,co2")])

    def answer(_: httpx2.Request) -> httpx2.Response:
        body = next(heads) + row(5) + row(4)
        return answering(begun, body, len(body) - 3)

    with pytest.raises(ExportStopped, match="begin again"):
        list(fetcher(answer).lines())


def test_gaps_are_told_aside(capsys: pytest.CaptureFixture[str]) -> None:
    body = b'{"gap":{"after":0,"oldest":3}}\n' + line(3)
    found = fetcher(lambda _: answering(Cursor(3, 0, None), body), "ndjson", Order.BY_ID)
    assert b"".join(found.lines()) == line(3)
    assert "1 to 2 were removed" in capsys.readouterr().err


def test_progress_is_told_as_far_as_it_is_known() -> None:
    begun = Cursor(9, 0, FUTURE)
    found = fetcher(lambda _: answering(begun, HEAD + row(8) + row(2)))
    parts = [found.part for _ in found.lines()]
    assert parts[-1] == 0.75
    assert parts[0] is None


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (
            httpx2.Response(401, json={"reason": "key_unknown", "detail": "Wrong key."}),
            "Wrong key.",
        ),
        (httpx2.Response(200, text="hello"), "no readings"),
        (httpx2.Response(503, json={"reason": "queue_full", "detail": "Busy."}), "Busy."),
    ],
)
def test_what_cannot_be_had_ends_in_one_line(response: httpx2.Response, told: str) -> None:
    with pytest.raises(ExportStopped, match=told) as caught:
        list(fetcher(lambda _: response).lines())
    assert "\n" not in str(caught.value)
