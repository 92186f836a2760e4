"""The connections of one server that have not become clients: their limits, their deadlines, and their end.

A connection is always in exactly one of these sets, and each set is swept by one timer of the server:

    asking      from the accept, or the first byte of a request, until the request is whole       408, or closed
    answering   until the answer is written                                                       503
    kept        until the next request begins                                                     closed
    ending      from the last answer until the client has closed, too                             closed
    unread      beside the others, while the client does not read what it asked for               cut off

The timer runs while there are connections. A deadline may be met early by a tick, and late by one.

What a connection has sent beyond its first slice waits for its turn; each turn of the loop is for a few connections.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sanic import Sanic

from mux import reasons
from mux.doorstep.seen_request import trusts_proxies
from mux.endpoints.takeover import Asking
from mux.errors import Refused
from mux.hub.admission import Admission
from mux.hub.measures import Deadlines, RunningTime
from mux.wire.http.content import accepts_explicitly
from mux.wire.http.head import RequestHead
from mux.wire.sse.coding import TYPE

ENDING_SECONDS = 2.0
"""Seconds in which a client has to close a connection after its last answer. Closing first could cut the answer off:
bytes that were not read make the kernel send a reset."""

LONGEST_TICK_SECONDS = 1.0
"""The timer ticks at least so often."""

TICKS_PER_DEADLINE = 10
"""The timer ticks so often while a request may take its time, or every LONGEST_TICK_SECONDS if that is sooner."""

CONNECTIONS_PER_TURN = 8
"""Most waiting connections that go on in one turn of the loop: a request, or a slice of a body, takes a tenth of a
millisecond or more."""

WHILE_LEAVING = frozenset(("/healthz", "/readyz", "/metrics"))
"""Paths that are answered until the server has ended, for those who watch it leave."""


class Connection(Protocol):
    """A connection, as far as it is told what to do."""

    def overdue(self, what: str) -> None:
        """The connection has not left the set of this name in time."""

    def leave(self) -> None:
        """The server goes: a request that has begun may finish, no other is taken."""

    def close_if_idle(self) -> bool:
        """Close unless a request has begun; tell whether that is done."""

    def cut(self) -> None:
        """End now."""


class Arrivals:
    """The connections of one server that have not become clients.

    Args:
        app: whose requests they are.
        head_seconds: how long a request may take to be whole, and an answer to be read.
        kept_seconds: how long a connection may wait for its next request.
        answer_seconds: how long a handler may take.
        max_body_bytes: takes a head and returns how large a body may be, 0 when none is read; may raise Refused.
        refused: where refusals are counted, by reason.
        admission: whether there is room for one more, None for always.
        clients: returns how many clients there are.
        join: makes a client of a handshake known by sight, and tells whether it has; None leaves all to the app.
        sharing: returns the fields by which pages may read a refusal.
        check_host: takes the value of Host, and a function that returns the request; raises Refused for a name which is
            not served.
    """

    def __init__(
        self,
        app: Sanic[Any, Any],
        *,
        head_seconds: float,
        kept_seconds: float,
        answer_seconds: float,
        max_body_bytes: Callable[[RequestHead], int],
        refused: Counter[str] | None = None,
        admission: Admission[Any] | None = None,
        clients: Callable[[], int] = lambda: 0,
        join: Callable[[Asking, bytes], bool] | None = None,
        sharing: Callable[[Asking], Mapping[str, str]] = lambda request: {},
        check_host: Callable[[str, Callable[[], Asking]], None] = lambda host, request: None,
    ) -> None:
        self.app = app
        self.head_seconds = head_seconds
        self.max_body_bytes = max_body_bytes
        self.refused = Counter() if refused is None else refused
        self.join = join
        self.sharing = sharing
        self.check_host = check_host
        self.admission = Admission() if admission is None else admission
        self.is_unsent_bounded = False
        """True when the listener has passed on to every socket what takeover.bound_unsent() sets."""
        self.is_leaving = False
        """True when requests that have not begun are refused."""
        self.keeps_connections = True
        """False when every answer ends its connection; all requests are still taken."""
        self._is_over = False
        """True when nothing is answered any more but what has begun."""
        self._is_closed = False
        """True when no connection may stay."""
        self._clients = clients
        self.asking: Deadlines[Connection] = Deadlines(head_seconds)
        self.answering: Deadlines[Connection] = Deadlines(answer_seconds)
        self.kept: Deadlines[Connection] = Deadlines(kept_seconds)
        self.ending: Deadlines[Connection] = Deadlines(ENDING_SECONDS)
        self.unread: Deadlines[Connection] = Deadlines(head_seconds)
        self._tick_seconds = min(LONGEST_TICK_SECONDS, head_seconds / TICKS_PER_DEADLINE)
        self._clock = RunningTime(self._tick_seconds)
        self._timer: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._waiting: deque[Callable[[], None]] = deque()
        self._next_turn: asyncio.Handle | None = None
        self._when_empty: asyncio.Future[None] | None = None
        self._trusts_proxies = trusts_proxies(app)

    def __len__(self) -> int:
        """Return the number of connections that have not become clients."""
        return len(self._connections)

    @property
    def counts_plain(self) -> bool:
        """True when an address is what its socket says, and connections of one are bounded."""
        return self.admission.counts_addresses and not self._trusts_proxies

    def arrived(self, connection: Connection) -> bool:
        """Take a new connection; return False when there is none left to give away."""
        if self._is_closed:
            return False
        if not self.admission.may_ask(self._clients() + len(self._connections) + 1):
            self.refused[reasons.DESCRIPTORS.counted_as] += 1
            return False
        if self._timer is None:
            self._tick()
        self._connections.add(connection)
        self.asking.start(connection)
        return True

    def later(self, go_on: Callable[[], None]) -> None:
        """Have a connection go on in another turn of the loop, after those that wait already."""
        self._waiting.append(go_on)
        if self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._take_turns)

    def _take_turns(self) -> None:
        turn = [self._waiting.popleft() for _ in range(min(CONNECTIONS_PER_TURN, len(self._waiting)))]
        # Before anything else: whatever goes wrong with one of them, the others have their turns.
        self._next_turn = asyncio.get_running_loop().call_soon(self._take_turns) if self._waiting else None
        for go_on in turn:
            go_on()

    def left(self, connection: Connection) -> None:
        """Forget a connection: it has become a client, or is gone. May be repeated."""
        for deadlines in (self.answering, self.kept, self.ending, self.unread):
            deadlines.stop(connection)
        self.left_at_once(connection)

    def left_at_once(self, connection: Connection) -> None:
        """Forget a connection that has been in no other set than `asking`, as one that became a client at sight."""
        self.asking.stop(connection)
        self._connections.discard(connection)
        if self._when_empty is not None and not self._connections and not self._when_empty.done():
            self._when_empty.set_result(None)

    def check(self, head: RequestHead, address: str, *, has_begun: bool) -> None:
        """Let a request pass or not, whatever it is for.

        Args:
            head: the request.
            address: where it is from; nothing when that is not known.
            has_begun: True when it began before the server was told to leave.

        Raises:
            Refused: it did not, or there are as many connections from there as there may be.
        """
        if self.is_leaving and not has_begun and not self._is_told_of_leaving(head):
            raise Refused(reasons.LEAVING)
        if address:
            self.admission.check_address(address)

    def _is_told_of_leaving(self, head: RequestHead) -> bool:
        """Tell whether the app answers a request in its own way while the server leaves.

        It ends an event stream at once and says when to come back, for an EventSource that hears 503 never does.
        """
        is_watched = head.target.partition("?")[0] in WHILE_LEAVING
        return not self._is_over and (is_watched or (head.method == "GET" and _wants_stream(head)))

    def leave(self) -> None:
        """Take no request any more that has not begun."""
        self.is_leaving = True
        for connection in tuple(self._connections):
            connection.leave()

    async def finish(self, seconds: float) -> None:
        """Wait until all connections are gone, and cut off those that are not after so many seconds.

        The server has stopped to listen. What it accepted at the last moment is told to go like all others, and what
        comes after that is cut off at once.
        """
        self._is_over = True
        if self._connections:
            self._when_empty = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._when_empty
            except TimeoutError:
                self._is_closed = True
                for connection in tuple(self._connections):
                    if not connection.close_if_idle():
                        connection.cut()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        # Without connections there is nothing to be late; the next one starts the timer again.
        is_first = self._timer is None
        self._timer = loop.call_later(self._tick_seconds, self._tick) if self._connections or is_first else None
        if self._clock.advance(loop.time()):
            for name in ("asking", "answering", "kept", "ending", "unread"):
                deadlines: Deadlines[Connection] = getattr(self, name)
                for connection in deadlines.tick(self._clock.seconds):
                    connection.overdue(name)


def _wants_stream(head: RequestHead) -> bool:
    return any(name == "accept" and accepts_explicitly(value, TYPE) for name, value in head.fields)
