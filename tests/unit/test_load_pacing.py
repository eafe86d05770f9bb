"""When readings are due, by a clock that the test moves."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from sensorflow.cli.pacing import MAX_ARREARS, RecordedPace, SteadyPace

START = datetime(2013, 1, 1, tzinfo=UTC)


class HandClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_a_steady_pace_spaces_readings_evenly(clock: HandClock) -> None:
    pace = SteadyPace(4.0, clock)
    waits = []
    for _ in range(4):
        wait = pace.wait()
        waits.append(wait)
        clock.now += wait
    assert waits == [0.0, 0.25, 0.25, 0.25]


def test_a_steady_pace_makes_up_for_small_delays(clock: HandClock) -> None:
    pace = SteadyPace(4.0, clock)
    pace.wait()
    clock.now += 0.5
    assert [pace.wait(), pace.wait(), pace.wait()] == [0.0, 0.0, 0.25]


def test_a_steady_pace_does_not_make_up_for_an_outage(clock: HandClock) -> None:
    pace = SteadyPace(4.0, clock)
    clock.now += 3600
    at_once = 0
    while not pace.wait():
        at_once += 1
    assert at_once == MAX_ARREARS * 4 + 1


def test_a_rate_of_zero_never_waits(clock: HandClock) -> None:
    pace = SteadyPace(0.0, clock)
    assert [pace.wait() for _ in range(100)] == [0.0] * 100


def test_recorded_time_is_kept_and_compressed(clock: HandClock) -> None:
    real, hour_a_second = RecordedPace(1.0, clock), RecordedPace(3600.0, clock)
    assert (real.wait(START), hour_a_second.wait(START)) == (0.0, 0.0)
    later = START + timedelta(hours=2)
    assert (real.wait(later), hour_a_second.wait(later)) == (7200.0, 2.0)
    clock.now += 1.5
    assert (real.wait(later), hour_a_second.wait(later)) == (7198.5, 0.5)


def test_what_is_late_or_out_of_order_is_due_at_once(clock: HandClock) -> None:
    pace = RecordedPace(1.0, clock)
    pace.wait(START)
    clock.now += 10
    assert pace.wait(START + timedelta(seconds=5)) == 0.0
    assert pace.wait(START - timedelta(days=1)) == 0.0
    # The delay was not added to what follows.
    assert pace.wait(START + timedelta(seconds=15)) == 5.0


def test_at_the_greatest_speed_nothing_waits(clock: HandClock) -> None:
    pace = RecordedPace(math.inf, clock)
    pace.wait(START)
    assert pace.wait(START + timedelta(days=365)) == 0.0
