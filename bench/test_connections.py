"""Connecting and staying.

What does a client cost that only connects: CPU to let it in, memory to keep it?

Each client joins a channel of its own. Rounds add clients and none leaves, so the last round sees
thousands; memory is counted after the first round, when everything a server loads once is loaded.

The CPU is the server's alone. The memory is its private dirty pages and does not include what the kernel
keeps for a socket, nor what a client costs once it has sent something; and of passes of the garbage
collector, which grow with the clients, only what the cheapest round has. Sanic's stock WebSocket has its
clients in a dict like mux, so what is compared is the connection, not the bookkeeping.
"""

from __future__ import annotations

import itertools

import pytest

from bench.load import Clients
from bench.programs import MUX, SANIC_WEBSOCKET, Process, serving
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes

STREAM_SURPLUS_BYTES = 1024
"""The most an idle event stream may take beyond a WebSocket."""

PROMISED_BYTES = 4096
"""The most an idle connection may take: the whole of it, beside 23.6 KiB of Sanic's (design.md, section 2.2)."""


@pytest.mark.parametrize("server", [SANIC_WEBSOCKET, MUX], indirect=True, ids=str)
def test_connect_and_idle(server: Process, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """Open thousands of WebSockets and leave them alone."""
    count, rounds = sizes.handshakes, sizes.connection_rounds
    benchmark.group = f"handshake_{count}conns"
    names = map("idle/{}".format, itertools.count())
    with Clients(server.port) as clients:
        clients.connect(itertools.islice(names, count))
        before = server.memory_bytes()
        benchmark.pedantic(lambda: clients.connect(itertools.islice(names, count)), rounds=rounds)
        bytes_each = (server.memory_bytes() - before) / (len(clients) - count)
    score(f"handshake_{count}conns", "us/connection", per=count)
    score(f"idle_{count * rounds}conns", "KiB/connection", value=bytes_each / 1024)
    if server.program is MUX and sizes.judged:
        assert bytes_each <= PROMISED_BYTES


def test_idle_event_streams(redis_url: str, sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """Open thousands of event streams beside as many WebSockets, each kind on a server of its own."""
    count = sizes.handshakes * sizes.connection_rounds // 2
    case = benchmark.group = f"idle_{count}conns_by_kind"
    bytes_each = {}

    def measure() -> None:
        for kind in ("websocket", "event-stream"):
            names = map("idle/{}".format, itertools.count())
            with serving(MUX, redis_url) as server, Clients(server.port, streams=kind == "event-stream") as clients:
                clients.connect(itertools.islice(names, sizes.handshakes))
                before = server.memory_bytes()
                clients.connect(itertools.islice(names, count))
                bytes_each[kind] = (server.memory_bytes() - before) / count

    benchmark.pedantic(measure, rounds=1)
    score(case, "KiB/connection", value=bytes_each["websocket"] / 1024, contender="websocket")
    score(case, "KiB/connection", value=bytes_each["event-stream"] / 1024, contender="mux")
    if sizes.judged:
        assert bytes_each["event-stream"] <= bytes_each["websocket"] + STREAM_SURPLUS_BYTES
