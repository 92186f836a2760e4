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
