"""The server's side of the WebSocket opening handshake (RFC 6455, section 4.2), as `websockets` makes it.

Sanic has parsed the request already. The handshake keeps nothing, so one object answers for all
connections, and what a connection costs later does not include it.
"""

from __future__ import annotations

from collections.abc import Iterable

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol


class Handshake:
    """Answers opening handshakes. No extension is offered and no subprotocol chosen."""

    __slots__ = ("_protocol",)

    def __init__(self) -> None:
        self._protocol = ServerProtocol(state=State.OPEN)

    def answer(self, path: str, headers: Iterable[tuple[str, str]]) -> Response:
        """Return the response: 101 for yes; anything else is a refusal, and the connection stays HTTP's."""
        return self._protocol.accept(Request(path, Headers(headers)))
