"""Fan-out in this process, on real sockets.

What does a delivery cost from the batch to the socket, with no Redis and no process between?

The hub dispatches a batch to subscribers whose transports are uvloop's, on TCP connections that another
process reads, once as plain WebSockets and once as SDK clients, whose frames say more. Beside them stands the limit: a
loop of send() of the same bytes on the same sockets. The
difference is all that mux and uvloop add; what it costs to get a message from Redis is not in it
(`python -m bench compare`).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any, cast

import pytest
import uvloop

from bench.compare import LIMIT
from bench.conftest import Benchmark, Score
from bench.in_process import drained
from bench.parts import PATTERN, PREFIX, new_hub
from bench.peers.registry import MUX_SDK
from mux.hub.hub import Hub
from mux.hub.subscriber import Endpoint, Subscriber
from mux.wire.publication import GUESS, Encoder
from mux.wire.resp import Push
from mux.wire.sdk.encoder import Pushes
from mux.wire.websocket.encoder import encode

CHANNEL = PREFIX + b"lobby"

SHAPES = [(1, 128, 1), (100, 128, 1), (1000, 16, 1), (1000, 128, 1), (1000, 4096, 1), (1000, 128, 16)]
"""(subscribers, bytes, messages in a batch)"""

ROUNDS = 40


class _Nobody:
    """An endpoint whose clients never speak."""

    ping = b""
    is_answered = True

    def inflation(self, data: bytes) -> int:
        return 0

    def received(self, subscriber: object, data: bytes) -> None: ...
    def lost(self, subscriber: object) -> None: ...


@pytest.mark.parametrize("contender", [LIMIT, "mux", MUX_SDK.name])
@pytest.mark.parametrize(("subscribers", "size", "messages"), SHAPES)
def test_fanout(
    contender: str, subscribers: int, size: int, messages: int, smoke: bool, benchmark: Benchmark, score: Score
) -> None:
    """Hub, subscriber, transport; or the limit, a loop of send()."""
    subscribers = min(subscribers, 10 if smoke else 1000)
    case = benchmark.group = f"socket_fanout_1ch_{subscribers}subs_{size}B_{messages}msgs"
    payload = b'"' + b"x" * (size - 2) + b'"'
    hub, ready = new_hub(), encode(b"", [(payload, GUESS, 1)] * messages)
    batch: list[Push] = [[b"pmessage", PATTERN, CHANNEL, payload] for _ in range(messages)]
    encoder = encode if contender == "mux" else _pushes().encode
    with drained(subscribers) as sockets, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        transports = [] if contender == LIMIT else runner.run(_join(hub, sockets, encoder))

        async def fan_out() -> None:
            hub.dispatch(batch)

        def send() -> None:
            for client in sockets:
                client.send(ready)

        timed = send if contender == LIMIT else lambda: runner.run(fan_out())
        benchmark.pedantic(timed, rounds=1 if smoke else ROUNDS)
        runner.run(_abort(transports))
    score(case, "us/write", per=subscribers, contender=contender)


async def _abort(transports: list[asyncio.Transport]) -> None:
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0.01)


class _Order:
    """A place in the common order."""

    epoch = "1a2145870105115a7"
    base = 1_000_000


def _pushes() -> Pushes:
    silent = lambda *_: None  # noqa: E731 - twice the same
    return Pushes(lambda _: "lobby", _Order(), Counter(), on_encoded=silent, on_over=silent)


async def _join(hub: Hub, sockets: list[socket.socket], encoder: Encoder) -> list[asyncio.Transport]:
    transports = []
    loop = asyncio.get_running_loop()
    endpoint = cast("Endpoint[Any]", _Nobody())
    for accepted in sockets:
        # A copy of the descriptor: the transport closes its own.
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted.dup())
        subscriber: Subscriber[Any] = Subscriber(transport, endpoint=endpoint, encode=encoder, backlog=hub)
        transport.set_protocol(cast("asyncio.Protocol", subscriber))
        hub.connected(subscriber)
        hub.router.join(subscriber, CHANNEL)
        transports.append(transport)
    return transports
