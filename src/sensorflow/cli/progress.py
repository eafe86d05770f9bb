"""How a delivery goes: live on a terminal, and as a summary at the end anywhere."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from sensorflow.cli.tally import RECEIPTS, Tally

REFRESH_INTERVAL: Final = 0.25

MOST_TOLD: Final = 20
"""Faults that are told one by one; a file full of them must not flood the terminal."""

_RATE_WINDOW: Final = 20
"""In refreshes; the rate shown is that of the last five seconds."""


class RecentRate:
    """How many a second, over the last refreshes."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)

    def at(self, now: float, total: int) -> float:
        """The rate now that there were so many in all; asked once a refresh."""
        self._recent.append((now, total))
        then, before = self._recent[0]
        return (total - before) / (now - then) if now > then else 0.0


class Faults:
    """Told on standard error in one line each, up to `MOST_TOLD`."""

    def __init__(self) -> None:
        self._told = 0

    def tell(self, fault: str) -> None:
        """Say what is wrong with one row."""
        self._told += 1
        if self._told <= MOST_TOLD:
            print(fault, file=sys.stderr)
        elif self._told == MOST_TOLD + 1:
            print("Further faults are only counted.", file=sys.stderr)


def bar(
    console: Console, *, auto_refresh: bool = True, transient: bool = False, disable: bool = False
) -> Progress:
    """A bar with what is done, of how many, and how long the rest takes."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=auto_refresh,
        transient=transient,
        disable=disable,
    )


class Display(Faults):
    """Shows a tally. Faults go to standard error, everything else to standard output."""

    def __init__(
        self,
        tally: Tally,
        title: str,
        console: Console | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__()
        self._tally = tally
        self._console = console or Console(highlight=False)
        self._clock = clock
        self._started = clock()
        self._rate = RecentRate()
        self._bar = bar(self._console, auto_refresh=False)
        self._title = title
        self._task = self._bar.add_task(title, total=None)

    @property
    def live(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def expect(self, total: int) -> None:
        """Show a bar that is full after so many readings."""
        self._bar.update(self._task, total=total)

    async def watch(self) -> None:
        """Keep the terminal up to date until cancelled, then leave it clean."""
        if not self.live:
            return
        with Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # A file that standard error goes to must get what belongs to it.
            redirect_stderr=sys.stderr.isatty(),
        ) as screen:
            while True:
                screen.update(self._picture(), refresh=True)
                await asyncio.sleep(REFRESH_INTERVAL)

    def summarise(self) -> None:
        """Print what became of the readings."""
        tally = self._tally
        elapsed = self._clock() - self._started
        rate = tally.answered / elapsed if elapsed else 0.0
        told = [f"{tally.answered:,} answered in {elapsed:,.1f} s, {rate:,.1f}/s", *self._times()]
        if tally.retries:
            told.append(f"{tally.retries:,} sent again")
        print(f"{self._title}: {'; '.join(told)}")
        if self.live:
            table = Table("Readings", "Answer", "For example", box=None, pad_edge=False)
            table.columns[0].justify = "right"
            for count, answer, example in self._rows():
                table.add_row(f"{count:,}", Text(answer), Text(example))
            self._console.print(table)
        else:
            for count, answer, example in self._rows():
                print(f"{count:>9,}  {answer}{f': {example}' if example else ''}")
        sys.stdout.flush()

    def _rows(self) -> Iterator[tuple[int, str, str]]:
        tally = self._tally
        for status, name in RECEIPTS.items():
            if tally.receipts[status]:
                yield tally.receipts[status], f"{status} {name}", ""
        for reason, count in tally.refused.most_common():
            yield count, f"refused, {reason}", tally.examples[reason]
        if tally.unreadable:
            yield tally.unreadable, "not readable", ""
        if tally.unanswered:
            yield tally.unanswered, "unanswered when stopped", ""

    def _picture(self) -> RenderableType:
        tally = self._tally
        counts = [f"{tally.sent:,} sent"]
        counts += [
            f"{tally.receipts[status]:,} {name}"
            for status, name in RECEIPTS.items()
            if tally.receipts[status]
        ]
        for count, name in (
            (tally.refused.total(), "refused"),
            (tally.unreadable, "not readable"),
            (tally.retries, "sent again"),
        ):
            if count:
                counts.append(f"{count:,} {name}")
        rate = self._rate.at(self._clock(), tally.answered)
        lines: list[RenderableType] = [
            Text(" · ".join(counts)),
            Text(" · ".join([f"{rate:,.1f} readings/s", *self._times()])),
        ]
        if tally.trouble:
            lines.append(Text(f"Waiting for the server: {tally.trouble}", style="yellow"))
        if self._bar.tasks[0].total is not None:
            self._bar.update(self._task, completed=tally.done)
            lines.insert(0, self._bar)
        return Group(*lines)

    def _times(self) -> list[str]:
        """The middle and the slow reply times, once there are some."""
        times = self._tally.reply_times
        quantiles = [("p50", times.quantile(0.5)), ("p99", times.quantile(0.99))]
        return [f"{name} {took * 1000:,.1f} ms" for name, took in quantiles if took is not None]
