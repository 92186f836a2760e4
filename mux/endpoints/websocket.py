"""What every WebSocket client gets, whatever its messages mean.

The opening handshake, pongs, the closing handshake and the end of the connection are the same for a
feed and for any later protocol on top of WebSocket. What a whole message means, and what is to be done
when a client has left, is told by whoever makes a WebSocketEndpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeAlias

from sanic.request import Request
from sanic.response import HTTPResponse
from websockets.frames import CloseCode

from mux.endpoints.takeover import Taken, attach, detach
from mux.errors import MessageTooLarge
from mux.hub.allowance import Pace
from mux.hub.hub import Hub
from mux.hub.subscriber import Subscriber
from mux.wire.ws_encoder import PING, encode
from mux.wire.ws_handshake import Handshake, accept_usual
from mux.wire.ws_parser import WebSocketParser

WebSocketClient: TypeAlias = Subscriber[WebSocketParser]

REASONS: dict[int, str] = {
    CloseCode.INVALID_DATA: "invalid_text",
    CloseCode.MESSAGE_TOO_BIG: MessageTooLarge.counted_as,
}
"""What a connection that the parser has failed is counted as, by close code."""


class WebSocketEndpoint:
    """The endpoint of WebSocket clients (hub.subscriber.Endpoint).

    Args:
        hub: where they are connected.
        max_message_bytes: a longer message fails the connection with 1009.
        on_message: takes a client, a payload, and whether it was sent as binary.
        on_leave: takes a client and the channels it has just left; called once for each that had any.
        on_lost: takes a client that is gone; called once for each.
        pace: how fast a client may speak.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        max_message_bytes: int,
        on_message: Callable[[WebSocketClient, bytes, bool], None],
        on_leave: Callable[[WebSocketClient, list[bytes]], None],
        on_lost: Callable[[WebSocketClient], None],
        pace: Pace[WebSocketClient],
    ) -> None:
        self._hub = hub
        self._handshake = Handshake()
        self._max_message_bytes = max_message_bytes
        self._on_message = on_message
        self._on_leave = on_leave
        self._on_lost = on_lost
        self._pace = pace

    ping = PING
    is_answered = True

    def accept(self, request: Request, join: Callable[[WebSocketClient], None]) -> HTTPResponse | None:
        """Answer the opening handshake and take the connection over.

        join is called with the connected client before anything it sent is looked at. Returns what to
        answer instead when the handshake is refused, and None otherwise, also when the client has gone.
        """
        accepted = accept_usual(request.headers.items())
        if accepted is None:
            answer = self._handshake.answer(request.path, request.headers.items())
            if answer.status_code != 101:
                self._hub.refused["handshake"] += 1
                # Upgrade needs Connection to list it, which is Sanic's to say; see also feed._upgrade_required().
                headers = {name: value for name, value in answer.headers.raw_items() if name != "Upgrade"}
                return HTTPResponse(answer.body, answer.status_code, headers)
            accepted = answer.serialize()
        taken = detach(request)
        if taken is not None:
            self.open(taken, accepted, join)
        return None

    def open(self, taken: Taken, accepted: bytes, join: Callable[[WebSocketClient], None]) -> None:
        """Make a client of a connection that was taken over; accepted is the answer to its handshake."""
        client = Subscriber(taken.transport, endpoint=self, encode=encode, backlog=self._hub)
        attach(taken.transport, client)
        self._hub.connected(client)
        if taken.is_blocked:
            client.pause_writing()
        client.write(accepted)
        join(client)
        if taken.early:
            client.data_received(taken.early)
        if taken.has_ended:
            taken.transport.close()

    def received(self, client: WebSocketClient, data: bytes) -> None:
        """Handle what a client sent."""
        parser = self._parser(client)
        messages = parser.receive(data)
        excess = None
        if self._pace.is_limited:
            allowed, excess = self._pace.count(client, len(messages), parser.control_frames(), monotonic())
            del messages[allowed:]
        for payload, binary in messages:
            if client.channels is None:
                break  # it was closed over the message before
            self._on_message(client, payload, binary)
        if excess is not None and client.channels is not None:
            self._hub.refused[excess] += 1
            parser.close(CloseCode.POLICY_VIOLATION, f"too many {excess.replace('_', ' ')}")
        self._flush(client, parser)
        # Who sends no message needs no parser: it only answers pings.
        if not messages and parser.is_at_rest:
            client.parser = None

    def close(self, client: WebSocketClient, code: int, reason: str) -> None:
        """Start the closing handshake, unless it has begun. The client leaves its channels now."""
        if client.transport.is_closing():
            return
        parser = self._parser(client)
        parser.close(code, reason)
        self._flush(client, parser)

    def lost(self, client: WebSocketClient) -> None:
        """Forget a client whose connection is gone."""
        self._leave(client)
        self._pace.forget(client)
        self._on_lost(client)
        self._hub.disconnected(client)

    def _parser(self, client: WebSocketClient) -> WebSocketParser:
        if client.parser is None:
            client.parser = WebSocketParser(max_message_bytes=self._max_message_bytes)
        return client.parser

    def _flush(self, client: WebSocketClient, parser: WebSocketParser) -> None:
        data, is_last = parser.outgoing()
        if data:
            client.write(data)
        if not parser.is_open:
            if client.channels is not None and parser.failure is not None:
                self._hub.refused[REASONS.get(parser.failure, "protocol_error")] += 1
            self._leave(client)
            self._hub.closing(client)
        if is_last:
            client.finish()
        self._hub.evict_overflowing()

    def _leave(self, client: WebSocketClient) -> None:
        channels = self._hub.router.leave_all(client)
        if channels:
            self._on_leave(client, channels)
