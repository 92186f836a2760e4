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
from bench.programs import MUX, SANIC_WEBSOCKET, Process
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes

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
