"""The way to join a channel of a server and to publish to it, and the form of its messages on the wire.

Most servers here take a channel from the URL and send each message as one frame. Socket.IO has a
conversation first, wraps a message in JSON, and has heartbeats of its own inside the messages.

Most servers take a raw PUBLISH, so the inlet is Redis and the server sees nothing of the publisher. Some libraries wrap
a message for themselves in Redis; then that wrapping is published. Where a server takes messages only over HTTP, that
is the inlet, and the server pays for it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from mux.wire.resp import encode_publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The particulars of one server; {channel} stands for the channel's name."""

    greeting: bytes = b""
    """The first message of a client, sent after the handshake."""
    script: tuple[tuple[bytes, bytes], ...] = ()
    """After that: wait for a message that begins so, then send that. Then the client has joined."""
    before: bytes = b""
    """The bytes that a message begins with, before the stamp."""
    after: bytes = b""
    is_varied: bool = False
    """True when messages differ in size and several may be in a frame: each stamp is found by what is before it."""
    send_before: bytes = b""
    """The bytes that a message of a client begins with, before the stamp."""
    send_after: bytes = b""
    heartbeat: tuple[bytes, bytes] | None = None
    """A message that is to be answered, and the answer."""


PLAIN = Dialect()

SOCKET_IO = Dialect(
    script=((b"0", b"40"), (b"40", b'42["join","{channel}"]'), (b'42["joined"', b"")),
    before=b'42["message","',
    after=b'"]',
    send_before=b'42["publish","',
    send_after=b'"]',
    heartbeat=(b"2", b"3"),
)
"""Socket.IO 4 over Engine.IO 4, WebSocket only."""

SDK_PATH = "/connection/websocket"

SDK = Dialect(
    greeting=b'{"id":1,"connect":{}}',
    script=(
        (b'{"id":1,"connect"', b'{"id":2,"subscribe":{"channel":"{channel}"}}'),
        (b'{"id":2,"subscribe"', b""),
    ),
    before=b'"data":"',
    is_varied=True,
    send_before=b'{"id":3,"publish":{"channel":"{channel}","data":"',
    send_after=b'"}}',
)
"""The JSON protocol of Centrifugo's SDKs, without pings."""


@dataclass(frozen=True, slots=True)
class Target:
    """The server to connect to."""

    host: str
    port: int
    path: str
    """With {channel} in it, unless the dialect joins in another way."""

    def request(self, channel: str) -> bytes:
        """Return the opening handshake of a client of a channel."""
        path = self.path.replace("{channel}", quote(channel))
        return (
            f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            # The example of RFC 6455, section 1.2.
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()


def parse_target(url: str) -> Target:
    """Read a ws:// URL; without a path it is mux' /feed/{channel}, without {channel} that is appended.

    Raises:
        ValueError: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "ws" or not parts.hostname:
        raise ValueError(f"{url!r} is no ws:// URL; TLS is not offered, for it would be what is measured")
    path = parts.path.rstrip("/") or "/feed"
    if parts.query:
        path = f"{parts.path}?{parts.query}"
    elif "{channel}" not in path:
        path += "/{channel}"
    return Target(parts.hostname, parts.port or 80, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlet:
    """The way to publish; {channel} stands for the channel's name."""

    url: str
    """redis://, unix:// or http://."""
    channel: str = "feed:{channel}"
    """The Redis channel, or the path of the POST."""
    before: bytes = b""
    after: bytes = b""
    """The text that the library puts around a message; {channel} is replaced here too."""

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


def text_frame(payload: bytes) -> bytes:
    """Return what a client sends: one text frame, masked with zeros, which leaves the payload as it is."""
    return _client_frame(0x81, payload)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    return _client_frame(0x8A, payload)


def _client_frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 0x10000:
        head = bytes((first, 0xFE)) + size.to_bytes(2)
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8)
    return head + bytes(4) + payload
