"""Serve the clients of event streams: each gets one response, with events in it for as long as it stays.

Such a client only listens. It cannot answer a ping, so three things take the place of an answer:

1. A heartbeat goes out as often as a ping would, and the kernel waits for the client's machine to acknowledge it. When
   it does not for unacknowledged_seconds, the kernel ends the connection, and lost() is called.
2. A client whose machine is there and that does not read is a slow consumer, like any other (hub.Hub).
3. A client that sends no more has left. One that closes and one that will only read on say the same, a FIN.

What it sends after its request is read and dropped: the response says `Connection: close`, and on such a connection
no further request is answered (RFC 9112, section 9.6).

It has no close codes either. It is told when to come back, each client another time, and the body ends; an
EventSource connects again by itself. From a status other than 200 it does not come back for good, so a newcomer in
a drain is told in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TypeAlias

from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.broker.gap import Gap
from mux.endpoints.latest import Held
from mux.endpoints.takeover import take_over
from mux.errors import Refused
from mux.hub.hub import Hub
from mux.hub.subscriber import Subscriber
from mux.reasons import Reason
from mux.wire.sse.coding import NOT_KEPT, TYPE, Coding
from mux.wire.sse.encoder import EXPIRED, Events, come_back, comment, inflation, missed_in_gap, told
from mux.wire.sse.named import NamedEvents

EventStreamClient: TypeAlias = Subscriber[None]

RETRY_MILLISECONDS = (1000, 5000)
"""Shortest and longest wait of a client before it comes back; the average is Chromium's own, 3 s. Clients that
lose a server at the same moment come back over 4 s."""


class EventStreamEndpoint:
    """The endpoint of event streams of one version of HTTP and one content coding (hub.subscriber.Endpoint).

    Args:
        hub: where they are connected.
        coding: how events travel.
        events: makes what is said of the connection.
        last: returns the number of the last message that was delivered.
        unacknowledged_seconds: how long a client's machine may leave unacknowledged what was sent to it.
        on_leave: takes a client and the channels it has just left; called once for each that had any.
        settle: writes what has been delivered and waits for the client; called before its connection is spoken of.
        named: makes the events of streams with several channels; None for streams of one channel.
    """

    def __init__(
        self,
        hub: Hub,
        coding: Coding,
        events: Events,
        *,
        last: Callable[[], int],
        unacknowledged_seconds: float,
        on_leave: Callable[[EventStreamClient, list[bytes]], None],
        settle: Callable[[EventStreamClient], object],
        named: NamedEvents | None = None,
    ) -> None:
        self._hub = hub
        self._coding = coding
        self._events = events
        self._last = last
        self.encode = coding.encode
        self.wrap = coding.wrap
        self._unacknowledged_seconds = unacknowledged_seconds
        self._on_leave = on_leave
        self._settle = settle
        self._named = named
        self._dice = Random()  # noqa: S311 - nothing is kept secret by it
        self._measured = b""
        self._inflation = 0
        self._quiet_ping = coding.wrap(comment("still here"))

    is_answered = False
    is_named_once = False

    def last_words(self, client: EventStreamClient, reason: Reason) -> bytes:
        """Return nothing."""
        return b""

    def ping(self, client: EventStreamClient) -> bytes:
        """Return a heartbeat; it tells a client that has been given everything where it is."""
        if client.encode != self.encode:
            return self._quiet_ping
        self._hub.router.deliver_to(client)  # the position is that of the last message, which may wait
        self._settle(client)
        return self._coding.wrap(self._events.heartbeat(self._last()))

    def inflation(self, data: bytes) -> int:
        """Return how many bytes the names before the lines of events take, where they are not compressed."""
        if data is not self._measured:  # a batch is written to one client after the other
            self._measured, self._inflation = data, inflation(data)
        return self._inflation

    def conflated(self, client: EventStreamClient, held: Held) -> bytes:
        """Return what a client is written that was behind: how many messages were left out, and the newest."""
        if self._named is None:
            count = held.skipped.total()
            return (self.wrap(told("skipped", {"count": count})) if count else b"") + held.encoded()
        counts: dict[bytes, int] = {}
        for (_, channel), count in held.skipped.items():
            counts[channel] = max(count, counts.get(channel, 0))  # a message may have come by a name and by a wildcard
        name = self._named.name
        events = [told("skipped", {"channel": name(one), "count": count}) for one, count in counts.items()]
        newest = [(*one[:3], channel) for _, channel, one in held.in_order()]
        events += self._named.encode_matched(newest).values()
        return self.wrap(b"".join(events))

    def accept(
        self,
        request: Request,
        headers: Mapping[str, str],
        address: str,
        join: Callable[[EventStreamClient], None],
        told: bytes = b"",
    ) -> None:
        """Answer with the beginning of a stream and take the connection over; see take_over().

        Args:
            request: what is answered.
            headers: to be sent beside those of every stream.
            address: where the client counts.
            join: is called with the connected client.
            told: events that the client reads before those of its channels.
        """
        take_over(
            request,
            self._coding.head(headers) + self._coding.begin(self._come_back() + told),
            join,
            kind=self,
            encode=self.encode,
            hub=self._hub,
            address=address,
            unacknowledged_seconds=self._unacknowledged_seconds,
        )

    def ended(self, client: EventStreamClient) -> None:
        """Close a stream whose client sends no more: it has left."""
        client.close()

    def turn_away(self, error: Refused) -> HTTPResponse:
        """Count a refusal that is not for long; return a stream that ends at once, and the time to come back."""
        self._hub.refuse(error.reason)
        return HTTPResponse(self._come_back() + comment(str(error)), 200, dict(NOT_KEPT), TYPE)

    def received(self, client: EventStreamClient, data: bytes) -> None:
        """Drop what a client sent; it is no sign that it reads, and no reason to leave out a comment."""
        client.has_sent = False

    def close(self, client: EventStreamClient, reason: Reason) -> None:
        """Tell the client when to come back and end its stream, unless that is done."""
        if not self._hub.router.is_listening(client) or client.transport.is_closing():
            return
        self._leave(client)
        self._settle(client)
        self._hub.closing(client)
        goodbye = comment(f"{reason.code} {reason.sentence}") + self._come_back()
        if reason is reasons.TOKEN_EXPIRED:  # the URL of an EventSource has this token: the page makes another
            goodbye = EXPIRED + goodbye
        client.write(self._coding.wrap(goodbye) + self._coding.end)
        client.finish()
        self._hub.evict_overflowing()

    def tell_gap(self, client: EventStreamClient, gap: Gap) -> None:
        """Tell a client that messages may have been missed, unless it has left; its stream goes on."""
        if self._hub.router.is_listening(client) and not client.transport.is_closing():
            client.write(self._coding.wrap(missed_in_gap(gap.missed)))

    def lost(self, client: EventStreamClient) -> None:
        """Forget a client whose connection is gone."""
        self._leave(client)
        self._hub.disconnected(client)

    def _leave(self, client: EventStreamClient) -> None:
        channels = self._hub.router.leave_all(client)
        if channels:
            self._on_leave(client, channels)

    def _come_back(self) -> bytes:
        return come_back(self._dice.randint(*RETRY_MILLISECONDS))
