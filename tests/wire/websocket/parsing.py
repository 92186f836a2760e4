"""Have a parser of a WebSocket look at bytes at once, as tests of it want."""

from __future__ import annotations

from mux.wire.websocket.message import Message
from mux.wire.websocket.parser import WebSocketParser


def receive(parser: WebSocketParser, data: bytes) -> list[Message]:
    """Feed bytes, have all of them looked at, and return the messages they complete."""
    parser.feed(data)
    parser.parse()
    messages = parser.messages[:]
    parser.messages.clear()
    return messages


def frames(buffer: bytes) -> list[tuple[int, bytes]]:
    """Return the first byte and the payload of every frame of the server."""
    found = []
    while buffer:
        size, start = buffer[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:start])
        found.append((buffer[0], buffer[start : start + size]))
        buffer = buffer[start + size :]
    return found
