"""Clients that were away, and processes that are new.

What do 10,000 clients cost that come back and have missed 50,000 messages? Ten are on each of 1,000 channels, and each
is given the 50 messages of its channel. Beside them stand as many that come without a position, which is what
connecting alone costs, and a program that asks Redis for the messages of each by redis-py and XRANGE; its CPU time and
that of Redis count, and it serves nobody. The longest pauses by cause are those of a server of its own, because timing
calls costs something.

What does a new process cost that copies 32 MiB of journal before it is ready? Another serves 50 clients meanwhile.
Beside it stands a new process that keeps no journal, so starting is in both.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import redis
import uvloop

from bench.conftest import Benchmark, Score
from bench.loadgen.dialect import Target
from bench.loadgen.latencies import at_percentile
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.parts import PAYLOAD
from bench.peers.registry import MUX, MUX_WITHOUT_JOURNAL
from bench.servers import Running, redis_server, redis_use, serving
from bench.test_pauses import watched

LONGEST_PAUSE_SECONDS = 0.005
"""Most seconds for which anything that a resume causes may hold the event loop."""

PAUSES = ("one step of a lookup", "what a client is owed", "the collector")
"""The causes of the pauses that a resume brings about."""

CHANNELS, EACH, CLIENTS = 1000, 50, 10_000
"""Channels, messages of each, and clients of all together."""

AT_ONCE = 500
"""Clients that come back at the same moment."""

WIRE_BYTES = 187
"""Bytes of one message as Redis sends it."""


def publish(redis_url: str, messages: int, channels: int) -> None:
    """Publish to channels in turn, and add the same to a stream of each."""
    with redis.Redis.from_url(redis_url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(messages):
            pipeline.publish(f"feed:CH-{number % channels:06d}", PAYLOAD)
            if number % 500 == 499:
                pipeline.execute()
        pipeline.execute()


def asked(target: Target, path: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer; status 0 when there is none."""
    request = Request(f"http://{target.host}:{target.port}{path}", headers={"Accept": "application/json"})
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - a server of our own
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as error:
        return error.code, None
    except URLError:
        return 0, None


def come_back(target: Target, clients: int, channels: int, position: str, owed: int) -> None:
    """Connect clients, some at a time, each with a position, if there is one, and read what each is owed."""
    resume = f"Last-Event-ID: {position}\r\n" if position else ""
    for first in range(0, clients, AT_ONCE):
        sockets = []
        for number in range(first, min(first + AT_ONCE, clients)):
            client = socket.create_connection((target.host, target.port), 60)
            head = f"GET /feed/CH-{number % channels:06d} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n"
            client.sendall(f"{head}Accept: text/event-stream\r\n{resume}\r\n".encode())
            sockets.append(client)
        for client in sockets:
            with client:
                heard = b""
                while b"retry: " not in heard or heard.count(b"\nid: ") < owed:
                    heard += client.recv(65536) or pytest.fail(f"refused: {heard[:500]!r}")
                assert b"event: missed" not in heard


def test_resume(redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """All come back in bunches. The Redis commands are the probes and beats that the server sends anyway."""
    channels, clients = (10, 20) if smoke else (CHANNELS, CLIENTS)
    case = benchmark.group = f"resume_{clients}clients_{channels * EACH}msgs"

    def measured(server: Running, position: str, owed: int) -> float:
        before = server.tree.cpu_seconds()
        come_back(server.target, clients, channels, position, owed)
        return (server.tree.cpu_seconds() - before) * 1e6 / clients

    with serving(MUX, redis_url) as server:
        position = _missed(server, channels)
        alone = measured(server, "", 0)
        began, before = time.monotonic(), redis_use(redis_url)
        resumed: list[float] = []
        benchmark.pedantic(lambda: resumed.append(measured(server, position, EACH)), rounds=1)
        commands = (redis_use(redis_url) - before).commands
        seconds = time.monotonic() - began
    with serving(replace(MUX, command=watched), redis_url) as server:
        come_back(server.target, clients, channels, _missed(server, channels), EACH)
        pauses = json.loads((server.place.scratch / "pauses").read_text())
    score(case, "us CPU/client", value=resumed[0])
    score(case, "us CPU/client", value=alone, contender="nothing missed")
    score(case, "us CPU/client", value=by_xrange(redis_url, clients, channels), contender="redis-py XRANGE")
    score(case, "Redis commands/client", value=commands / clients)
    score(case, "Redis commands/client", value=1, contender="redis-py XRANGE")
    for cause, longest in pauses.items():
        score(case, f"longest pause, {cause}, ms", value=longest * 1e3)
    if not smoke:
        assert commands < 10 * seconds
        assert max(pauses.get(cause, 0) for cause in PAUSES) <= LONGEST_PAUSE_SECONDS


def _missed(server: Running, channels: int) -> str:
    """Publish what clients have missed; return the position before it."""
    is_ready(server)
    _, before = asked(server.target, "/feed/CH-000000?last=1")
    publish(server.place.redis_url, channels * EACH, channels)
    while asked(server.target, f"/feed/CH-{channels - 1:06d}?since={before['position']}")[1]["count"] < EACH:
        time.sleep(0.05)
    return str(before["position"])


def is_ready(server: Running) -> None:
    """Wait until a process has its place among all, and the journal."""
    while asked(server.target, "/readyz")[0] != 200:
        time.sleep(0.01)


def by_xrange(redis_url: str, clients: int, channels: int) -> float:
    """Return the CPU microseconds of redis-py and Redis when it is asked for the messages of each client."""
    with redis.Redis.from_url(redis_url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(channels * EACH):
            pipeline.xadd(f"log:{number % channels}", {"d": PAYLOAD})
        pipeline.execute()

    async def ask() -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as streams:
            for number in range(clients):
                found: Any = await streams.xrange(f"log:{number % channels}")
                assert len(found) == EACH

    before, began = redis_use(redis_url), time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())
    used = time.process_time() - began + (redis_use(redis_url) - before).cpu_seconds
    return used * 1e6 / clients


@pytest.mark.parametrize(("contender", "peer"), [("no journal", MUX_WITHOUT_JOURNAL), ("mux", MUX)])
def test_copy(contender: str, peer: Any, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A process starts beside one whose journal is full, and whose clients have 1,000 messages a second."""
    size, seconds = (1 << 16, 1) if smoke else (32 << 20, 8)
    case = benchmark.group = f"copy_{size >> 10}KiB"
    with redis_server() as redis_url, serving(MUX, redis_url) as old:
        is_ready(old)
        publish(redis_url, size // WIRE_BYTES, CHANNELS)
        load = Load(target=old.target, clients=50, channels=50, messages=1000 * seconds, rate=1000, inlet=old.inlet())
        with Generator(load) as generator, ThreadPoolExecutor(1) as pool:
            generator.connect()
            before = old.tree.cpu_seconds()
            traffic = pool.submit(generator.publish)
            began = time.monotonic()
            with serving(peer, redis_url) as new:
                is_ready(new)
                ready = time.monotonic() - began
                delivery = benchmark.pedantic(traffic.result, rounds=1)
                used = old.tree.cpu_seconds() - before + new.tree.cpu_seconds()
                copied = asked(new.target, "/feed/CH-000099?last=1")[1]  # not a channel of the load
    assert delivery.lost == 0
    assert (copied is not None and copied["count"] == 1) == (peer is MUX)
    score(case, "s until ready", value=ready, contender=contender)
    score(case, "s CPU, both processes", value=used, contender=contender)
    score(case, "ms, p99 of the others", value=at_percentile(delivery.counts, 99) / 1e3, contender=contender)
