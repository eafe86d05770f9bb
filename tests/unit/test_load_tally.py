"""Counting what became of readings, and showing it."""

import io

import pytest
from rich.console import Console

from sensorflow.cli.progress import MOST_TOLD, Display
from sensorflow.cli.tally import ReplyTimes, Tally


def test_quantiles_are_at_most_a_tenth_too_high() -> None:
    times = ReplyTimes()
    for milliseconds in range(1, 1001):
        times.add(milliseconds / 1000)
    for share, exact in ((0.001, 0.001), (0.5, 0.5), (0.99, 0.99), (1.0, 1.0)):
        quantile = times.quantile(share)
        assert quantile is not None
        assert exact <= quantile * 1.000001
        assert quantile <= exact * 1.1000001


def test_there_is_no_quantile_before_the_first_reply() -> None:
    assert ReplyTimes().quantile(0.5) is None


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_times_beyond_the_histogram_count_at_its_ends(seconds: float) -> None:
    times = ReplyTimes()
    times.add(seconds)
    quantile = times.quantile(0.5)
    assert quantile is not None
    assert 0.0001 <= quantile <= 111


def test_what_is_taken_is_no_failure() -> None:
    tally = Tally()
    for status in (201, 202, 200):
        tally.receipt(status, 0.001)
    assert (tally.answered, tally.done, tally.failed) == (3, 3, False)


def test_conflicts_refusals_and_unreadable_rows_are_failures() -> None:
    conflict, refusal, unreadable = Tally(), Tally(), Tally()
    conflict.receipt(409, 0.001)
    refusal.refuse("clock_ahead", "line 7: ahead")
    refusal.refuse("clock_ahead", "line 8: ahead")
    unreadable.unreadable += 1
    assert conflict.failed
    assert refusal.failed
    assert unreadable.failed
    assert refusal.examples == {"clock_ahead": "line 7: ahead"}
    assert (refusal.answered, unreadable.answered, unreadable.done) == (2, 0, 1)


def filled_tally() -> Tally:
    tally = Tally()
    tally.sent = 1236
    for _ in range(1234):
        tally.receipt(201, 0.002)
    tally.refuse("clock_ahead", "line 7: recorded_at is [bold]ahead[/bold].")
    tally.unanswered = 1
    return tally


def test_without_a_terminal_the_summary_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter((100.0, 110.0))
    Display(filled_tally(), "a.csv", Console(file=io.StringIO()), lambda: next(times)).summarise()
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("a.csv: 1,235 answered in 10.0 s, 123.5/s; p50 2.")
    assert lines == [
        "    1,234  201 stored",
        "        1  refused, clock_ahead: line 7: recorded_at is [bold]ahead[/bold].",
        "        1  unanswered when stopped",
    ]


async def test_without_a_terminal_nothing_is_drawn() -> None:
    drawn = io.StringIO()
    await Display(filled_tally(), "a.csv", Console(file=drawn)).watch()
    assert drawn.getvalue() == ""


async def test_a_terminal_is_kept_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    tally = filled_tally()
    tally.trouble = "connection refused [bold]"
    display = Display(tally, "a.csv", console)
    display.expect(5000)

    class Enough(Exception):
        pass

    async def end(seconds: float) -> None:
        raise Enough

    monkeypatch.setattr("sensorflow.cli.progress.asyncio.sleep", end)
    with pytest.raises(Enough):
        await display.watch()
    for shown in ("1235/5000", "1,234 stored", "1 refused", "p99", "connection refused [bold]"):
        assert shown in drawn.getvalue()


def test_a_flood_of_faults_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Tally(), "a.csv", Console(file=io.StringIO()))
    for line in range(1000):
        display.tell(f"line {line}: bad")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1] == "Further faults are only counted."
