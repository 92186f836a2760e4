"""Compressed messages to a thousand clients.

How many bytes are sent for a message of JSON, what does a delivery cost, and how much memory does a client take that is
sent compressed messages?

Each server has 1,000 clients of one channel, which offer compression as a browser does, and is given one message after
the other, each when the one before it has reached everybody. mux compresses a message once. The peers compress it for
each client, as their libraries do by default: with the window of what the client has been sent before, so for
messages that are alike their bytes are fewer. mux without compression stands beside them.

The CPU is the server's alone; what clients pay to inflate is not in it. The memory is what 900
more clients take when they have been sent a message, without what the kernel keeps for sockets.
"""

from __future__ import annotations

import json
import multiprocessing
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import pytest
import redis

from bench.conftest import Benchmark, Score
from bench.loadgen.dialect import Target
from bench.loadgen.frames import split
from bench.peers.registry import DEFAULT_DIRECTORY, MUX, PEERS, Peer, Place
from bench.servers import Running

CLIENTS, ROUNDS, MESSAGES = 1000, 5, 20
SIZE = 1024
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

_FORK = multiprocessing.get_context("forkserver")


def _with(peer: Peer, name: str, *more: str) -> Peer:
    """Return a peer that is started with more arguments."""
    command: Callable[[Place], list[str]] = lambda place: [*peer.command(place), *more]  # noqa: E731 - a field of Peer
    return replace(peer, name=name, command=command)


CONTENDERS = (
    _with(MUX, "mux --compress", "--compress"),
    MUX,
    *(
        _with(peer, f"{peer.name}, deflate", "deflate")
        for peer in PEERS
        if peer.name in ("ws + ioredis", "Starlette + broadcaster") and not peer.kind.absent(DEFAULT_DIRECTORY)
    ),
)


def quotes(serial: int) -> bytes:
    """Return a message of JSON; each is like the one before it and has other numbers."""
    rows = [
        {"symbol": f"SYM{row}", "bid": serial * 7919 * row % 100_003 / 100, "volume": serial * 104_729 * row % 9973}
        for row in range(1, 40)
    ]
    return json.dumps(rows).encode()[:SIZE]


class _Crowd:
    """Clients of one server.

    Args:
        target: the server.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._waiting = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._buffers: dict[int, bytes] = {}

    def come(self, clients: int) -> bool:
        """Open so many more; tell whether they have agreed on compression."""
        target = self._target
        request = target.request("lobby").removesuffix(b"\r\n") + OFFER
        head = b""
        for _ in range(clients):
            client = socket.create_connection((target.host, target.port), 60)
            client.sendall(request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            assert head[9:12] == b"101", head
            self._sockets[client.fileno()], self._buffers[client.fileno()] = client, b""
            self._waiting.register(client, select.EPOLLIN)
        return b"permessage-deflate" in head

    def hear(self) -> int:
        """Wait for one message to all of them, and return how many bytes it was."""
        heard = size = 0
        while heard < len(self._sockets):
            for number, _ in self._waiting.poll():
                data = self._buffers[number] + self._sockets[number].recv(65536)
                whole = [len(header) + len(payload) for _, header, payload in split(data)]
                self._buffers[number] = data[sum(whole) :]
                heard += len(whole)
                size += sum(whole)
        return size


def _do(pipe: Connection[Any, Any], target: Target) -> None:
    """Let clients come, as many as the number that is asked for; at 0 hear a message."""
    crowd = _Crowd(target)
    while True:
        clients = pipe.recv()
        pipe.send(crowd.come(clients) if clients else crowd.hear())


@pytest.mark.parametrize("server", CONTENDERS, indirect=True, ids=[peer.name for peer in CONTENDERS])
def test_compressed(server: Running, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Messages of 1 KiB of JSON, one after the other."""
    clients, rounds, messages = (10, 1, 2) if smoke else (CLIENTS, ROUNDS, MESSAGES)
    case = benchmark.group = f"compressed_1ch_{clients}subs_{SIZE}B"
    sizes = list[int]()
    with ExitStack() as stack:
        pipe, end = _FORK.Pipe()
        reader = _FORK.Process(target=_do, args=(end, server.target), daemon=True)
        reader.start()
        stack.callback(reader.kill)
        publisher = stack.enter_context(redis.Redis.from_url(server.place.redis_url))
        serials = count(1)

        def come(clients: int) -> int:
            pipe.send(clients)
            assert pipe.recv() == (server.peer is not MUX)
            publish(1)
            return server.tree.memory_bytes()

        def publish(times: int) -> None:
            for _ in range(times):
                pipe.send(0)
                publisher.publish("feed:lobby", quotes(next(serials)))
                sizes.append(pipe.recv())

        first = clients // 10
        memory = -come(first) + come(clients - first)
        del sizes[:]
        benchmark.pedantic(publish, args=(messages,), rounds=rounds)
    score(case, "us/delivery", per=clients * messages)
    score(case, "bytes/delivery", value=sum(sizes) / len(sizes) / clients)
    score(case, "KiB/connection", value=memory / (clients - first) / 1024)
