"""Every connection of a server begins here: a request is read strictly, and only then it is decided who gets it.

    accept ──► one whole request ──► a usual handshake for the feed ──► Subscriber
                     ▲                 anything else ──► Sanic's protocol (handover.py)
                     └──── answered, and the client goes on ────────────────┘

What strangers send is held to this:

1. A request reaches Sanic only when it is well-formed (wire/http), whole, in time, and its body wanted and bounded.
2. The next request is read when the answer before is written, in a later turn of the loop. What waits is bounded:
   beyond WAITING_REQUESTS of them or WAITING_BYTES the socket is not read.
3. Whatever state a connection is in, a deadline ends it (arrivals.py).
4. A refusal is one sentence and one count. The connection ends with it: after a wrong byte nobody knows where the
   next request begins. The client is given a little time to close first, so that the answer arrives.
5. A client that sends no more is answered what it has asked, and then the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Any, cast

from sanic import Sanic

from mux import reasons
from mux.doorstep.arrivals import Arrivals
from mux.doorstep.handover import Handover
from mux.doorstep.seen_request import SeenRequest, peer_address
from mux.doorstep.sight import handshake_at_sight
from mux.endpoints.takeover import Taken, release
from mux.errors import Refused
from mux.wire.http.answer import refusal
from mux.wire.http.head import RequestHead
from mux.wire.http.reader import RequestReader

WAITING_REQUESTS = 16
"""Most requests of a connection that wait for the answer to the one before."""

WAITING_BYTES = 64 * 1024
"""Most bytes of a connection that wait, beyond what one read brings."""

DROPPED_BYTES = 1024 * 1024
"""Most bytes that are read and dropped of a client that was answered and sends on; then it is cut off."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Stage(Enum):
    """The stages of a connection."""

    ASKING = 1
    """Waits for a request, or for the rest of one."""
    ANSWERING = 2
    """Waits for the app."""
    ENDING = 3
    """Waits for the client to close."""
    GONE = 4
    """Has become a client, has been left to Sanic, or is closed."""


