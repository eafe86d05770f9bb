"""P4 and its neighbours: how late a reading comes when the load is that of every day.

1,000 subscribers: beside nchan (P4), while 1,000 more connect at once (storm), and with 200 more
that never read (R4). The last two are compared with a calm run of our own.
"""

from statistics import median
from typing import Final

from benchmarks.fanout import Load, drive, on_nchan, on_ours, ours
from benchmarks.p3 import percentiles
from benchmarks.report import Row, spread
from benchmarks.usage import watched

SUBSCRIBERS: Final = 1_000
RATE: Final = 50
PUBLISHERS: Final = 5
STALLED: Final = 200
STALL_RATE: Final = 500
"""Readings a second for R4: enough that what nobody reads fills every buffer in a few seconds."""
CHECKED: Final = "closed = 0, frames = expected, equal for all, rows = 201s"


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """P4, beside nchan."""
    load = Load(SUBSCRIBERS, PUBLISHERS, seconds, RATE)
    problems: list[str] = []
    runs, peers = [], []
    for _ in range(rounds):
        runs.append(on_ours(database, load, problems))
        peers.append(on_nchan(load, problems))
    return [
        Row(
            name=f"P4 1,000 subscribers, {RATE} readings/s",
            ours=f"p99 {median(run.p99 for run in runs):.1f} ms",
            beside=f"nchan p99 {median(peer.p99 for peer in peers):.1f} ms",
            ratio=spread([run.p99 / peer.p99 for run, peer in zip(runs, peers, strict=True)]),
            latency=f"{percentiles(runs)} (nchan {percentiles(peers)})",
            goal="≤ 1 × nchan's p99",
            checked=CHECKED,
            problems=problems,
        )
    ]


def measure_slow(database: str, seconds: int, rounds: int) -> list[Row]:
    """R4: what 200 subscribers that never read cost the others, and in memory."""
    calm = Load(SUBSCRIBERS, PUBLISHERS, max(seconds, 10), STALL_RATE)
    slow = Load(SUBSCRIBERS, PUBLISHERS, max(seconds, 10), STALL_RATE, stalled=STALLED)
    problems: list[str] = []
    runs, besides, grown = [], [], []
    for _ in range(rounds):
        with ours(database, problems) as (server, _):
            with watched(server) as without:
                besides.append(drive(server, calm, problems))
            with watched(server) as usage:
                runs.append(drive(server, slow, problems))
            grown.append((usage.most_bytes - without.most_bytes) / 2**20)
    return [
        Row(
            name=f"R4 {STALLED} more that never read, {STALL_RATE} readings/s",
            ours=f"p99 {median(run.p99 for run in runs):.1f} ms; {median(grown):.0f} MiB more",
            beside=f"without them {median(run.p99 for run in besides):.1f} ms",
            ratio=spread([run.p99 / calm.p99 for run, calm in zip(runs, besides, strict=True)]),
            latency=f"{percentiles(runs)} (without them {percentiles(besides)})",
            goal="≤ 1.5 ×",
            checked="closed = 0, frames = expected, equal for all that read",
            problems=problems,
        )
    ]


def measure_storm(database: str, seconds: int, rounds: int) -> list[Row]:
    """What 1,000 connections at once cost those who are there."""
    load = Load(SUBSCRIBERS, PUBLISHERS, max(seconds, 6), RATE, storm=SUBSCRIBERS)
    problems: list[str] = []
    runs = [on_ours(database, load, problems) for _ in range(rounds)]
    took = median(run.storm_seconds for run in runs)
    return [
        Row(
            name=f"Storm: 1,000 more connect at once, {RATE} readings/s",
            ours=f"p99 {median(run.storm_p99 for run in runs):.1f} ms; all there in {took:.2f} s",
            beside=f"calm p99 {median(run.p99 for run in runs):.1f} ms",
            ratio=spread([run.storm_p99 / run.p99 for run in runs]),
            latency=f"{percentiles(runs)} before it",
            goal="≤ 5 × the calm p99",
            checked=f"{CHECKED}, all of the storm connected",
            problems=problems,
        )
    ]
