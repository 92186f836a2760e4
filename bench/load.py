"""The load: raw sockets that read as fast as the kernel gives, and one that publishes.

A client library would cost more than the servers under test. Every message has the same known size, so
a client is a socket and a number of bytes still to come, and epoll tells which sockets to read. That
leaves the generator at about a microsecond per read, which is less than any server here spends on the
matching write.

Who sleeps on a socket is woken by whoever writes to it, on the writer's time. A real client is on another
machine, so where many sockets are read the load looks, reads what is there, and naps (nap_seconds).

Counting bytes proves that nothing was lost or added, not that every byte is right: that is the business
of the tests, not of the benchmarks.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import redis

from bench.messages import PAYLOAD
from mux.wire.resp import encode_publish

PATIENCE_SECONDS = 60.0
"""How long a server may be silent before the benchmark is given up."""

_READ_BYTES = 256 * 1024
_REQUEST = (
    "GET /feed/{channel} HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"  # the example of RFC 6455, section 1.2
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n"
)
_STREAM_REQUEST = "GET /feed/{channel} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_STREAM_BEGUN = b"\n\r\n"  # the end of the chunk that says when to come back
_DROPPED = "a client was dropped"


class Clients:
    """Open WebSockets, or event streams, to one server.

    Args:
        port: where it listens on the loopback address.
        nap_seconds: how long to sleep when there is nothing to read; None lets the next byte end the sleep.
        streams: open event streams instead.
    """

    def __init__(self, port: int, *, nap_seconds: float | None = None, streams: bool = False) -> None:
        self._request, self._status, self._begun = (
            (_STREAM_REQUEST, b"HTTP/1.1 200 ", _STREAM_BEGUN) if streams else (_REQUEST, b"HTTP/1.1 101 ", _HEAD_END)
        )
        self._address = ("127.0.0.1", port)
        self._nap_seconds = nap_seconds
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._buffer = bytearray(_READ_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._epoll.close()
        for client in self._sockets.values():
            client.close()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._sockets)

    def connect(self, channels: Iterable[str]) -> None:
        """Open one more client for each channel named, all at once, and wait until all are accepted."""
        heads: dict[int, bytes] = {}
        for channel in channels:
            client = socket.create_connection(self._address, PATIENCE_SECONDS)
            self._sockets[client.fileno()] = client
            client.sendall(self._request.format(channel=channel).encode())
            client.setblocking(False)
            self._epoll.register(client, select.EPOLLIN)
            heads[client.fileno()] = b""
        while heads:
            for fd in self._ready():
                data = self._sockets[fd].recv(_READ_BYTES)
                if fd not in heads or not data:
                    raise ConnectionError(f"a client got {data!r} while others connect" if data else _DROPPED)
                head = heads[fd] + data
                heads[fd] = head
                if head.endswith(self._begun):
                    if not head.startswith(self._status):
                        raise ConnectionRefusedError(head.decode(errors="replace"))
                    del heads[fd]

    def send(self, data: bytes) -> None:
        """Send bytes from every client."""
        for client in self._sockets.values():
            client.sendall(data)

    def receive(self, bytes_each: int) -> None:
        """Wait until every client has received so many bytes, and not one more."""
        missing = dict.fromkeys(self._sockets, bytes_each)
        sockets, buffer = self._sockets, self._buffer
        while missing:
            for fd in self._ready():
                count = sockets[fd].recv_into(buffer)
                left = missing.get(fd, 0) - count
                if left > 0 and count:
                    missing[fd] = left
                elif not left and count:
                    del missing[fd]
                else:
                    raise ConnectionError(f"a client got {-left} bytes too many" if count else _DROPPED)

    def _ready(self) -> list[int]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        nap_seconds = self._nap_seconds
        timeout = PATIENCE_SECONDS if nap_seconds is None else 0.0
        while not (ready := self._epoll.poll(timeout, len(self._sockets))):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server said nothing for {PATIENCE_SECONDS:g} s")
            time.sleep(nap_seconds or 0.0)
        return [fd for fd, _ in ready]


class Publisher:
    """A connection that publishes the message, prepared beforehand so that a burst is one write.

    Args:
        redis_url: a unix:// URL.
        redis_channel: where to.
    """

    def __init__(self, redis_url: str, redis_channel: bytes) -> None:
        self._redis = redis.Redis.from_url(redis_url)
        self._redis_channel = redis_channel
        self._command = encode_publish(redis_channel, PAYLOAD)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect(redis_url.removeprefix("unix://"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._redis.close()

    def wait_for_subscriber(self) -> None:
        """Wait until exactly one connection would receive what is published."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._subscribers() != 1:
            if time.monotonic() > deadline:
                raise TimeoutError("the server has not subscribed")
            time.sleep(0.01)

    def publish(self, count: int) -> None:
        """Publish the message count times, back to back. Wait for the answers with confirm()."""
        self._socket.sendall(self._command * count)

    def confirm(self, count: int) -> None:
        """Take the answers to count publishes: each went to one connection."""
        expected = b":1\r\n" * count
        answer = b""
        while len(answer) < len(expected):
            answer += self._socket.recv(_READ_BYTES)
        if answer != expected:
            raise ConnectionError("what was published did not reach exactly one connection")

    def _subscribers(self) -> int:
        ((_, subscribed),) = self._redis.pubsub_numsub(self._redis_channel.decode())
        return int(subscribed) + int(self._redis.pubsub_numpat())
