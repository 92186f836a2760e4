"""Publish on a schedule, through a server's door.

Most servers take a raw PUBLISH, so the door is Redis and the server sees nothing of the publisher. Some
libraries wrap a message for themselves in Redis; then that wrapping is published. Where a server takes
messages only over HTTP, that is the door, and the server pays for it.

Everything due is written at once and answers are counted, never waited for.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from bench.loadgen.schedule import Schedule
from bench.loadgen.stamp import channel_name, message, now_us
from mux.wire.resp import encode_publish

PATIENCE_SECONDS = 60.0
"""How long nothing may move before a run is given up."""

_READ_BYTES = 256 * 1024
_CHUNK = 512
"""Messages made and written at a time: a burst is not 100 MB of commands in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How to publish; {channel} stands for the channel's name."""

    url: str
    """redis://, unix:// or http://."""
    channel: str = "feed:{channel}"
    """The Redis channel, or the path of the POST."""
    before: bytes = b""
    after: bytes = b""
    """What the library puts around a message; {channel} is replaced here too."""

    def connect(self) -> socket.socket:
        """Open a connection."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(parts.path)
        else:
            default = 80 if parts.scheme == "http" else 6379
            connection = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        return connection

    def command(self, name: str, body: bytes) -> bytes:
        """Return the bytes that publish body to the channel of that name."""
        channel = self.channel.replace("{channel}", name)
        key = name.encode()
        wrapped = self.before.replace(b"{channel}", key) + body + self.after.replace(b"{channel}", key)
        if self.url.startswith("http:"):
            head = f"POST {channel} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
            return f"{head}Content-Length: {len(wrapped)}\r\n\r\n".encode() + wrapped
        return encode_publish(channel.encode(), wrapped)

    def answers(self, data: bytes) -> int:
        """Return how many publishes data confirms.

        Raises:
            ConnectionError: one was refused.
        """
        if self.url.startswith("http:"):
            count = data.count(b"HTTP/1.1 20")
            if count != data.count(b"HTTP/1.1 "):
                raise ConnectionError(f"the server refused a message: {data[:200]!r}")
            return count
        if data.startswith(b"-") or b"\n-" in data:
            raise ConnectionError(f"Redis refused a message: {data[:200]!r}")
        return data.count(b"\n")


@dataclass(slots=True)
class Published:
    """How publishing went."""

    messages: int = 0
    late_us: int = 0
    """How far the publisher itself was behind its schedule at worst; 0 in a burst."""
    cpu_seconds: float | None = None
    """What the limit spent on sending."""


def publish(door: Door, message_bytes: int, schedule: Schedule, stop: Callable[[], bool]) -> Published:
    """Publish everything, or what there is until stop() is true, and wait for the answers.

    Raises:
        TimeoutError: nothing moved for a minute.
        ConnectionError: a message was refused.
    """
    result = Published()
    made = 0
    unsent, answers = bytearray(), b""
    with door.connect() as connection:
        moved = time.monotonic()
        while result.messages < schedule.messages:
            if stop():
                schedule = replace(schedule, messages=made)
            if len(unsent) < _READ_BYTES and (due := min(schedule.due_by(now_us()), made + _CHUNK)) > made:
                if schedule.rate:
                    result.late_us = max(result.late_us, now_us() - schedule.due_us(made))
                for k in range(made, due):
                    sequence, channel = divmod(k, schedule.channels)
                    body = message(channel, sequence, schedule.due_us(k), message_bytes)
                    unsent += door.command(channel_name(channel), body)
                made = due
            sent = answered = 0
            with suppress(BlockingIOError):
                sent = connection.send(unsent) if unsent else 0
                del unsent[:sent]
            with suppress(BlockingIOError):
                data = connection.recv(_READ_BYTES)
                if not data:
                    raise ConnectionError("the connection that publishes was closed")
                # An answer may be cut in two: what follows the last end of line is kept.
                whole, end, answers = (answers + data).rpartition(b"\n")
                answered = door.answers(whole + end)
            result.messages += answered
            if sent or answered:
                moved = time.monotonic()
            elif time.monotonic() - moved > PATIENCE_SECONDS + schedule.seconds:
                raise TimeoutError(f"publishing stands still at {result.messages} of {schedule.messages} messages")
            else:
                _wait(connection, schedule, made, is_blocked=bool(unsent))
    return result


def _wait(connection: socket.socket, schedule: Schedule, made: int, *, is_blocked: bool) -> None:
    if made == schedule.messages or is_blocked:
        select.select([connection], [], [], 0.001)
    else:
        time.sleep(min(max(0, schedule.due_us(made) - now_us()), 50_000) / 1e6)
