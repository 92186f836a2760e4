"""Connecting and staying.

What does a client cost that only connects: CPU to let it in, memory to keep it? And how long do the others wait when
one client in ten never reads?

Each client joins a channel of its own. Rounds add clients and none leaves, so the last round sees
thousands; memory is counted after the first round, when everything a server loads once is loaded.

The CPU is the server's alone. The memory is its private dirty pages and does not include what the kernel
keeps for a socket, nor what a client costs once it has sent something; and of passes of the garbage
collector, which grow with the clients, only what the cheapest round has. Sanic's stock WebSocket has its
clients in a dict like mux, so what is compared is the connection, not the bookkeeping.

Clients that never read are evicted when a mebibyte waits for each. The figure is the 99th percentile of the readers'
waiting on a stopwatch, from the moment a message is due, so it depends on the machine and on what else runs there: read
the two side by side.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable
from contextlib import ExitStack

import pytest

from bench.conftest import Benchmark, Score
from bench.loadgen.dialect import Target
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.loadgen.stamp import channel_name
from bench.parts import wait_until_joined
from bench.peers.registry import MUX, STOCK
from bench.servers import Running, serving

STREAM_SURPLUS_BYTES = 1024
"""The most an idle event stream may take beyond a WebSocket."""

PROMISED_BYTES = 4096
"""The most an idle connection may take: the whole of it, beside 23.6 KiB of Sanic's."""

TIMES_SLOWER = 3.0
"""A ratio of two latencies above this is not the noise of a busy machine."""

_ENDS = {"websocket": b"\r\n\r\n", "event-stream": b"\n\r\n"}
"""The end of the answer: an event stream begins with a chunk that says when to come back."""


class Idlers:
    """Clients of one server that connect and never read again; they go with the block that has them.

    Args:
        target: the server.
        stack: closes them.
        kind: websocket or event-stream.
        names: the channel of each; by default one of its own.
    """

    def __init__(
        self, target: Target, stack: ExitStack, kind: str = "websocket", names: Iterable[str] | None = None
    ) -> None:
        self._target, self._stack, self._kind = target, stack, kind
        self._names = iter(names if names is not None else map("idle-{}".format, itertools.count()))

    def come(self, count: int) -> None:
        """Connect so many more, all at once, and wait until all are accepted."""
        sockets = []
        for name in itertools.islice(self._names, count):
            client = self._stack.enter_context(socket.create_connection((self._target.host, self._target.port), 60))
            request = self._target.request(name)
            if self._kind == "event-stream":
                request = request.partition(b"Upgrade")[0] + b"Accept: text/event-stream\r\n\r\n"
            client.sendall(request)
            sockets.append(client)
        for client in sockets:
            wait_until_joined(client, _ENDS[self._kind])


@pytest.mark.parametrize("server", [STOCK, MUX], indirect=True, ids=lambda peer: peer.name)
def test_connect_and_idle(server: Running, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Open thousands of WebSockets and leave them alone."""
    count, rounds = (5, 2) if smoke else (500, 8)
    benchmark.group = f"handshake_{count}conns"
    with ExitStack() as stack:
        idlers = Idlers(server.target, stack)
        idlers.come(count)
        server.tree.cpu_seconds()
        before = server.tree.memory_bytes()
        benchmark.pedantic(lambda: idlers.come(count), rounds=rounds)
        bytes_each = (server.tree.memory_bytes() - before) / (count * rounds)
    score(f"handshake_{count}conns", "us/connection", per=count)
    score(f"idle_{count * rounds}conns", "KiB/connection", value=bytes_each / 1024)
    if server.peer is MUX and not smoke:
        assert bytes_each <= PROMISED_BYTES


def test_idle_event_streams(redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Open thousands of event streams beside as many WebSockets, each kind on a server of its own."""
    count = 5 if smoke else 2000
    case = benchmark.group = f"idle_{count}conns_by_kind"
    bytes_each = {}

    def measure() -> None:
        for kind in _ENDS:
            with serving(MUX, redis_url) as server, ExitStack() as stack:
                idlers = Idlers(server.target, stack, kind)
                idlers.come(count // 4 + 1)
                server.tree.cpu_seconds()
                before = server.tree.memory_bytes()
                idlers.come(count)
                server.tree.cpu_seconds()
                bytes_each[kind] = (server.tree.memory_bytes() - before) / count

    benchmark.pedantic(measure, rounds=1)
    score(case, "KiB/connection", value=bytes_each["websocket"] / 1024, contender="websocket")
    score(case, "KiB/connection", value=bytes_each["event-stream"] / 1024, contender="mux")
    if not smoke:
        assert bytes_each["event-stream"] <= bytes_each["websocket"] + STREAM_SURPLUS_BYTES


def test_never_readers(redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """One client in ten never reads; the others do not notice."""
    size, (count, messages) = 16384, (3, 5) if smoke else (50, 400)
    case = benchmark.group = f"latency_p99_{count}readers_{size}B"
    with serving(MUX, redis_url) as server, ExitStack() as stack:
        load = Load(
            target=server.target,
            clients=count,
            messages=messages,
            rate=100,
            message_bytes=size,
            inlet=server.inlet(size),
        )
        generator = stack.enter_context(Generator(load))
        generator.connect()
        generator.p99_ms()
        alone = generator.p99_ms()
        Idlers(server.target, stack, names=[channel_name(0)] * (count // 10 + 1)).come(count // 10 + 1)
        beside: list[float] = []
        benchmark.pedantic(lambda: beside.append(generator.p99_ms()))
    score(case, "ms", value=alone, contender="all read")
    score(case, "ms", value=beside[0])
    if not smoke:
        assert beside[0] < alone * TIMES_SLOWER
