"""Follow a channel over a WebSocket, or over an event stream (Server-Sent Events).

A follower is read by one thread and may be ended by another. messages() connects and yields what passes, and ends only
by a ServerUnreachable that says why: nobody answers, the answer was no, the connection has ended, or not all messages
since a position are known any more.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import io
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from mux.command.server_url import (
    TIMEOUT_SECONDS,
    ServerUrl,
    cause,
    escape_controls,
    reaching,
    reason,
    refusal,
    unreachable,
)
from mux.errors import ServerUnreachable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_MESSAGE_LENGTH = 64 * 1024 * 1024
"""Most bytes of a message or an event. A longer one is none of mux, for it is twice what Redis' largest output buffer
lets pass."""

_CLOSE_SECONDS = 1.0

_MISSED_CODE = 4410

_MISSED = "not all messages since this position are known any more: follow without --since, or with a time, as 30s"

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A server that vanished is noticed within a minute: on an event stream nothing is sent from this side."""


@dataclass(frozen=True, slots=True)
class Missed:
    """The server may have missed messages, of any channel.

    Attributes:
        count: how many; None when it does not know.
    """

    count: int | None

    def __str__(self) -> str:
        if self.count is None:
            return "the server may have missed messages"
        return f"the server missed {self.count} message{'s' if self.count != 1 else ''} of all channels"


class _Connection(ClientConnection):
    """A connection that ends when it is refused, and is not redirected: its headers may be secret."""

    def handshake(self, *args: Any, **options: Any) -> None:
        try:
            super().handshake(*args, **options)
        except InvalidStatus as error:
            answer = error.response
            why = refusal(answer.body or b"", answer.status_code, answer.reason_phrase, answer.headers)
            raise ServerUnreachable(f"the server refused: {why}") from error


class WebSocketFollower:
    """A channel over its WebSocket.

    Args:
        address: where the server is.
        channel: its name.
        query: which messages from before are wanted, as the query of a URL.
    """

    def __init__(self, address: ServerUrl, channel: str, query: str = "") -> None:
        self._address = address
        self._target = address.websocket_url(channel) + query
        self._websocket: ClientConnection | None = None

    def messages(self) -> Iterator[str | bytes]:
        """Connect, and yield what passes."""
        try:
            with connect(
                self._target,
                open_timeout=TIMEOUT_SECONDS,
                close_timeout=_CLOSE_SECONDS,
                max_size=MAX_MESSAGE_LENGTH,
                compression=None,
                ssl=self._address.trusted,
                additional_headers=self._address.headers,
                user_agent_header=None,  # there may be one among the headers
                proxy=None,  # as every other command
                create_connection=_Connection,
            ) as websocket:
                self._websocket = websocket
                yield from websocket
            if websocket.close_code == _MISSED_CODE:
                raise ServerUnreachable(_MISSED)
            why = escape_controls(f"{websocket.close_code} {websocket.close_reason}")
            raise ServerUnreachable(f"the server closed the connection: {why}")
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == _MISSED_CODE:
                raise ServerUnreachable(_MISSED) from error
            raise ServerUnreachable(f"the connection was closed: {escape_controls(str(error))}") from error
        except (OSError, UnicodeError, WebSocketException) as error:
            raise ServerUnreachable(unreachable(self._address.url, error)) from error

    def close(self) -> None:
        """End it, from any thread; blocks for a second at most."""
        if self._websocket is not None:
            self._websocket.close()


class EventStreamFollower:
    """A channel over Server-Sent Events; the arguments are those of a WebSocketFollower."""

    def __init__(self, address: ServerUrl, channel: str, query: str = "") -> None:
        self._address = address
        self._target = address.feed_path(channel) + query
        self._socket: socket.socket | None = None

    def messages(self) -> Iterator[str | bytes | Missed]:
        """Connect, and yield what passes."""
        connection = self._address.connection()
        try:
            response = self._open(connection)
            try:
                yield from _messages(response)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise ServerUnreachable(f"the connection was closed: {cause(error)}") from error
        finally:
            connection.close()

    def close(self) -> None:
        """End it, from any thread."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _open(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        headers = {**self._address.headers, "Accept": "text/event-stream", "Cache-Control": "no-cache"}
        with reaching(self._address.url):
            connection.request("GET", self._target, headers=headers)
            self._socket = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                raise ServerUnreachable(f"the server refused: {reason(response.read(65536), response)}")
            kind = escape_controls(response.getheader("Content-Type", "nothing"))
            if kind.partition(";")[0].strip().lower() != "text/event-stream":
                raise ServerUnreachable(f"what answers at {self._address.url} sent no event stream but {kind}")
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return response


Follower = WebSocketFollower | EventStreamFollower


class _Body(io.RawIOBase):
    """A body that is read as it comes; HTTPResponse.readline() takes a connection that breaks for its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        free = memoryview(buffer)
        piece = self._response.read1(len(free))
        free[: len(piece)] = piece
        return len(piece)


def _messages(response: http.client.HTTPResponse) -> Iterator[str | bytes | Missed]:
    """Yield the messages of an event stream as mux writes it: lines end with LF, and the last comment is its goodbye.

    An event without data is none, and an event that a stream breaks off in is none either. A heartbeat is no message:
    it says the position of the stream.
    """
    kind, comment, length = "", "", 0
    data: list[str] = []
    body = io.BufferedReader(_Body(response))
    while line := body.readline(MAX_MESSAGE_LENGTH - length + 1):
        length += len(line)
        if length > MAX_MESSAGE_LENGTH:
            raise ServerUnreachable(f"the server sent an event of over {MAX_MESSAGE_LENGTH} characters")
        text = line.decode(errors="replace").removesuffix("\n").removesuffix("\r")
        field, _, value = text.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif field == "event":
            kind = value.removeprefix(" ")
        elif text and not field:
            comment = value.removeprefix(" ")
        elif not text:
            if data and kind == "missed":
                yield _missed("\n".join(data))
            elif data and kind not in ("position", "expired"):  # the comment that follows says that the token has ended
                yield _message(kind, "\n".join(data))
            kind, length = "", 0
            data.clear()
    # The body has come to its end as HTTP has it, so this is a goodbye and not a crash.
    why = f": {escape_controls(comment)}" if comment else ""
    raise ServerUnreachable(f"the server closed the connection{why}")


def _missed(data: str) -> Missed:
    """Return what a client is told of a gap, in the middle of its stream.

    Raises:
        ServerUnreachable: it is told that messages from before its stream began are not known any more.
    """
    try:
        match json.loads(data):
            case {"reason": "gap", "missed": int(count)}:
                return Missed(count)
            case {"reason": "gap"}:
                return Missed(None)
    except ValueError:
        pass
    raise ServerUnreachable(_MISSED)


def _message(kind: str, data: str) -> str | bytes:
    if kind == "binary":
        with suppress(binascii.Error):
            return base64.b64decode(data, validate=True)
    return data
