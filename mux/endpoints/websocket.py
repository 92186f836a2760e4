"""Serve WebSocket clients, whatever their messages mean.

The opening handshake, pongs, the closing handshake and the end of the connection are the same for a
feed and for any later protocol on top of WebSocket. The maker of a WebSocketEndpoint says what a whole message means,
and what is to be done when a client has left.

Frames are handled in slices (endpoints.turns), for one read can bring 40,000 of them. While a client has more:

1. The client is not read from, so that the bytes kept of it are at most those of one read.
2. Its order stays: a message after the one before, and the closing handshake after all of them.
3. A goodbye to a client with which nothing is wrong waits until all it sent has been handled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.endpoints.dialect import PLAIN, CompressedSession, Dialect, Outcome, Session, WebSocketClient, WebSocketSession
from mux.endpoints.latest import Held
from mux.endpoints.takeover import Asking, take_over
from mux.endpoints.turns import BYTES_PER_SLICE, FRAMES_PER_SLICE, LIGHT_BYTES, Turns
from mux.hub.allowance import Pace
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber, Subscriber
from mux.reasons import Reason
from mux.wire.websocket.encoder import Compressor, close_frame, compressors
from mux.wire.websocket.handshake import Accepted, Handshake, accept_usual, window_bits
from mux.wire.websocket.parser import WebSocketParser, lone_text

S = TypeVar("S", bound=Session)


class WebSocketEndpoint(Generic[S]):
    """The endpoint of WebSocket clients (hub.subscriber.Endpoint).

    Args:
        hub: where they are connected.
        dialect: what is their own.
        max_message_bytes: a longer message fails the connection with 1009.
        on_message: takes a client, a payload, and whether it was sent as binary; None stands for Outcome.DONE.
        on_leave: takes a client and the channels it has just left; called once for each.
        pace: how fast a client may speak.
        is_writable: tells whether on_message may be called; while it may not, clients that have messages wait.
        settle: writes what is held for a client; called before its connection is closed.
        compress_min_bytes: the size from which messages are compressed for clients that can read that; None compresses
            nothing.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        max_message_bytes: int,
        on_message: Callable[[Subscriber[S], bytes, bool], Outcome | None],
        on_leave: Callable[[Subscriber[S], list[bytes]], None],
        pace: Pace[Subscriber[S]],
        is_writable: Callable[[], bool],
        settle: Callable[[Subscriber[S]], object] = lambda client: None,
        compress_min_bytes: int | None = None,
        dialect: Dialect = PLAIN,
    ) -> None:
        self._hub = hub
        self.compresses = compress_min_bytes is not None
        by_window = compressors(compress_min_bytes or 0)
        compressed = {one: one.encoder(dialect.encode) for one in by_window.values()}
        self._encoders = {0: dialect.encode} | {bits: compressed[one] for bits, one in by_window.items()}
        self._compressors = {encoder: one for one, encoder in compressed.items()}
        self._handshake = Handshake(compresses=self.compresses)
        self._max_message_bytes = max_message_bytes
        self.on_message = on_message
        self._on_leave = on_leave
        self._write_held = settle
        self._pace = pace
        self._is_writable = is_writable
        self._turns: Turns[Subscriber[S]] = Turns(self._serve, is_writable)
        self._afterwards: dict[Subscriber[S], Callable[[], None]] = {}
        self._dialect = dialect
        self._takes_lone_texts = dialect is PLAIN and not pace.is_limited
        self.encode = dialect.encode
        self.ping = dialect.ping
        self.is_named_once = dialect.is_named_once

    is_answered = True

    def last_words(self, client: Subscriber[S], reason: Reason) -> bytes:
        """Return a close frame for a client that is cut off, if its protocol has a code for that."""
        code = self._dialect.code(reason)
        return close_frame(code, reason.sentence) if code and client.session is not None else b""

    def inflation(self, data: bytes) -> int:
        """Return 0: the header of a frame is small."""
        return 0

    def conflated(self, client: Subscriber[S], held: Held) -> bytes:
        """Return what a client is written that was behind: how many messages were left out, and the newest."""
        return self._dialect.conflated(client, held)

    def accept(
        self,
        request: Request,
        address: str,
        join: Callable[[Subscriber[S]], None],
        headers: Collection[tuple[str, str]] | None = None,
    ) -> HTTPResponse | None:
        """Answer the opening handshake and take the connection over; see take_over().

        join gives the client its session; headers stand for those of the request. Returns what to answer instead when
        the handshake is refused, and None otherwise, also when the client has gone.
        """
        if headers is None:
            headers = request.headers.items()
        accepted = accept_usual(headers, compresses=self.compresses)
        if accepted is None:
            answer = self._handshake.answer(request.path, headers)
            if answer.status_code != 101:
                self._hub.refuse(reasons.HANDSHAKE)
                # Upgrade needs Connection to list it, which is Sanic's to say; see also reasons.NO_UPGRADE.
                fields = {name: value for name, value in answer.headers.raw_items() if name != "Upgrade"}
                return HTTPResponse(answer.body, answer.status_code, fields)
            accepted = Accepted(answer.serialize(), window_bits(answer))
        self.open(request, accepted, address, join)
        return None

    def accept_usual(self, request: Asking) -> Accepted | None:
        """Return the answer to a usual handshake, None if it is another."""
        return accept_usual(request.headers.items(), compresses=self.compresses)

    def open(self, request: Asking, accepted: Accepted, address: str, join: Callable[[Subscriber[S]], None]) -> None:
        """Take the connection of a request over; accepted is the answer to its handshake."""
        encoder = self._encoders[accepted.window_bits]
        take_over(request, accepted.answer, join, kind=self, encode=encoder, hub=self._hub, address=address)

    def new_session(self, client: WebSocketClient, publishes_to: bytes | None) -> WebSocketSession:
        """Return the session of a client that has just connected."""
        return (WebSocketSession if self.compressor_of(client) is None else CompressedSession)(publishes_to)

    def compressor_of(self, client: AnySubscriber) -> Compressor | None:
        """Return what compresses for a client that has just connected; None when it has not agreed on that."""
        return self._compressors.get(client.encode)

    def ended(self, client: Subscriber[S]) -> None:
        """Close a connection whose client sends no more, when all it has sent has been handled."""
        if client in self._turns:
            self._afterwards[client] = client.close
        else:
            client.close()

    def received(self, client: Subscriber[S], data: bytes) -> None:
        """Handle what a client sent, now or in its turn."""
        if self._takes_lone_texts and len(data) <= LIGHT_BYTES:
            text = lone_text(data, self._max_message_bytes)
            if text is not None and self._is_free(client):
                self.on_message(client, text, False)
                return
        if self._dialect.is_always_pinged and not client.awaited:
            client.has_sent = False
        parser = self._parser(client)
        parser.feed(data)
        if client not in self._turns:
            self._turns.came(client, len(data))
            return
        # It is not read from, and TLS had this already.
        self._hub.keep(client, parser.kept_bytes)
        self._hub.evict_overflowing()

    def _is_free(self, client: Subscriber[S]) -> bool:
        """Tell whether a message of a client may be handled although no parser has seen it."""
        session = client.session
        return (
            session is not None
            and (session.parser is None or session.parser.is_at_rest)
            and not session.has_left
            and client not in self._turns
            and self._is_writable()
            and not client.transport.is_closing()
        )

    def resume(self) -> None:
        """Go on with the clients whose messages wait: is_writable() is true again."""
        self._turns.resume()

    def go_on(self, client: Subscriber[S]) -> None:
        """Hand over again, in its turn, a message of a client that was to be handled later, if there is one."""
        if client in self._turns:
            self._turns.wait(client, publishes=self.is_here(client))

    def is_here(self, client: Subscriber[S]) -> bool:
        """Tell whether a client is served: it has neither left nor been sent away."""
        return client.session is not None and not client.session.has_left

    def close(self, client: Subscriber[S], reason: Reason) -> None:
        """Start the closing handshake, unless it has begun.

        The client leaves its channels now, or if this is a goodbye when all it sent has been handled. One that wants to
        be told before the server leaves is told, and served until it goes.
        """
        if client.transport.is_closing():
            return
        if reason is reasons.LEAVING and self.is_here(client) and (notice := self._dialect.notice(client)):
            client.write(notice)
            return
        if reason.is_goodbye and client in self._turns and self.is_here(client) and self._is_writable():
            self._afterwards.setdefault(client, partial(self.close, client, reason))
            return
        parser = self._parser(client)
        parser.close(self._dialect.code(reason), reason.sentence)
        self._flush(client, parser)

    def lost(self, client: Subscriber[S]) -> None:
        """Forget a client whose connection is gone."""
        self._leave(client)
        self._turns.done(client)
        self._afterwards.pop(client, None)
        self._pace.forget(client)
        self._hub.disconnected(client)

    def _parser(self, client: Subscriber[S]) -> WebSocketParser:
        session = client.session
        if session is not None and session.parser is not None:
            return session.parser
        inflates = session is not None and session.is_compressed
        parser = WebSocketParser(max_message_bytes=self._max_message_bytes, inflates=inflates)
        if session is not None:  # nothing is kept of a client that has been evicted
            session.parser = parser
        return parser

    def _serve(self, client: Subscriber[S], frames: int) -> int:
        """Parse at most so many frames of a client, handle them, and return how many it were."""
        parser = self._parser(client)
        if client.transport.is_closing():  # it has been evicted
            return 0
        # Messages that were found, and could not be published then, come first.
        parsed = len(parser.messages) or parser.parse(frames, BYTES_PER_SLICE)
        has_spoken = bool(parser.messages)
        outcome = self._hand_over(client, parser) if has_spoken else Outcome.DONE
        if not parser.messages:
            if self._pace.is_limited:
                self._count(client, parser, 0, parser.control_frames())
            self._flush(client, parser)
        if not client.transport.is_closing():
            self._settle(client, parser, has_spoken=has_spoken, is_held=outcome is Outcome.LATER)
        return parsed if outcome is Outcome.DONE else FRAMES_PER_SLICE

    def _hand_over(self, client: Subscriber[S], parser: WebSocketParser) -> Outcome:
        """Hand the messages that were found to on_message, as long as they can be handled; return the last outcome."""
        messages, handled = parser.messages, 0
        outcome = Outcome.DONE
        for payload, binary in messages:
            if not self.is_here(client):
                handled = len(messages)  # it was closed over the message before
                break
            if not self._is_writable():
                break
            if self._pace.is_limited and not self._count(client, parser, 1, 0):
                handled = len(messages)
                break
            outcome = self.on_message(client, payload, binary) or Outcome.DONE
            if outcome is not Outcome.DONE:
                break
            handled += 1
        del messages[:handled]
        return outcome

    def _count(self, client: Subscriber[S], parser: WebSocketParser, messages: int, control_frames: int) -> bool:
        """Count what a client sent; begin to close it, and return False, when that is too much."""
        _, excess = self._pace.count(client, messages, control_frames, monotonic())
        if excess is None or not self.is_here(client):
            return True
        self._hub.refuse(excess)
        parser.close(self._dialect.code(excess), excess.sentence)
        return False

    def _settle(self, client: Subscriber[S], parser: WebSocketParser, *, has_spoken: bool, is_held: bool) -> None:
        """Read on from a client when all it sent has been handled; else do not, and let it wait."""
        is_at_rest = parser.is_at_rest
        if has_spoken or is_at_rest:  # the next message has all of its time
            self._hub.keep(client, 0)
        if parser.messages or parser.has_more:
            if client not in self._turns:
                client.transport.pause_reading()
            if is_held:
                self._turns.hold(client)
            else:
                self._turns.wait(client, publishes=self.is_here(client))
            self._hub.keep(client, parser.kept_bytes)
            self._hub.evict_overflowing()
            return
        if not is_at_rest:
            self._hub.keep(client, parser.kept_bytes, is_late_soon=parser.is_open)
        elif client.session is not None and (self._dialect.is_always_pinged or not has_spoken):
            client.session.parser = None  # it may do nothing from now on but answer pings
        if self._turns.done(client):
            client.transport.resume_reading()
            self._afterwards.pop(client, _nothing)()

    def _flush(self, client: Subscriber[S], parser: WebSocketParser) -> None:
        data, is_last = parser.outgoing()
        if not data and parser.is_open:
            return
        if not parser.is_open:  # nothing may follow the close frame
            self._hub.router.deliver_to(client)
            self._write_held(client)
        if data:
            client.write(data)
        if not parser.is_open:
            if self.is_here(client) and parser.failure is not None:
                self._hub.refuse(parser.failure)
            self._leave(client)
            self._hub.closing(client)
        if is_last:
            client.finish()
        self._hub.evict_overflowing()

    def _leave(self, client: Subscriber[S]) -> None:
        was_here = self.is_here(client)
        if client.session is not None:
            client.session.has_left = True
        channels = self._hub.router.leave_all(client)
        if client in self._turns:
            self._turns.wait(client, publishes=False)
        if channels or was_here:
            self._on_leave(client, channels)


def _nothing() -> None:
    """Do nothing."""
