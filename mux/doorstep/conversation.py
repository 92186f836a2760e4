"""The requests of one connection: each is read strictly and whole, and answered before the next is read.

    bytes ──► one whole request ──► Sanic's protocol (handover.py), or a refusal
                    ▲                                │
                    └──── answered, and the client goes on

1. A request reaches Sanic only when it is well-formed (wire/http), whole, in time, and its body wanted and bounded.
2. The next request is read when the answer before is written, in a later turn of the loop. What waits is bounded:
   beyond that the socket is not read.
3. A refusal is one sentence and one count. The connection ends with it: after a wrong byte nobody knows where the
   next request begins. The client is given a little time to close first, so that the answer arrives.
4. A client that sends no more is answered what it has asked, and then the connection ends.
"""

from __future__ import annotations

from asyncio import Transport
from enum import Enum
from functools import partial

from mux import reasons
from mux.doorstep.arrivals import Connection
from mux.doorstep.ending import Ending, refused
from mux.doorstep.handover import Door, Handover
from mux.doorstep.seen_request import SeenRequest
from mux.endpoints.takeover import release
from mux.errors import Refused
from mux.hub.measures import Deadlines
from mux.wire.http.answer import CONTINUE
from mux.wire.http.head import RequestHead
from mux.wire.http.reader import RequestReader


class Stage(Enum):
    """The stages of a connection: it waits for a request, for the app, for the client to close, or is another's."""

    ASKING = 1
    ANSWERING = 2
    ENDING = 3
    GONE = 4


