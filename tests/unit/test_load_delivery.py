"""The way from a source of readings to the senders."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from sensorflow.cli import delivery as delivery_module
from sensorflow.cli.delivery import Delivery
from sensorflow.cli.sending import Outgoing, SendingStopped
from sensorflow.cli.tally import Tally
from tests.helpers import eventually


async def source(number: int, taken: list[int] | None = None) -> AsyncIterator[Outgoing]:
    for n in range(number):
        if taken is not None:
            taken.append(n)
        yield Outgoing(b"%d" % n)


async def watch() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("number", [0, 1, 2, 100])
@pytest.mark.parametrize("concurrency", [1, 7])
async def test_everything_is_sent_once_by_so_many_at_a_time(number: int, concurrency: int) -> None:
    sent: list[bytes] = []
    under_way = 0
    most = 0

    async def send(outgoing: Outgoing) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        sent.append(outgoing.body)

    delivery = Delivery(send, Tally(), concurrency)
    await delivery.run(source(number), watch)
    assert sorted(map(int, sent)) == list(range(number))
    assert most <= concurrency
    assert (delivery.interrupted, delivery.stopped) == (False, None)


async def test_a_refused_key_is_tried_once_not_by_every_sender() -> None:
    attempts = 0

    async def send(outgoing: Outgoing) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.01)
        raise SendingStopped("wrong key")

    delivery = Delivery(send, Tally(), 16)
    await delivery.run(source(1000), watch)
    assert attempts == 1
    assert str(delivery.stopped) == "wrong key"


async def test_no_more_is_read_than_the_queue_holds_while_nothing_is_sent() -> None:
    taken: list[int] = []

    async def send(outgoing: Outgoing) -> None:
        await asyncio.Event().wait()

    delivery = Delivery(send, Tally(), 4)
    run = asyncio.create_task(delivery.run(source(1_000_000, taken), watch), name="run")
    await eventually(lambda: len(taken) >= 10)
    await asyncio.sleep(0.02)
    assert len(taken) <= 10
    run.cancel()
    await asyncio.wait([run])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_after_a_signal_answers_under_way_still_count(number: int) -> None:
    release = asyncio.Event()
    started = answered = 0

    async def send(outgoing: Outgoing) -> None:
        nonlocal started, answered
        started += 1
        if started > 1:
            await release.wait()
        answered += 1

    tally = Tally()
    delivery = Delivery(send, tally, 3)
    run = asyncio.create_task(delivery.run(source(1000), watch), name="run")
    await eventually(lambda: started == 4)
    os.kill(os.getpid(), number)
    await eventually(lambda: delivery.interrupted)
    release.set()
    await run
    assert started == answered == 4
    assert tally.unanswered == 0


async def test_answers_that_do_not_come_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery_module, "GRACE", 0.01)
    started = 0

    async def send(outgoing: Outgoing) -> None:
        nonlocal started
        started += 1
        if started > 1:
            await asyncio.Event().wait()

    tally = Tally()
    delivery = Delivery(send, tally, 3)
    run = asyncio.create_task(delivery.run(source(1000), watch), name="run")
    await eventually(lambda: started == 4)
    os.kill(os.getpid(), signal.SIGINT)
    await run
    assert delivery.interrupted
    assert tally.unanswered == 3
