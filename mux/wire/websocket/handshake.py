"""The server's side of the WebSocket opening handshake (RFC 6455, section 4.2).

Sanic has parsed the request already, and `websockets` judges it. That takes a quarter of the time of a whole
connection, and nearly every client sends the same few headers; so these are accepted without it.

1. `websockets` would accept every request that is answered without it, and it alone refuses one.
2. No extension is agreed on but compression (RFC 7692), where it is wanted, and then without context from one message
   to the next in both directions: so nothing is kept of a client for it.
3. Of the subprotocols that a client offers the first is chosen: mux carries any, and a browser ends a connection whose
   server chooses none of its offers.
4. Only the headers of the handshake are read: a cookie in some odd encoding does no harm.
5. A handshake keeps nothing of a connection: one object answers for all.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha1
from http import HTTPStatus
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from mux.wire.websocket.encoder import MAX_WINDOW_BITS

_HEADERS = ("connection", "upgrade", "sec-websocket-")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Every key is hashed with this (RFC 6455, section 1.3)."""

# Case for case as browsers and libraries send them; Firefox asks to be kept alive as well.
_CONNECTIONS = frozenset({"Upgrade", "upgrade", "keep-alive, Upgrade", "Keep-Alive, Upgrade"})
_UPGRADES = frozenset({"websocket", "WebSocket"})
_NO_OFFER = ""
_OFFERS = frozenset({_NO_OFFER, "permessage-deflate", "permessage-deflate; client_max_window_bits"})
_is_key = re.compile("[A-Za-z0-9+/]{22}==").fullmatch  # 16 bytes in base64
_usual_subprotocols = re.compile(r"([A-Za-z0-9._~-]+)(?:, ?[A-Za-z0-9._~-]+)*").fullmatch

_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n"
    b"%b"  # the compression
    b"%b"  # the chosen subprotocol
    b"\r\n"
)
_COMPRESSION = (
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
)
_window_bits = re.compile(r"server_max_window_bits=(\d+)").search


class Accepted(NamedTuple):
    """A handshake that is accepted."""

    answer: bytes
    """The whole answer."""
    window_bits: int = 0
    """The window of the compression that was agreed on, in bits; 0 when none was."""


def accept_usual(headers: Collection[tuple[str, str]], *, compresses: bool = False) -> Accepted | None:
    """Return the whole answer to a handshake as nearly all clients send it, None if it is another.

    Args:
        headers: their names are in lower case, and none comes twice in a usual handshake.
        compresses: agree on compression with clients that offer it.
    """
    values = dict(headers)
    value_of = values.get
    if (
        len(values) != len(headers)
        or value_of("connection") not in _CONNECTIONS
        or value_of("upgrade") not in _UPGRADES
        or value_of("sec-websocket-version") != "13"
        or value_of("sec-websocket-extensions", _NO_OFFER) not in _OFFERS
        or not _is_key(key := value_of("sec-websocket-key", ""))
    ):
        return None
    chosen = b""
    if "sec-websocket-protocol" in values:
        offered = _usual_subprotocols(values["sec-websocket-protocol"])
        if offered is None:
            return None
        chosen = b"Sec-WebSocket-Protocol: %b\r\n" % offered[1].encode()
    digest = b2a_base64(sha1(key.encode() + _GUID, usedforsecurity=False).digest(), newline=False)
    if compresses and value_of("sec-websocket-extensions"):
        return Accepted(_ACCEPTED % (digest, _COMPRESSION, chosen), MAX_WINDOW_BITS)
    return Accepted(_ACCEPTED % (digest, b"", chosen))


class Handshake:
    """Answers any opening handshake.

    Args:
        compresses: agree on compression with clients that offer it.
    """

    __slots__ = ("_protocol",)

    def __init__(self, *, compresses: bool = False) -> None:
        without_context = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True, client_no_context_takeover=True
        )
        self._protocol = ServerProtocol(
            extensions=[without_context] if compresses else None, state=State.OPEN, select_subprotocol=_first
        )

    def answer(self, path: str, headers: Iterable[tuple[str, str]]) -> Response:
        """Return the response: 101 for yes; anything else is a refusal, and the connection stays HTTP's."""
        try:
            own = Headers(
                [item for item in headers if item[0].lower().startswith(_HEADERS) and not _is_no_offer(*item)]
            )
        except InvalidHandshake as error:
            return self._protocol.reject(HTTPStatus.BAD_REQUEST, f"Failed to open a WebSocket connection: {error!a}.\n")
        answer = self._protocol.accept(Request(path, own))
        wrong, self._protocol.handshake_exc = self._protocol.handshake_exc, None
        if wrong is not None:
            # The request holds the error, and the frames of its traceback hold the request: only the collector would
            # free them.
            wrong.__traceback__ = None
        return answer


def window_bits(answer: Response) -> int:
    """Return the window of the compression that an answer agrees on, in bits; 0 when it agrees on none."""
    agreed = answer.headers.get("Sec-WebSocket-Extensions")
    if agreed is None:
        return 0
    found = _window_bits(agreed)
    return MAX_WINDOW_BITS if found is None else int(found[1])


def _first(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


def _is_no_offer(name: str, value: str) -> bool:
    """Tell whether a header names no subprotocol; some clients send it empty when they offer none."""
    return name.lower() == "sec-websocket-protocol" and not value.strip(", \t")
