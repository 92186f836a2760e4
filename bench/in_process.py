"""The parts that run in a process of their own: tables of a million channels, and clients that read and forget.

A table finds nothing there that another has left, and reading is not in the CPU time of the benchmark.
"""

from __future__ import annotations

import gc
import multiprocessing
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from bench.loadgen.crowd import NAP_SECONDS
from bench.parts import PATTERN, PAYLOAD, new_hub, null_client
from bench.servers import private_bytes
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber
from mux.wire.resp import Push

MESSAGES = 20_000
"""Messages timed together; each goes to a channel far from the one before, so that caches help as little as in life."""

_STRIDE = 7919  # a prime: with it every channel comes once before any comes twice
_CHANNELS_EACH = 1000

_FORK = multiprocessing.get_context("forkserver")

T = TypeVar("T")


class DictOfSets:
    """The baseline of the router: subscribers as one writes them first, a dict of sets in both directions."""

    def __init__(self) -> None:
        self._subscribers: defaultdict[bytes, set[AnySubscriber]] = defaultdict(set)
        self._channels: defaultdict[AnySubscriber, set[bytes]] = defaultdict(set)

    def join(self, subscriber: AnySubscriber, channel: bytes) -> None:
        """Add a subscriber to a channel."""
        self._subscribers[channel].add(subscriber)
        self._channels[subscriber].add(channel)

    def leave(self, subscriber: AnySubscriber, channel: bytes) -> None:
        """Take a subscriber from a channel it has joined."""
        subscribers = self._subscribers[channel]
        subscribers.discard(subscriber)
        if not subscribers:
            del self._subscribers[channel]
        channels = self._channels[subscriber]
        channels.discard(channel)
        if not channels:
            del self._channels[subscriber]


class Membership(NamedTuple):
    """The cost of being in so many channels."""

    us_each: float
    """CPU microseconds to join one channel."""
    bytes_each: float
    """Memory of one channel with one subscriber, its name included."""
    total_bytes: int
    """Memory of the whole process."""


def channels_us(channels: int) -> float:
    """Return the microseconds to dispatch a message when there are so many channels with a subscriber each."""
    return _in_process(_dispatch, channels)


def membership(table: str, channels: int) -> Membership:
    """Join so many channels, each with one subscriber, a thousand to a subscriber.

    Args:
        table: router or dict-of-sets.
        channels: how many.
    """
    return _in_process(_join, table, channels)


@contextmanager
def drained(clients: int) -> Iterator[list[socket.socket]]:
    """Give so many sockets whose other ends another process reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        drain = _FORK.Process(target=_drain, args=(listener.getsockname()[1], clients), daemon=True)
        drain.start()
        sockets = [listener.accept()[0] for _ in range(clients)]
    try:
        for accepted in sockets:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sockets
    finally:
        for accepted in sockets:
            accepted.close()
        drain.kill()
        drain.join()


def _drain(port: int, clients: int) -> None:
    """Connect, read what is there and nap, so that it is not the writer who wakes this process."""
    epoll = select.epoll()
    sockets = {}
    for _ in range(clients):
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        sockets[client.fileno()] = client
        epoll.register(client, select.EPOLLIN)
    buffer = bytearray(1 << 18)
    while sockets:
        ready = epoll.poll(0, 4096)
        for fd, _event in ready:
            if not sockets[fd].recv_into(buffer):
                sockets.pop(fd).close()
        if not ready:
            time.sleep(NAP_SECONDS)


def _in_process(function: Callable[..., T], *arguments: object) -> T:
    with ProcessPoolExecutor(1, mp_context=_FORK) as pool:
        return pool.submit(function, *arguments).result()


def _fill(table: Router | DictOfSets, channels: int) -> list[bytes]:
    hub = new_hub()
    names = []
    for at in range(channels):
        if at % _CHANNELS_EACH == 0:
            client = null_client(hub)
        names.append(b"feed:room/%07d" % at)
        table.join(client, names[-1])
    return names


def _join(kind: str, channels: int) -> Membership:
    table: Router | DictOfSets = new_hub().router if kind == "router" else DictOfSets()
    gc.collect()
    before, began = private_bytes("self"), time.process_time()
    _fill(table, channels)
    used, total = time.process_time() - began, private_bytes("self")
    return Membership(used * 1e6 / channels, max(total - before, 1) / channels, total)


def _dispatch(channels: int) -> float:
    hub = new_hub()
    names = _fill(hub.router, channels)
    gc.collect()
    gc.freeze()
    # The names come from Redis as objects of their own.
    batches: list[list[Push]] = []
    for first in range(0, MESSAGES, 64):
        at = range(first, min(first + 64, MESSAGES))
        batches.append([[b"pmessage", PATTERN, bytes(bytearray(names[k * _STRIDE % channels])), PAYLOAD] for k in at])
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for batch in batches:
            hub.dispatch(batch)
        best = min(best, time.process_time() - began)
    return best * 1e6 / MESSAGES
