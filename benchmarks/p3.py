"""P3: from a POST to every screen, flat out, every reading committed first, beside nchan.

1,000 WebSocket subscribers; 64 or 16 connections post, each as fast as its receipts come. Latency
is from just before the POST to when a subscriber has read the frame, over all frames. A run counts
only if no subscriber was closed and each got exactly one frame for every reading acknowledged,
which are also the rows in the database. Every run has a new server and an empty database, as every
reading comes from a sensor of its own: the worst case for the storage.
"""

from statistics import median
from typing import Final

from benchmarks.fanout import FanOut, Load, on_nchan, on_ours
from benchmarks.report import Row, compact, milliseconds, spread

SUBSCRIBERS: Final = 1_000
GOALS: Final = {64: "5 × nchan", 16: "2 × nchan"}


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """One row for each number of publishers; the runs alternate."""
    return [_row(database, Load(SUBSCRIBERS, p, seconds), rounds) for p in GOALS]


def _row(database: str, load: Load, rounds: int) -> Row:
    problems: list[str] = []
    runs: list[FanOut] = []
    peers: list[FanOut] = []
    for _ in range(rounds):
        runs.append(on_ours(database, load, problems))
        peers.append(on_nchan(load, problems))
    readings = median(run.rate for run in runs) / SUBSCRIBERS
    return Row(
        name=f"P3 1,000 subscribers, {load.publishers} publishers",
        ours=f"{compact([run.rate for run in runs])} deliveries/s ({readings:,.0f} readings/s)",
        beside=f"nchan {compact([run.rate for run in peers])} deliveries/s",
        ratio=spread([run.rate / peer.rate for run, peer in zip(runs, peers, strict=True)]),
        latency=f"{percentiles(runs)} (nchan {percentiles(peers)})",
        goal=GOALS[load.publishers],
        checked="closed = 0, frames = expected, equal for all, rows = 201s",
        problems=problems,
    )


def percentiles(runs: list[FanOut]) -> str:
    """The medians of p50 and p99."""
    return milliseconds([run.p50 for run in runs], [run.p99 for run in runs])
