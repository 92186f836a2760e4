"""The server's side of the WebSocket opening handshake (RFC 6455, section 4.2), as `websockets` makes it.

Sanic has parsed the request already. The handshake keeps nothing of a connection, so one object answers
for all, and what a connection costs later does not include it.

Only the headers of the handshake are looked at: a cookie in some odd encoding is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

_HEADERS = ("connection", "upgrade", "sec-websocket-")


class Handshake:
    """Answers opening handshakes. No extension is offered and no subprotocol chosen."""

    __slots__ = ("_protocol",)

    def __init__(self) -> None:
        self._protocol = ServerProtocol(state=State.OPEN)

    def answer(self, path: str, headers: Iterable[tuple[str, str]]) -> Response:
        """Return the response: 101 for yes; anything else is a refusal, and the connection stays HTTP's."""
        try:
            own = Headers([item for item in headers if item[0].lower().startswith(_HEADERS)])
        except InvalidHandshake as error:
            return self._protocol.reject(HTTPStatus.BAD_REQUEST, f"Failed to open a WebSocket connection: {error!a}.\n")
        return self._protocol.accept(Request(path, own))
