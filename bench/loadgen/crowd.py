"""Thousands of clients in one process: raw sockets, one epoll, no event loop.

A client library would cost more than the servers under test.

A process that sleeps on a socket is woken by the writer, on the writer's time. Real clients are on other machines,
so a large crowd polls, reads what is there and naps: that keeps its wake-ups out of the server's CPU, and adds up
to NAP_SECONDS to a latency.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.loadgen.dialect import text_frame
from bench.loadgen.frames import Frames, split
from bench.loadgen.load import Load
from bench.loadgen.stamp import channel_name, message

NAP_SECONDS = 0.0002
MANY_CLIENTS = 100
"""A crowd of at least so many clients naps."""

SPARE_DESCRIPTORS = 64
"""Descriptors that a process needs beside its connections."""

_READ_BYTES = 256 * 1024
_HEAD_END = b"\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)


def descriptors_for(clients: int) -> int:
    """Raise this process' limit on open files as far as allowed; return how many of the clients fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + SPARE_DESCRIPTORS
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(0, min(clients, soft - SPARE_DESCRIPTORS))


@dataclass(slots=True)
class _Client:
    index: int
    socket: socket.socket
    began: float
    steps: list[tuple[bytes, bytes]]
    """The rest of the dialect's script."""
    data: bytes = b""
    """The bytes that came before the client had joined."""
    is_upgraded: bool = False
    has_joined: bool = False


class Crowd:
    """Clients of one server.

    Args:
        load: which server, in which dialect, and how large messages are.
        channels: the channel number of each client.
    """

    def __init__(self, load: Load, channels: Sequence[int]) -> None:
        self.frames = Frames(load.dialect, load.message_bytes, list(channels))
        self.waits: list[float] = []
        """Seconds each client waited from the start of its connection until it had joined."""
        self.refused = 0
        self.reason = ""
        """Why the first refused client was refused."""
        self._load = load
        self._channels = channels
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._by_index: dict[int, socket.socket] = {}
        self._joining = 0
        self._naps = len(channels) >= MANY_CLIENTS

    def close(self) -> None:
        """Reset every connection: thousands in TIME_WAIT would use up the ports for the next run."""
        for client in self._clients.values():
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.socket.close()
        self._clients.clear()
        self._epoll.close()

    def connect(self, patience: float) -> None:
        """Open all clients and wait, at most so many seconds, until each has joined or was refused."""
        deadline = time.monotonic() + patience
        waiting = list(reversed(range(len(self._channels))))
        while waiting or self._joining:
            while waiting and self._joining < self._load.at_once:
                self._begin(waiting.pop())
            self._turn(0.05)
            if time.monotonic() > deadline:
                for fd in [fd for fd, client in self._clients.items() if not client.has_joined]:
                    self._refuse(fd, f"not all were served within {patience:g} s")
                return

    def receive(self, until: Callable[[], float]) -> None:
        """Read until until() gives a negative number; it gives the most seconds to wait."""
        while (patience := until()) >= 0:
            if not self._turn(0 if self._naps else patience) and self._naps and patience:
                time.sleep(min(patience, NAP_SECONDS))
            self.frames.latencies.gather()

    def send(self, index: int, sequence: int, due_us: int) -> None:
        """Send a stamped message from a client, on its channel."""
        client, dialect = self._by_index.get(index), self._load.dialect
        if client is not None:
            body = message(self._channels[index], sequence, due_us, self._load.message_bytes)
            before = _named(dialect.send_before, channel_name(self._channels[index]))
            _write(client, text_frame(before + body + dialect.send_after))

    def _turn(self, patience: float) -> bool:
        events = self._epoll.poll(patience, 4096)
        clients, take = self._clients, self.frames.take
        for fd, event in events:
            client = clients[fd]
            if event & select.EPOLLOUT:
                self._ask(fd, client)
                continue
            try:
                data = client.socket.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not client.has_joined:
                self._join(fd, client, data)
            elif not data:
                self.frames.closed.add(client.index)
                self._drop(fd)
            elif answer := take(client.index, data):
                _write(client.socket, answer)
        return bool(events)

    def _begin(self, index: int) -> None:
        opened = socket.socket()
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(index, opened, time.monotonic(), list(self._load.dialect.script))
        self._clients[opened.fileno()] = client
        self._joining += 1
        opened.connect_ex((self._load.target.host, self._load.target.port))
        self._epoll.register(opened, select.EPOLLOUT)

    def _ask(self, fd: int, client: _Client) -> None:
        if error := client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._refuse(fd, f"connecting failed: {os.strerror(error)}")
            return
        self._epoll.modify(fd, select.EPOLLIN)
        _write(client.socket, self._load.target.request(self._channel(client)))

    def _join(self, fd: int, client: _Client, data: bytes) -> None:
        if not data:
            self._refuse(fd, f"closed instead of joined: {client.data[:80]!r}")
            return
        client.data += data
        if not client.is_upgraded:
            head, end, rest = client.data.partition(_HEAD_END)
            status = head.partition(b"\r\n")[0]
            if not end:
                return
            if b" 101 " not in status:
                self._refuse(fd, status.decode(errors="replace"))
                return
            client.is_upgraded, client.data = True, rest
            if greeting := self._load.dialect.greeting:
                _write(client.socket, text_frame(greeting))
        self._follow_script(client)
        if not client.steps:
            client.has_joined = True
            self._joining -= 1
            self._by_index[client.index] = client.socket
            self.waits.append(time.monotonic() - client.began)
            if client.data:
                _write(client.socket, self.frames.take(client.index, client.data))
                client.data = b""

    def _follow_script(self, client: _Client) -> None:
        for _opcode, head, payload in split(client.data):
            if not client.steps:
                break
            client.data = client.data[len(head) + len(payload) :]
            expected, answer = client.steps[0]
            if payload.startswith(expected):
                del client.steps[0]
                if answer:
                    _write(client.socket, text_frame(_named(answer, self._channel(client))))

    def _channel(self, client: _Client) -> str:
        return channel_name(self._channels[client.index])

    def _refuse(self, fd: int, reason: str) -> None:
        self.refused += 1
        self.reason = self.reason or reason
        self._joining -= 1
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._epoll.unregister(fd)
        client = self._clients.pop(fd)
        self._by_index.pop(client.index, None)
        client.socket.close()


def _named(text: bytes, channel: str) -> bytes:
    return text.replace(b"{channel}", channel.encode())


def _write(client: socket.socket, data: bytes) -> None:
    try:
        if data and client.send(data) != len(data):
            raise BlockingIOError
    except BlockingIOError as error:
        raise RuntimeError("a server does not read what its clients send: lower the rate") from error
    except OSError:
        return  # the read that follows tells