class Conversation:
    """The requests of a connection that has sent something else than a usual handshake.

    Args:
        door: the connection.
        transport: its transport.
    """

    __slots__ = (
        "_arrivals",
        "_deadlines",
        "_door",
        "_ending",
        "_handover",
        "_is_to_go_on",
        "_may_finish",
        "_reader",
        "_stage",
        "_transport",
        "has_ended",
        "is_blocked",
        "is_last",
    )

    def __init__(self, door: Door, transport: Transport) -> None:
        self._door, self._transport, self._arrivals = door, transport, door.arrivals
        self._deadlines = door.arrivals.asking
        """The set of the arrivals that the connection is in, whose deadline runs."""
        self._stage = Stage.ASKING
        self._reader = RequestReader()
        self._handover: Handover | None = None
        self._is_to_go_on = False
        self._may_finish = False
        self._ending: Ending | None = None
        self.has_ended = False
        """True when the client has said that it sends no more."""
        self.is_blocked = False
        """True while the socket takes no more bytes."""
        self.is_last = False
        """True when the connection is to end with the answer to the request that has begun: the server stops."""

    # The doorstep calls what follows.

    def received(self, data: bytes) -> None:
        """Take what the client has sent."""
        if self._ending is not None:
            self._ending.drop(data)
            return
        self._reader.buffer += data
        if self._stage is Stage.ANSWERING or self.is_blocked or self._is_to_go_on:
            self._regulate()
        elif self._stage is not Stage.GONE:
            self._read()
            if self._reader.buffer:
                self._regulate()

    def ended(self) -> bool:
        """Take note that the client sends no more; tell whether the connection stays open for an answer."""
        self.has_ended = True
        # Requests that are whole are answered; half a request is not. TLS cannot be half closed.
        return (self._stage is Stage.ANSWERING or self._is_to_go_on) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """Have Sanic wait: the socket takes no more bytes."""
        self.is_blocked = True
        self._arrivals.unread.start(self._door)
        if self._handover is not None:
            self._handover.pause_writing()  # type: ignore[no-untyped-call]

    def resume_writing(self) -> None:
        """Go on: the socket takes bytes again."""
        self.is_blocked = False
        self._arrivals.unread.stop(self._door)
        if self._handover is not None:
            self._handover.resume_writing()  # type: ignore[no-untyped-call]
        if self._stage is Stage.ASKING:
            self._go_on_soon()

    def lost(self, exc: Exception | None) -> None:
        """Tell Sanic that the connection is gone."""
        handover = self._part()
        if handover is not None:
            handover.connection_lost(exc)  # type: ignore[no-untyped-call]

    def let_go(self) -> bytes:
        """Give the connection away; return what the client has sent after its request."""
        early, is_answering = bytes(self._reader.buffer), self._stage is Stage.ANSWERING
        handover = self._part()
        if handover is not None:
            early = release(handover) + early
            if not is_answering:
                handover.connection_lost(None)  # type: ignore[no-untyped-call]  # its task waits for the next request
        return early

    def _part(self) -> Handover | None:
        """Have no more to do with the connection; return Sanic's protocol, which does not know the way back."""
        self._stage = Stage.GONE
        handover, self._handover = self._handover, None
        if handover is not None:
            handover.front = None
        return handover

    def overdue(self, what: str) -> None:
        """End, for a deadline has passed; say so where somebody may be listening."""
        if what == "unread":
            self._arrivals.refused[reasons.UNREAD.counted_as] += 1
            self._door.cut()
        elif what == "asking" and self._reader.has_begun:
            sentence = f"the request was not complete after {self._arrivals.head_seconds:g} s"
            self._refuse(Refused(reasons.TOO_SLOW, sentence))
        elif what == "answering" and self._handover is not None:
            self._handover.give_up()
            self._has_until(self._arrivals.ending)  # the handler may take no notice
        else:
            self._arrivals.unread.start(self._door)  # what was written may still wait to be read
            self._transport.close()

    def leave(self) -> None:
        """Answer the request that has begun, if any, and no other."""
        self._may_finish = self._reader.has_begun

    @property
    def is_asking(self) -> bool:
        """True while the connection waits for a request, or for the rest of one."""
        return self._stage is Stage.ASKING

    @property
    def is_idle(self) -> bool:
        """True unless a request has begun, or the end."""
        return self.is_asking and not self._reader.has_begun

    # Sanic's protocol calls what follows (handover.Front).

    def wrote(self) -> None:
        """Give the handler its time anew."""
        if self._deadlines is self._arrivals.answering:
            self._deadlines.restart(self._door)

    def answered(self) -> None:
        """Go on to the next request, in another turn of the loop."""
        if self._stage is not Stage.ANSWERING:
            return
        self._stage = Stage.ASKING
        self._may_finish = False
        self._door.kept = None
        if self.is_last or (self.has_ended and not self._reader.buffer):
            self._end()
            return
        self._has_until(self._arrivals.kept)
        if self._reader.buffer and not self.is_blocked:
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

    def _has_until(self, deadlines: Deadlines[Connection]) -> None:
        """Give the connection its time in another set of the arrivals, unless it is in that one."""
        if deadlines is not self._deadlines:
            self._deadlines.stop(self._door)
            deadlines.start(self._door)
            self._deadlines = deadlines

    def _go_on_soon(self) -> None:
        """Have what waits looked at in another turn of the loop."""
        if not self._is_to_go_on:
            self._is_to_go_on = True
            self._arrivals.later(self.go_on)

    def go_on(self) -> None:
        """Look at what waits; called by the arrivals when it is this connection's turn."""
        self._is_to_go_on = False
        if self._stage is not Stage.ASKING or self.is_blocked:
            return
        self._read()
        self._regulate()
        if self.has_ended and self.is_asking and not self._is_to_go_on:
            self._transport.close()  # the rest of it is not going to come

    def _regulate(self) -> None:
        """Read from the socket, unless enough of it waits."""
        transport = self._transport
        must_wait = self._stage is Stage.ANSWERING or self.is_blocked or self._is_to_go_on
        if must_wait and self._reader.is_full:
            if transport.is_reading():
                transport.pause_reading()
        elif self._stage is not Stage.GONE and not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()

    def _read(self) -> None:
        """Take the next request from what has come, if it is whole."""
        reader = self._reader
        try:
            request = reader.next(self._limit)
        except Refused as error:
            self._refuse(error)
            return
        if request is not None:
            self._serve(*request)
            return
        if reader.has_begun:
            self._has_until(self._arrivals.asking)
        if reader.is_to_continue():
            self._transport.write(CONTINUE)
        if reader.is_tired:
            self._go_on_soon()

    def _limit(self, head: RequestHead) -> int:
        """Let a request pass or not; return how large a body it may have."""
        self._arrivals.check(head, self._door.address, has_begun=self._may_finish)
        self._arrivals.check_host(head.host, partial(self._seen, head))
        return self._arrivals.max_body_bytes(head)

    def _seen(self, head: RequestHead) -> SeenRequest:
        """Return a request for checks."""
        return SeenRequest(head.fields, self._transport, self._door.app, head.version)

    def _serve(self, head: RequestHead, body: bytes) -> None:
        """Decide who gets a request that is whole."""
        arrivals = self._arrivals
        if head.is_websocket and arrivals.join is None:
            self._step_aside(head)
            return
        if self.is_last or arrivals.is_leaving or not arrivals.keeps_connections:
            head.is_kept = False
        self._stage = Stage.ANSWERING
        self._has_until(arrivals.answering)
        if self._handover is None:
            self._handover = self._door.new_handover(self)
        self._handover.take(self._transport, head, body)

    def _step_aside(self, head: RequestHead) -> None:
        """Leave the connection to Sanic's protocol for good: the app may have a WebSocket of its own there."""
        handover, connections = self._handover or self._door.new_handover(self), self._door.connections
        self._part()
        self._door.leave_all()
        handover.take_for_good(self._transport, head, bytes(self._reader.buffer), connections)

    def _refuse(self, error: Refused) -> None:
        head = self._reader.head  # None when it could not be read
        is_bare = self._reader.buffer.startswith(b"HEAD ") if head is None else head.method == "HEAD"
        request = None if head is None else self._seen(head)
        self._transport.write(refused(error, self._arrivals, request, is_bare=is_bare))
        self._end()

    def _end(self) -> None:
        """Send no more, and wait a little for the client to close."""
        self._stage = Stage.ENDING
        self._reader = RequestReader()
        self._has_until(self._arrivals.ending)
        self._ending = Ending(self._transport, has_ended=self.has_ended)
