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
from dataclasses import dataclass, field, replace
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
            return (
                b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
                % (
                    channel.encode(),
                    len(wrapped),
                    wrapped,
                )
            )
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
    seconds: float = 0.0
    """From the first to the last answer."""
    late_us: int = 0
    """How far the publisher itself was behind its schedule at worst; 0 in a burst."""
    cpu_seconds: float | None = None
    """What the limit spent on sending."""


@dataclass(slots=True)
class Publisher:
    """One connection that publishes."""

    door: Door
    message_bytes: int
    _tail: bytes = b""
    _unsent: bytearray = field(default_factory=bytearray)

    def run(self, schedule: Schedule, stop: Callable[[], bool] = lambda: False) -> Published:
        """Publish everything, or what there is until stop() is true, and wait for the answers.

        Raises:
            TimeoutError: nothing moved for 60 s.
            ConnectionError: a message was refused.
        """
        result = Published()
        made = confirmed = 0
        with self.door.connect() as connection:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            moved = time.monotonic()
            while confirmed < schedule.messages:
                if stop():
                    schedule = replace(schedule, messages=made)
                if len(self._unsent) < _READ_BYTES:
                    made, behind = self._make(schedule, made)
                    result.late_us = max(result.late_us, behind)
                sent = self._push(connection)
                answered = self._pull(connection)
                confirmed += answered
                if sent or answered:
                    moved = time.monotonic()
                elif time.monotonic() - moved > PATIENCE_SECONDS + schedule.seconds:
                    raise TimeoutError(f"publishing stands still at {confirmed} of {schedule.messages} messages")
                else:
                    _wait(poll, schedule, made, blocked=bool(self._unsent))
        result.messages = confirmed
        result.seconds = (now_us() - schedule.start_us) / 1e6
        return result

    def _make(self, schedule: Schedule, made: int) -> tuple[int, int]:
        now = now_us()
        until = min(schedule.due_by(now), made + _CHUNK)
        if until == made:
            return made, 0
        behind = now - schedule.due_us(made) if schedule.rate else 0
        for k in range(made, until):
            sequence, channel = divmod(k, schedule.channels)
            body = message(channel, sequence, schedule.due_us(k), self.message_bytes)
            self._unsent += self.door.command(channel_name(channel), body)
        return until, behind

    def _push(self, connection: socket.socket) -> int:
        if not self._unsent:
            return 0
        try:
            sent = connection.send(self._unsent)
        except BlockingIOError:
            return 0
        del self._unsent[:sent]
        return sent

    def _pull(self, connection: socket.socket) -> int:
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            raise ConnectionError("the connection that publishes was closed")
        data = self._tail + data
        # An answer may be cut in two: keep what follows the last end of line.
        end = data.rfind(b"\n") + 1
        data, self._tail = data[:end], data[end:]
        return self.door.answers(data)


def _wait(poll: select.poll, schedule: Schedule, made: int, *, blocked: bool) -> None:
    if made == schedule.messages or blocked:
        poll.poll(1)
        return
    wait_us = schedule.due_us(made) - now_us()
    if wait_us > 0:
        time.sleep(min(wait_us, 50_000) / 1e6)
