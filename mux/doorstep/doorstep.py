"""The protocol that every connection of a server begins with: the first bytes decide which protocol gets it.

    accept ──► a usual handshake for the feed, in the first read ──► Subscriber
               anything else ──► requests, one after the other (conversation.py) ──► Sanic's protocol

Whatever state a connection is in, a deadline ends it (arrivals.py). Most connections become clients with their first
read, so whatever only the others need is made for them alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from sanic import Sanic

from mux import reasons
from mux.doorstep.arrivals import Arrivals
from mux.doorstep.conversation import Conversation
from mux.doorstep.handover import Front, Handover
from mux.doorstep.seen_request import SeenRequest, peer_address
from mux.doorstep.sight import handshake_at_sight
from mux.endpoints.takeover import Taken


class Doorstep(asyncio.Protocol):
    """A connection that has not become a client.

    It is made by Sanic's server, as a protocol of its own would be. app.ctx.mux_arrivals say what is let in; without
    them they are made from the app's configuration.
    """

    __slots__ = (
        "_conversation",
        "_early",
        "_has_left",
        "_loop",
        "_state",
        "_transport",
        "_unix",
        "address",
        "app",
        "arrivals",
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
        self.app = app
        self._state = state
        self._unix = unix
        self.arrivals = arrivals_of(app)
        self.connections = connections
        """The doorsteps of all connections of the server that have not become clients."""
        self.address = ""
        """The address of the client; empty when its connections are not counted by address."""
        self.kept: object = None
        """Kept with the first request by those that let it in, while Sanic is to answer it."""
        self._conversation: Conversation | None = None
        self._early = b""
        self._has_left = False

    # The event loop calls what follows (asyncio.Protocol).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        arrivals = self.arrivals
        if not arrivals.arrived(self):
            self._has_left = True
            self._transport.abort()
            return
        self.connections.add(self)
        if arrivals.counts_plain:
            self.address = peer_address(self._transport)
            if self.address and not arrivals.admission.arrived(self.address):
                arrivals.refused[reasons.ADDRESS.counted_as] += 1
                self.cut()

    def data_received(self, data: bytes) -> None:
        conversation = self._conversation
        if conversation is None:
            if self._is_joined_at_sight(data):
                return
            conversation = self._conversation = Conversation(self, self._transport)
        conversation.received(data)

    def eof_received(self) -> bool:
        return self._conversation is not None and self._conversation.ended()

    def pause_writing(self) -> None:
        if self._conversation is not None:
            self._conversation.pause_writing()

    def resume_writing(self) -> None:
        if self._conversation is not None:
            self._conversation.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._has_left:
            return
        conversation = self._conversation
        self.leave_all()
        if conversation is not None:
            conversation.lost(exc)

    # Arrivals and Sanic's server call what follows.

    def overdue(self, what: str) -> None:
        """End, for a deadline has passed."""
        if self._conversation is not None:
            self._conversation.overdue(what)
        else:
            self.cut()  # it has sent nothing, and nothing was written

    def leave(self) -> None:
        """Answer the request that has begun, if any, and no other."""
        if self._conversation is not None:
            self._conversation.leave()

    def cut(self) -> None:
        """End now, whatever waits."""
        self._transport.abort()

    def abort(self) -> None:
        """Cut the connection off. Sanic's server calls this when it no longer waits for connections to end."""
        self.cut()

    def close_if_idle(self) -> bool:
        """Close unless a request has begun, and then with its answer; Sanic's server asks when it stops."""
        if self._conversation is not None and not self._conversation.is_idle:
            self._conversation.is_last = True
            return False
        self._transport.close()
        return True

    def let_go(self) -> Taken:
        """Give the transport away, with what the client has sent after its request (endpoints.takeover.take_over)."""
        conversation, is_bounded = self._conversation, self.arrivals.is_unsent_bounded
        self.leave_all()
        if conversation is None:
            return Taken(self._transport, self._early, False, False, is_bounded)
        early = conversation.let_go()
        return Taken(self._transport, early, conversation.is_blocked, conversation.has_ended, is_bounded)

    # The conversation calls what follows.

    def new_handover(self, front: Front) -> Handover:
        """Return a protocol of Sanic's for the requests of the connection."""
        shows_heads = self.arrivals.join is None  # in mux' own server nobody asks for them
        return Handover(front, self.app, self._loop, self._state, self._unix, shows_heads=shows_heads)

    def leave_all(self) -> None:
        """Leave all that knows this connection: it is somebody else's now, or closed."""
        self._has_left = True
        if self._conversation is None:
            self.arrivals.left_at_once(self)
        else:
            self.arrivals.left(self)
            self._conversation = None
        self.connections.discard(self)
        if self.address:
            self.arrivals.admission.departed(self.address)
            self.address = ""

    def _is_joined_at_sight(self, data: bytes) -> bool:
        """Make a client of the connection if that is all there is to do; tell whether it is done."""
        arrivals = self.arrivals
        if arrivals.join is None or arrivals.is_leaving:
            return False
        seen = handshake_at_sight(data)
        if seen is None:
            return False
        channel, fields, size = seen
        self._early = data[size:]
        return arrivals.join(SeenRequest(fields, self._transport, self.app), channel)


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
            max_body_bytes=lambda head: config.REQUEST_MAX_SIZE,
        )
    assert isinstance(arrivals, Arrivals)
    return arrivals
