"""Thousands of clients in one process: raw sockets, one epoll, no event loop.

A client library would cost more than the servers under test.

Who sleeps on a socket is woken by whoever writes to it, on the writer's time. Real clients are on other
machines, so a crowd that is large looks, reads what is there and naps: that keeps its wake-ups out of the
server's CPU, and adds up to NAP_SECONDS to a latency.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.loadgen.dialect import Dialect, Target, text_frame
from bench.loadgen.frames import Frames
from bench.loadgen.stamp import channel_name, message

NAP_SECONDS = 0.0002
MANY_CLIENTS = 100
"""From so many on, the crowd naps."""

_READ_BYTES = 256 * 1024
_HEAD_END = b"\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Joining:
    """A client that is not ready yet."""

    index: int
    started: float
    steps: list[tuple[bytes, bytes]]
    data: bytes = b""
    upgraded: bool = False


@dataclass(slots=True)
class Connected:
    """How connecting went."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    """Seconds each client waited from the moment its connection was begun until it had joined."""
    refused: int = 0
    reason: str = ""


class Crowd:
    """Clients of one server.

    Args:
        target: where.
        dialect: how.
        channels: the channel number of each client.
        message_bytes: the size of every message.
    """

    def __init__(self, target: Target, dialect: Dialect, channels: Sequence[int], *, message_bytes: int) -> None:
        self.frames = Frames(dialect, message_bytes, list(channels))
        self._target = target
        self._dialect = dialect
        self._channels = channels
        self._message_bytes = message_bytes
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._indices: dict[int, int] = {}
        self._joining: dict[int, _Joining] = {}
        self._by_index: dict[int, socket.socket] = {}
        self._connected = Connected()
        self._naps = len(channels) >= MANY_CLIENTS

    def __len__(self) -> int:
        return len(self._sockets)

    def close(self) -> None:
        """Reset every connection: thousands in TIME_WAIT would use up the ports for the next run."""
        for client in self._sockets.values():
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
        self._sockets.clear()
        self._indices.clear()
        self._by_index.clear()
        self._epoll.close()

    def connect(self, *, at_once: int, patience: float, live: Callable[[int], None]) -> Connected:
        """Open all clients, never more than at_once under way, and wait until each has joined."""
        result = self._connected = Connected()
        began = time.monotonic()
        waiting = iter(range(len(self._channels)))
        more = True
        while more or self._joining:
            while more and len(self._joining) < at_once:
                index = next(waiting, None)
                if index is None:
                    more = False
                else:
                    self._begin(index)
            self._turn(0.05)
            live(len(result.waits))
            if time.monotonic() - began > patience:
                result.reason = result.reason or f"not all were served within {patience:g} s"
                result.refused += len(self._joining)
                for fd in list(self._joining):
                    self._drop(fd)
                break
        result.seconds = time.monotonic() - began
        return result

    def receive(self, until: Callable[[], float]) -> None:
        """Read until until() gives a negative number; it gives the most seconds to wait."""
        while (patience := until()) >= 0:
            if not self._turn(0 if self._naps else patience) and self._naps and patience:
                time.sleep(min(patience, NAP_SECONDS))
            self.frames.latencies.gather()

    def send(self, index: int, sequence: int, due_us: int) -> None:
        """Send a stamped message from a client, on its channel."""
        client = self._by_index.get(index)
        if client is not None:
            body = message(self._channels[index], sequence, due_us, self._message_bytes)
            self._write(client, text_frame(self._dialect.send_before + body + self._dialect.send_after))

    def _turn(self, patience: float) -> bool:
        events = self._epoll.poll(patience, 4096)
        sockets, indices, take = self._sockets, self._indices, self.frames.take
        for fd, event in events:
            if self._joining and fd in self._joining:
                self._advance(fd, event)
                continue
            try:
                data = sockets[fd].recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self.frames.closed.add(indices[fd])
                self._drop(fd)
            elif answer := take(indices[fd], data):
                self._write(sockets[fd], answer)
        return bool(events)

    def _begin(self, index: int) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = client.fileno()
        self._sockets[fd] = client
        self._indices[fd] = index
        self._by_index[index] = client
        self._joining[fd] = _Joining(index, time.monotonic(), list(self._dialect.script))
        client.connect_ex((self._target.host, self._target.port))
        self._epoll.register(fd, select.EPOLLOUT)

    def _advance(self, fd: int, event: int) -> None:
        client, joining = self._sockets[fd], self._joining[fd]
        if event & select.EPOLLOUT:
            error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._refuse(fd, f"connecting failed: {os.strerror(error)}")
                return
            self._write(client, self._target.request(self._channel(joining.index)))
            self._epoll.modify(fd, select.EPOLLIN)
            return
        try:
            data = client.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._refuse(fd, f"closed instead of joined: {joining.data[:80]!r}")
            return
        joining.data += data
        if not joining.upgraded:
            head, end, rest = joining.data.partition(_HEAD_END)
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self._refuse(fd, head.partition(b"\r\n")[0].decode(errors="replace"))
                return
            joining.upgraded, joining.data = True, rest
        self._follow_script(fd, client, joining)

    def _follow_script(self, fd: int, client: socket.socket, joining: _Joining) -> None:
        # A step's message is short and comes alone, so a two-byte header is cut off and the rest compared.
        while joining.steps and joining.data:
            size = joining.data[1] & 0x7F if len(joining.data) > 1 else 126
            skip = 2 if size < 126 else 4
            if size == 126 and len(joining.data) >= 4:
                size = int.from_bytes(joining.data[2:4])
            if len(joining.data) < skip + size:
                return
            payload, joining.data = joining.data[skip : skip + size], joining.data[skip + size :]
            expected, send = joining.steps[0]
            if payload.startswith(expected):
                del joining.steps[0]
                if send:
                    self._write(client, text_frame(send.replace(b"{channel}", self._channel(joining.index).encode())))
        if not joining.steps:
            del self._joining[fd]
            self._connected.waits.append(time.monotonic() - joining.started)
            if joining.data:
                self._write(client, self.frames.take(joining.index, joining.data))

    def _channel(self, index: int) -> str:
        return channel_name(self._channels[index])

    def _refuse(self, fd: int, reason: str) -> None:
        self._connected.refused += 1
        self._connected.reason = self._connected.reason or reason
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._joining.pop(fd, None)
        self._epoll.unregister(fd)
        self._by_index.pop(self._indices.pop(fd), None)
        self._sockets.pop(fd).close()

    def _write(self, client: socket.socket, data: bytes) -> None:
        try:
            if data and client.send(data) != len(data):
                raise BlockingIOError
        except BlockingIOError as error:
            raise RuntimeError("a server does not read what its clients send: lower the rate") from error
        except OSError:
            return  # the read that follows tells
