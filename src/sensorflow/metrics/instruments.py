"""What counts on a board: as cheap as it can be where it counts, added up where it is asked."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isnan, nan
from typing import Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from sensorflow.metrics.board import CELLS, Board

OTHER: Final = "other"
"""The label of everything that has none of its own."""


class Instrument(Protocol):
    """What one name stands for."""

    def collect(self) -> Metric:
        """All processes' numbers as one."""


class Sheet:
    """Gives out the cells of this process's page; every process gives them out alike."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.cells = board.join()
        self._next = 1

    def take(self, count: int) -> int:
        """The first of so many cells."""
        first = self._next
        self._next += count
        assert self._next <= CELLS, "there are more numbers than a page has cells"
        return first

    def total(self, cell: int) -> float:
        """What all processes that ever were have counted there."""
        return sum(page[cell] for page in self.board.pages)


class Count:
    """Only goes up."""

    def __init__(self, sheet: Sheet) -> None:
        self._cells = sheet.cells
        self._cell = sheet.take(1)
        self._sheet = sheet

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self._cells[self._cell] += amount

    def total(self) -> float:
        """Over all processes."""
        return self._sheet.total(self._cell)


class Counter(Count):
    """A count by itself."""

    def __init__(self, sheet: Sheet, name: str, help: str) -> None:  # noqa: A002
        super().__init__(sheet)
        self._name = name
        self._help = help

    def collect(self) -> Metric:
        return CounterMetricFamily(self._name, self._help, self.total())


class Counters:
    """Counts that differ in one label, of a fixed list of values and `other`."""

    def __init__(
        self,
        sheet: Sheet,
        name: str,
        help: str,  # noqa: A002
        label: str,
        values: Iterable[str],
    ) -> None:
        self._name = name
        self._help = help
        self._label = label
        self._counts = {value: Count(sheet) for value in values}
        self._other = Count(sheet)

    def labels(self, value: str) -> Count:
        """The count of this value."""
        return self._counts.get(value, self._other)

    def collect(self) -> Metric:
        family = CounterMetricFamily(self._name, self._help, labels=[self._label])
        for value, count in self._counts.items():
            family.add_metric([value], count.total())
        if other := self._other.total():
            family.add_metric([OTHER], other)
        return family


class Distribution:
    """How often a value was how large."""

    def __init__(self, sheet: Sheet, bounds: Sequence[float]) -> None:
        """`bounds` are the buckets' upper ones; beyond the last is one more."""
        self._sheet = sheet
        self._cells = sheet.cells
        self._bounds = bounds
        self._first = sheet.take(len(bounds) + 1)
        self._sum = sheet.take(1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._cells[self._first + bisect_left(self._bounds, value)] += 1
        self._cells[self._sum] += value

    def total(self) -> tuple[list[tuple[str, float]], float]:
        """The buckets, each with those below it, and the sum, over all processes."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        counts = (self._sheet.total(self._first + n) for n in range(len(names)))
        return list(zip(names, accumulate(counts), strict=True)), self._sheet.total(self._sum)


class Histogram(Distribution):
    """A distribution by itself."""

    def __init__(self, sheet: Sheet, name: str, help: str, bounds: Sequence[float]) -> None:  # noqa: A002
        super().__init__(sheet, bounds)
        self._name = name
        self._help = help

    def collect(self) -> Metric:
        buckets, total = self.total()
        return HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=total)


class Gauge:
    """Goes up and down: what a function tells in each process that lives, `combine`d.

    A process without a function adds 0 to a sum, and has no part in anything else.
    """

    def __init__(
        self,
        sheet: Sheet,
        name: str,
        help: str,  # noqa: A002
        combine: Callable[[Iterable[float]], float] = sum,
    ) -> None:
        self._name = name
        self._help = help
        self._combine = combine
        self._board = sheet.board
        self._cells = sheet.cells
        self._cell = sheet.take(1)
        self._cells[self._cell] = 0 if combine is sum else nan
        self._function: Callable[[], float] | None = None

    def set_function(self, function: Callable[[], float]) -> None:
        """Have it tell what `function` returns."""
        self._function = function
        self.refresh()

    def refresh(self) -> None:
        """Let the other processes see what it is now."""
        if self._function is not None:
            self._cells[self._cell] = self._function()

    def total(self) -> float | None:
        """Over all processes; None where none has a function."""
        self.refresh()
        known = [page[self._cell] for page in self._board.living() if not isnan(page[self._cell])]
        return self._combine(known) if known else None

    def collect(self) -> Metric:
        return GaugeMetricFamily(self._name, self._help, self.total())


class Route(Distribution):
    """The requests of one route: how long they took, and how often each status was the answer."""

    def __init__(self, sheet: Sheet, statuses: Sequence[int], bounds: Sequence[float]) -> None:
        super().__init__(sheet, bounds)
        self._statuses = {status: sheet.take(1) for status in statuses}
        self._other = sheet.take(1)

    def began(self, status: int) -> None:
        """Count an answer after which the connection goes on."""
        self._cells[self._statuses.get(status, self._other)] += 1

    def answered(self, status: int, seconds: float) -> None:
        """Count a response, and the time from the request to its end."""
        # Every reading passes here; a call for each line would double what it costs.
        cells = self._cells
        cells[self._statuses.get(status, self._other)] += 1
        cells[self._first + bisect_left(self._bounds, seconds)] += 1
        cells[self._sum] += seconds

    def totals(self) -> Iterator[tuple[str, float]]:
        """Each status that was ever answered, and how often."""
        named = [(str(status), cell) for status, cell in self._statuses.items()]
        for status, cell in [*named, (OTHER, self._other)]:
            if total := self._sheet.total(cell):
                yield status, total


class Requests:
    """Counts the requests by route and status."""

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002
        routes: Mapping[str, Route],
    ) -> None:
        self._name = name
        self._help = help
        self._routes = routes

    def collect(self) -> Metric:
        family = CounterMetricFamily(self._name, self._help, labels=["route", "status"])
        for name, route in self._routes.items():
            for status, total in route.totals():
                family.add_metric([name, status], total)
        return family


class Latencies:
    """Times of the requests by route."""

    def __init__(self, name: str, help: str, routes: Mapping[str, Route]) -> None:  # noqa: A002
        self._name = name
        self._help = help
        self._routes = routes

    def collect(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._help, labels=["route"])
        for name, route in self._routes.items():
            buckets, total = route.total()
            if buckets[-1][1]:
                family.add_metric([name], buckets, total)
        return family
