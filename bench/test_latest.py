"""Clients that do not keep up, with `latest=1` and without.

What does a message cost for clients that take nothing, and how many bytes wait for each of them in the end? The hub
dispatches one message after the other to 100 clients on socket pairs that nobody reads. With `latest=1` the newest is
held; the baseline is the same without it, where every message waits, in a hub that drops nobody. Clients that keep up
stand beside them, whose sockets take everything at once. What the newest costs to be written in the end is not in it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import pytest
import uvloop

from bench.conftest import Benchmark, Score
from bench.parts import PATTERN, PAYLOAD, PREFIX, new_hub, null_client
from mux.endpoints.catch_up import withhold
from mux.endpoints.latest import Latest, divert, restore
from mux.endpoints.websocket import WebSocketEndpoint
from mux.hub.allowance import Pace
from mux.hub.hub import Hub
from mux.hub.subscriber import Subscriber
from mux.wire.resp import Push
from mux.wire.websocket.encoder import encode

CHANNEL = PREFIX + b"lobby"
CLIENTS, MESSAGES = 100, 2000

CONTENDERS = ("mux", "every message waits", "clients that keep up")


@pytest.mark.parametrize("contender", CONTENDERS)
def test_slow_clients(contender: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """One message at a time, as prices come."""
    messages = 100 if smoke else MESSAGES
    case = benchmark.group = f"slow_1ch_{CLIENTS}clients_{len(PAYLOAD)}B"
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        hub, clients = runner.run(_joined(contender, stack))

        async def dispatch() -> None:
            batch: list[Push] = [[b"pmessage", PATTERN, CHANNEL, PAYLOAD]]
            for number in range(messages):
                hub.dispatch(batch, number)

        benchmark.pedantic(lambda: runner.run(dispatch()), rounds=1 if smoke else 5)
        waiting = hub.pending_bytes // CLIENTS if clients else 0
        runner.run(_end(clients))
    score(case, "us/delivery", per=messages * CLIENTS, contender=contender)
    score(case, "bytes waiting", value=waiting, contender=contender)


async def _joined(contender: str, stack: ExitStack) -> tuple[Hub, list[Subscriber[Any]]]:
    hub = new_hub()
    if contender == "clients that keep up":
        for _ in range(CLIENTS):
            hub.router.join(null_client(hub), CHANNEL)
        return hub, []
    latest = Latest(hub, withhold, partial(divert, (withhold,)), restore)
    endpoint: WebSocketEndpoint[Any] = WebSocketEndpoint(
        hub,
        max_message_bytes=65536,
        on_message=lambda client, payload, binary: None,
        on_leave=lambda client, channels: None,
        pace=Pace(None, None),
        is_writable=lambda: True,
    )
    clients = []
    for _ in range(CLIENTS):
        end = stack.enter_context(_unread())
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=end)
        client: Subscriber[Any] = Subscriber(transport, endpoint=endpoint, encode=encode, backlog=hub)
        transport.set_protocol(cast("asyncio.Protocol", client))
        hub.connected(client)
        hub.router.join(client, CHANNEL)
        if contender == "mux":
            latest.watch(client)
        while not client.is_blocked:
            client.write(bytes(4096))
        clients.append(client)
    return hub, clients


@contextmanager
def _unread() -> Iterator[socket.socket]:
    """Return one end of a connection whose other end is not read."""
    one, other = socket.socketpair()
    with other:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield one


async def _end(clients: list[Subscriber[Any]]) -> None:
    for client in clients:
        client.transport.abort()
    await asyncio.sleep(0.01)
