"""What the contract says of readings that are sent: a model small enough to be read at once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

Values: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Sent:
    """One reading as a device says it, of whatever form its request had."""

    sensor_id: str
    values: Values
    at: datetime | None = None
    """By the device's clock; None where it has none."""
    refused: str | None = None
    """The reason for which the server must not take it."""


@dataclass
class Contract:
    """What must be stored, and what must have been counted, after everything that was sent."""

    by_time: dict[tuple[str, datetime], list[Values]] = field(default_factory=dict)
    """The rows of each sensor and device's time, in their order."""
    without_clock: dict[str, list[Values]] = field(default_factory=dict)
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By sensor and outcome."""

    def take(self, sent: Sent) -> str:
        """What becomes of a reading: stored, duplicate, conflict, or why it is refused."""
        outcome = sent.refused or self._judge(sent)
        self.ledger[sent.sensor_id, outcome] += 1
        return outcome

    def _judge(self, sent: Sent) -> str:
        if sent.at is None:
            self.without_clock.setdefault(sent.sensor_id, []).append(sent.values)
            return "stored"
        rows = self.by_time.setdefault((sent.sensor_id, sent.at), [])
        first: Values = {}
        for row in rows:
            first = {**row, **first}
        if any(name in first and first[name] != value for name, value in sent.values.items()):
            return "conflict"
        if sent.values.keys() <= first.keys():
            return "duplicate"
        rows.append(sent.values)
        return "stored"


def merged(lines: Iterable[Sent]) -> list[tuple[Sent, int]]:
    """Lines of one request, those of one sensor and time together; and of how many each is."""
    found: dict[tuple[str, datetime | None], tuple[Sent, int]] = {}
    for line in lines:
        key = (line.sensor_id, line.at)
        before, count = found.get(key, (Sent(line.sensor_id, {}, line.at), 0))
        values = {**before.values, **line.values}
        found[key] = Sent(line.sensor_id, values, line.at), count + 1
    return list(found.values())
