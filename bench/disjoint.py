"""The case that is bad for us: more processes, and every channel on one of them.

With one pattern every process receives every message, so with n processes Redis sends each message n times
and n - 1 of them parse it for nothing. A server with a SUBSCRIBE for each channel pays nothing here. How much
the clients of n processes publish together stays the same, so whatever grows with n is that price.
"""

from __future__ import annotations

from pathlib import Path

from bench.loadgen.run import Load
from bench.measure import Say, measure, silent
from bench.peers.registry import MUX, PER_CHANNEL, Peer
from bench.servers import serving
from bench.works import Amounts, Case, Figures

DISJOINT = "disjoint"
DISJOINT_CASE = Case(
    DISJOINT,
    "1,000 messages a second over 1,000 channels, spread over 1, 2 and 4 processes",
    lambda a: None,
    unit="us CPU/message",
)
PROCESSES = (1, 2, 4)
CONTENDERS: tuple[Peer, ...] = (MUX, PER_CHANNEL)


def run_disjoint(
    peer: Peer, processes: int, redis_url: str, peers: Path, amounts: Amounts, say: Say = silent
) -> Figures:
    """Run so many processes of a server, each with its share of the clients, a channel to each client."""
    with serving(peer, redis_url, peers, workers=processes) as running:
        load = Load(
            target=running.target,
            clients=amounts.disjoint_channels,
            channels=amounts.disjoint_channels,
            messages=round(amounts.disjoint_rate * amounts.seconds),
            rate=amounts.disjoint_rate,
            message_bytes=amounts.size,
            door=running.door(amounts.size),
            longest=amounts.longest,
        )
        result = measure(load, running.tree, redis_url, say)
    if result.refused:
        raise ConnectionError(f"{result.refused} clients were not served: {result.reason}")
    return {
        "us CPU/message": (result.cpu_us or 0.0) * result.delivered / max(1, result.published),
        "Redis bytes/message": result.redis_bytes or 0.0,
        "us Redis CPU/message": result.redis_cpu_us or 0.0,
        "lost": float(result.lost),
        "lost %": 100 * result.lost / max(1, result.expected),
        "p99 ms": (result.latency_ms or {}).get("p99", 0.0),
    }


def unheard_us(by_processes: dict[int, Figures]) -> float:
    """Return the CPU of a message on a process that has nobody for it: what each further process adds."""
    most = max(by_processes)
    key = "us CPU/message"
    return (by_processes[most][key] - by_processes[1][key]) / (most - 1) if most > 1 else 0.0