class Doorstep(asyncio.Protocol):
    """A connection that has not become a client.

    It is made by Sanic's server, as a protocol of its own would be. app.ctx.mux_arrivals say what is let in; without
    them they are made from the app's configuration.
    """

    __slots__ = (
        "_address",
        "_app",
        "_arrivals",
        "_dropped",
        "_handover",
        "_has_continued",
        "_has_ended",
        "_is_blocked",
        "_is_new",
        "_is_to_go_on",
        "_loop",
        "_may_finish",
        "_reader",
        "_stage",
        "_state",
        "_transport",
        "_unix",
        "connections",
        "kept",
    )

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        app: Sanic[Any, Any],
        connections: set[Any],
        state: Any = None,
        unix: Any = None,
        **_options: object,
    ) -> None:
        self._loop = loop
        self._app = app
        self._state = state
        self._unix = unix
        self._arrivals = arrivals_of(app)
        self.connections = connections
        """The doorsteps of all connections that have not become clients; the server looks for them here."""
        self.kept: object = None
        """Kept with the first request by those that let it in, while Sanic is to answer it."""
        self._address = ""
        self._stage = Stage.ASKING
        self._reader = RequestReader()
        self._handover: Handover | None = None
        self._has_continued = False
        self._has_ended = False
        self._is_blocked = False
        self._is_new = True
        self._is_to_go_on = False
        self._may_finish = False
        self._dropped = 0

    # The event loop calls what follows (asyncio.Protocol).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        arrivals = self._arrivals
        if not arrivals.arrived(self):
            self._stage = Stage.GONE
            self._transport.abort()
            return
        self.connections.add(self)
        if arrivals.counts_plain:
            self._address = peer_address(self._transport)
            if self._address and not arrivals.admission.arrived(self._address):
                arrivals.refused[reasons.ADDRESS.counted_as] += 1
                self.cut()

    def data_received(self, data: bytes) -> None:
        if self._is_new:
            self._is_new = False
            if self._is_joined_at_sight(data):
                return
        if self._stage is Stage.ENDING:
            self._dropped += len(data)
            if self._dropped > DROPPED_BYTES:
                self.cut()
            return
        self._reader.buffer += data
        if self._stage is Stage.ANSWERING or self._is_blocked or self._is_to_go_on:
            self._regulate()
        elif self._stage is not Stage.GONE:
            self._read()
            if self._reader.buffer:
                self._regulate()

    def eof_received(self) -> bool:
        self._has_ended = True
        # Requests that are whole are answered; half a request is not. TLS cannot be half closed.
        return (self._stage is Stage.ANSWERING or self._is_to_go_on) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._is_blocked = True
        self._arrivals.unread.start(self)
        if self._handover is not None:
            self._handover.pause_writing()  # type: ignore[no-untyped-call]

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._arrivals.unread.stop(self)
        if self._handover is not None:
            self._handover.resume_writing()  # type: ignore[no-untyped-call]
        if self._stage is Stage.ASKING:
            self._go_on_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stage is Stage.GONE:
            return
        handover = self._handover
        self._leave_all()
        if handover is not None:
            handover.front = None
            handover.connection_lost(exc)  # type: ignore[no-untyped-call]

    # Arrivals and Sanic's server call what follows.

    def overdue(self, what: str) -> None:
        """End, for a deadline has passed; say so where somebody may be listening."""
        if what == "unread":
            self._arrivals.refused[reasons.UNREAD.counted_as] += 1
            self.cut()
        elif what == "asking" and self._reader.has_begun:
            sentence = f"the request was not complete after {self._arrivals.head_seconds:g} s"
            self._refuse(Refused(reasons.TOO_SLOW, sentence))
        elif what == "answering" and self._handover is not None:
            self._handover.give_up()
            self._arrivals.ending.start(self)  # the handler may take no notice
        else:
            self._arrivals.unread.start(self)  # what was written may still wait to be read
            self._transport.close()

    def leave(self) -> None:
        """Answer the request that has begun, if any, and no other."""
        self._may_finish = self._reader.has_begun

    def cut(self) -> None:
        """End now, whatever waits."""
        self._transport.abort()

    def abort(self) -> None:
        """Cut the connection off; Sanic's server calls this when its time to stop is over."""
        self.cut()

    def close_if_idle(self) -> bool:
        """Close unless a request has begun; Sanic's server asks when it stops."""
        if self._stage is not Stage.ASKING or self._reader.has_begun:
            return False
        self._transport.close()
        return True

    # Sanic's protocol calls what follows (handover.Front).

    def wrote(self) -> None:
        """Give the handler its time anew."""
        if self._stage is Stage.ANSWERING:
            self._arrivals.answering.restart(self)

    def answered(self) -> None:
        """Go on to the next request, in another turn of the loop."""
        if self._stage is not Stage.ANSWERING:
            return
        self._arrivals.answering.stop(self)
        self._stage = Stage.ASKING
        self._may_finish = False
        self.kept = None
        if self._has_ended and not self._reader.buffer:
            self._end()
            return
        self._arrivals.kept.start(self)
        if self._reader.buffer and not self._is_blocked:
            self._go_on_soon()
        else:
            self._regulate()

    def finished(self) -> None:
        """End; Sanic's protocol is not used again."""
        handover, self._handover = self._handover, None
        if handover is not None:
            handover.front = handover.transport = None
        if self._stage is Stage.ANSWERING or self._stage is Stage.ASKING:
            self._end()

    def let_go(self) -> Taken:
        """Give the transport away, with what the client has sent after its request (endpoints.takeover.take_over)."""
        handover, early = self._handover, bytes(self._reader.buffer)
        if handover is not None:
            handover.front = None
            early = release(handover) + early
            if self._stage is not Stage.ANSWERING:
                handover.connection_lost(None)  # type: ignore[no-untyped-call]  # its task waits for the next request
        self._leave_all()
        return Taken(self._transport, early, self._is_blocked, self._has_ended, self._arrivals.is_unsent_bounded)

    def _go_on_soon(self) -> None:
        """Have what waits looked at in another turn of the loop."""
        if not self._is_to_go_on:
            self._is_to_go_on = True
            self._arrivals.later(self)

    def go_on(self) -> None:
        """Look at what waits; called by the arrivals when it is this connection's turn."""
        self._is_to_go_on = False
        if self._stage is not Stage.ASKING or self._is_blocked:
            return
        self._read()
        self._regulate()
        if self._has_ended and self._is_asking and not self._is_to_go_on:
            self._transport.close()  # the rest of it is not going to come

    @property
    def _is_asking(self) -> bool:
        return self._stage is Stage.ASKING

    def _regulate(self) -> None:
        """Read from the socket, unless enough of it waits."""
        buffer, transport = self._reader.buffer, self._transport
        must_wait = self._stage is Stage.ANSWERING or self._is_blocked or self._is_to_go_on
        if must_wait and (len(buffer) > WAITING_BYTES or buffer.count(b"\r\n\r\n") > WAITING_REQUESTS):
            if transport.is_reading():
                transport.pause_reading()
        elif self._stage is not Stage.GONE and not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()

    def _read(self) -> None:
        """Take the next request from what has come, if it is whole."""
        reader, arrivals = self._reader, self._arrivals
        try:
            request = reader.next(self._limit)
        except Refused as error:
            self._refuse(error)
            return
        if reader.has_begun or request is not None:
            arrivals.kept.stop(self)
        if request is not None:
            arrivals.asking.stop(self)
            self._serve(*request)
            return
        if reader.has_begun:
            arrivals.asking.start(self)
        if reader.is_waited_for and not self._has_continued:
            self._has_continued = True
            self._transport.write(CONTINUE)
        if reader.is_tired:
            self._go_on_soon()

    def _limit(self, head: RequestHead) -> int:
        """Let a request pass or not; return how large a body it may have."""
        self._arrivals.check(head, self._address, has_begun=self._may_finish)
        self._arrivals.check_host(SeenRequest(head.fields, self._transport, self._app, head.version))
        return self._arrivals.max_body_bytes if self._arrivals.wants_body(head.method, head.target) else 0

    def _is_joined_at_sight(self, data: bytes) -> bool:
        """Make a client of the connection if that is all there is to do; tell whether it is done."""
        arrivals = self._arrivals
        if arrivals.join is None or arrivals.is_leaving or self._stage is not Stage.ASKING:
            return False
        seen = handshake_at_sight(data)
        if seen is None:
            return False
        channel, fields, size = seen
        self._reader.buffer += data[size:]  # what a client is given with its connection
        if arrivals.join(SeenRequest(fields, self._transport, self._app), channel):
            return True
        self._reader.buffer.clear()
        return False

    def _serve(self, head: RequestHead, body: bytes) -> None:
        """Decide who gets a request that is whole."""
        arrivals = self._arrivals
        if head.is_websocket and arrivals.join is None:
            self._step_aside(head)
            return
        if arrivals.is_leaving or not arrivals.keeps_connections:
            head.is_kept = False
        self._stage, self._has_continued = Stage.ANSWERING, False
        arrivals.answering.start(self)
        if self._handover is None:
            self._handover = self._new_handover()
        self._handover.take(self._transport, head, body)

    def _new_handover(self) -> Handover:
        shows_heads = self._arrivals.join is None  # in mux' own server nobody asks for them
        return Handover(self, self._app, self._loop, self._state, self._unix, shows_heads=shows_heads)

    def _step_aside(self, head: RequestHead) -> None:
        """Leave the connection to Sanic's protocol for good: the app may have a WebSocket of its own there.

        Sanic answers this one request and no other, for the head does not ask for the connection to be kept.
        """
        handover = self._handover or self._new_handover()
        handover.front, handover.connections = None, self.connections
        early, transport = bytes(self._reader.buffer), self._transport
        self._leave_all()
        self.connections.add(handover)
        transport.set_protocol(handover)
        handover.take(transport, head, b"", early)

    def _refuse(self, error: Refused) -> None:
        head, arrivals = self._reader.head, self._arrivals
        arrivals.refused[error.reason.counted_as] += 1
        fields: Mapping[str, str] = {}
        is_bare = self._reader.buffer.startswith(b"HEAD ")  # of a head that could not be read
        if head is not None:
            is_bare = head.method == "HEAD"
            fields = arrivals.sharing(SeenRequest(head.fields, self._transport, self._app, head.version))
        self._transport.write(refusal(error, fields, is_bare=is_bare))
        self._end()

    def _end(self) -> None:
        """Send no more, and wait a little for the client to close."""
        arrivals, transport = self._arrivals, self._transport
        for deadlines in (arrivals.asking, arrivals.answering, arrivals.kept):
            deadlines.stop(self)
        self._stage = Stage.ENDING
        self._reader = RequestReader()
        arrivals.ending.start(self)
        if self._has_ended or not transport.can_write_eof():
            transport.close()
            return
        if not transport.is_reading():
            transport.resume_reading()
        try:
            transport.write_eof()
        except OSError:
            transport.abort()  # the client has reset the connection, and asyncio has not looked yet

    def _leave_all(self) -> None:
        """Leave all that knows this connection: it is somebody else's now, or closed."""
        self._stage = Stage.GONE
        self._arrivals.left(self)
        self.connections.discard(self)
        if self._address:
            self._arrivals.admission.departed(self._address)
            self._address = ""
        self._handover = None


def arrivals_of(app: Sanic[Any, Any]) -> Arrivals:
    """Return the arrivals of an app; they are made when there are none."""
    arrivals = getattr(app.ctx, "mux_arrivals", None)
    if arrivals is None:
        config = app.config
        arrivals = app.ctx.mux_arrivals = Arrivals(
            app,
            head_seconds=config.REQUEST_TIMEOUT,
            kept_seconds=config.KEEP_ALIVE_TIMEOUT,
            answer_seconds=config.RESPONSE_TIMEOUT,
            max_body_bytes=config.REQUEST_MAX_SIZE,
        )
    assert isinstance(arrivals, Arrivals)
    return arrivals
