"""P5: what an idle subscriber costs in memory, ours and nchan's, all processes of a server."""

from statistics import median
from typing import Final

from benchmarks.fanout import Load, drive, ours
from benchmarks.report import Row, spread
from benchmarks.server import Running, nchan, scratch
from benchmarks.usage import watched

SUBSCRIBERS: Final = 10_000
FEW: Final = 100
RATE: Final = 1.0


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """10,000 subscribers that get a reading a second."""
    problems: list[str] = []
    costs, peers, shares = [], [], []
    for _ in range(rounds):
        with ours(database, problems) as (server, _):
            cost, share = _cost(server, seconds, problems)
            costs.append(cost)
            shares.append(share)
        with scratch() as folder, nchan(folder, problems) as peer:
            peers.append(_cost(peer, seconds, problems)[0])
    return [
        Row(
            name="P5 10,000 subscribers, 1 reading/s",
            ours=f"{median(costs):.1f} KB each; {100 * median(shares):.0f} % of a core",
            beside=f"nchan {median(peers):.1f} KB each",
            ratio=spread([cost / peer for cost, peer in zip(costs, peers, strict=True)]),
            latency="—",
            goal="≤ 20 KB each",
            checked="closed = 0, frames = expected, equal for all",
            problems=problems,
        )
    ]


def _cost(server: Running, seconds: int, problems: list[str]) -> tuple[float, float]:
    """KB for each, and the share of a core meanwhile, connecting included."""
    few = Load(FEW, publishers=1, seconds=2, rate=RATE)
    many = Load(SUBSCRIBERS, publishers=1, seconds=seconds, rate=RATE)
    drive(server, few, problems)
    with watched(server) as before:
        drive(server, few, problems)
    with watched(server) as usage:
        drive(server, many, problems)
    grown = usage.most_bytes - before.most_bytes
    return grown / (SUBSCRIBERS - FEW) / 1000, usage.of_a_core
