"""The cost of tokens.

How much CPU does a server use to let in a client that has a token, HS256 or ES256, one it has not seen before or one
that it knows? And how long do the others wait for their messages while somebody sends 2,000 garbage tokens a second?

The figures are the server's CPU alone, and of clients that come one after the other, as in test_doorstep.py. The flood
is as a program makes it that wants to burn CPU: over one kept connection, each token is made to look like one. It
depends on the machine, and on what else runs there: read the two figures side by side.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread

import jwt
import pytest

from bench.conftest import Benchmark, Score
from bench.loadgen.load import Load
from bench.loadgen.run import Generator
from bench.parts import wait_until_joined
from bench.peers.registry import MUX, Peer, Place
from bench.servers import Running, serving
from bench.test_grants import PRIVATE, SECRET, public_file

GARBAGE_PER_SECOND = 2000

TIMES_SLOWER = 2.0
"""The others wait at most so many times as long for their messages as without the flood."""

_numbers = itertools.count()

Token = Callable[[], str]
"""Makes the token of the next client; nothing is a client without one."""


def _with_key(name: str, key: str) -> Peer:
    """Return mux with a key, open to whoever has no token."""

    def command(place: Place) -> list[str]:
        options = ["--token-key", key, "--anyone-subscribe", "*", "--anyone-publish", "*"]
        return [*MUX.command(place), *options]

    return replace(MUX, name=name, command=command)


def _token(algorithm: str) -> str:
    claims = {"sub": f"client-{next(_numbers)}", "exp": int(time.time()) + 3600, "mux": {"subscribe": ["*"]}}
    return jwt.encode(claims, SECRET if algorithm == "HS256" else PRIVATE, algorithm)


CASES: dict[str, Token] = {
    "no key": str,
    "no token": str,
    "HS256": partial(_token, "HS256"),
    "ES256": partial(_token, "ES256"),
    "ES256, known": partial(str, _token("ES256")),
}


def _come(server: Running, stack: ExitStack, tokens: list[str]) -> None:
    """Let a client for each token join a channel of its own."""
    for token in tokens:
        client = stack.enter_context(socket.create_connection((server.target.host, server.target.port), 60))
        field = b"Authorization: Bearer %b\r\n\r\n" % token.encode() if token else b"\r\n"
        client.sendall(server.target.request(f"idle-{next(_numbers)}").removesuffix(b"\r\n") + field)
        wait_until_joined(client)


@pytest.mark.parametrize("kind", CASES)
def test_let_in(kind: str, redis_url: str, tmp_path: Path, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Let clients in one by one."""
    count, rounds = (3, 2) if smoke else (300, 3)
    case = benchmark.group = "join_with_token"
    peer = MUX if kind == "no key" else _with_key(kind, public_file(tmp_path) if "ES256" in kind else SECRET)
    with serving(peer, redis_url) as server, ExitStack() as stack:
        _come(server, stack, [CASES[kind]() for _ in range(count)])
        took = []

        def measure() -> None:
            tokens = [CASES[kind]() for _ in range(count)]
            before = server.tree.cpu_seconds()
            _come(server, stack, tokens)
            took.append((server.tree.cpu_seconds() - before) / count * 1e6)

        benchmark.pedantic(measure, rounds=rounds)
    score(case, "us/client", value=min(took), contender=kind)


@contextmanager
def _flood(server: Running) -> Iterator[list[int]]:
    """Send garbage tokens for as long as the block runs, at a steady pace; gives the statuses of the answers."""
    end = Event()
    statuses: list[int] = []
    head = jwt.encode({"sub": "x"}, SECRET, "HS256").rpartition(".")[0]

    def send() -> None:
        began = time.monotonic()
        with socket.create_connection((server.target.host, server.target.port), 60) as client:
            while not end.is_set():
                ahead = len(statuses) / GARBAGE_PER_SECOND - (time.monotonic() - began)
                if ahead > 0.005:
                    time.sleep(ahead)
                field = f"Authorization: Bearer {head}.{len(statuses):043}"
                client.sendall(
                    f"GET /feed/x HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{field}\r\n\r\n".encode()
                )
                answer = client.recv(4096)
                assert answer, "the server has closed the connection"
                statuses.append(int(answer[9:12]))

    thread = Thread(target=send)
    thread.start()
    try:
        yield statuses
    finally:
        end.set()
        thread.join()


def test_flood_of_garbage(redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Others wait for their messages while one address sends garbage."""
    count, messages = (3, 5) if smoke else (50, 1000)
    case = benchmark.group = f"latency_p99_{count}readers_garbage_tokens"
    with serving(_with_key("mux", SECRET), redis_url) as server, ExitStack() as stack:
        load = Load(target=server.target, clients=count, messages=messages, rate=100, inlet=server.inlet(128))
        generator = stack.enter_context(Generator(load))
        generator.connect()
        generator.p99_ms()
        alone = generator.p99_ms()
        beside: list[float] = []
        with _flood(server) as statuses:
            began = time.monotonic()
            benchmark.pedantic(lambda: beside.append(generator.p99_ms()), rounds=1)
            pace = len(statuses) / (time.monotonic() - began)
    assert set(statuses) <= {401, 429}
    score(case, "ms", value=alone, contender="no flood")
    score(case, "ms", value=beside[0])
    if not smoke:
        assert pace > GARBAGE_PER_SECOND * 0.9
        assert beside[0] < alone * TIMES_SLOWER
