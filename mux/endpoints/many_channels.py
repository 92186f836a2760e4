"""Serve /feed?channel=a&channel=b: one event stream of several channels.

Every channel is decided on by itself: one that is refused is told, and the stream is of the others. A position holds
for all channels, so what comes is written in the order of all messages (endpoints.in_order). It is not compressed, for
that would be done for each client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.endpoints.catch_up import CatchUp
from mux.endpoints.event_stream import EventStreamClient, EventStreamEndpoint
from mux.endpoints.in_order import InOrder
from mux.endpoints.joining import Joining, JoinOne
from mux.endpoints.latest import Latest
from mux.endpoints.past import Past, query_of, wants_latest, wants_stream
from mux.endpoints.request_checks import Permit, RequestChecks
from mux.endpoints.takeover import has_socket
from mux.errors import Refused
from mux.hub.hub import Hub
from mux.recovery.history import Query
from mux.settings.settings import Settings
from mux.wire.sse.coding import STREAM, codings
from mux.wire.sse.encoder import Events, told
from mux.wire.sse.named import NamedEvents

_SENTENCE = (
    "this is the feed of several channels: GET /feed?channel=a&channel=b with `Accept: text/event-stream`; "
    "one channel alone is at /feed/<channel>"
)


class ManyChannels:
    """The endpoint of event streams of several channels, in one process.

    Args:
        hub: has the clients.
        checks: decide which request may listen to what.
        settings: prefix, handshake_seconds and max_channels_per_connection.
        events: gives events their positions.
        past: what there was before a client came; None when nothing is known of that.
        catch_up: writes what a client has missed; None when nothing is known of that.
        latest: gives clients that ask for it the newest messages when they do not keep up.
        join: lets a client join a channel.
        on_leave: takes a client and the channels it has just left.
        last: returns the number of the last message that was delivered.
        unacknowledged_seconds: see EventStreamEndpoint.
    """

    def __init__(
        self,
        hub: Hub,
        checks: RequestChecks,
        settings: Settings,
        events: Events,
        past: Past | None,
        catch_up: CatchUp | None,
        latest: Latest,
        *,
        join: JoinOne,
        on_leave: Callable[[EventStreamClient, list[bytes]], None],
        last: Callable[[], int],
        unacknowledged_seconds: float,
    ) -> None:
        self._hub = hub
        self._checks = checks
        self._seconds = settings.handshake_seconds
        self._max_channels = settings.max_channels_per_connection
        named = NamedEvents(events, settings.prefix.encode())
        self._in_order = InOrder(hub.router, named)
        hub.router.on_delivered = self._in_order.flush
        self._latest = latest
        self._joining = Joining(join, events, named, past, catch_up)
        self._streams = {
            form: EventStreamEndpoint(
                hub,
                replace(coding, encode=self._in_order.encode),
                events,
                last=last,
                unacknowledged_seconds=unacknowledged_seconds,
                on_leave=on_leave,
                settle=self._settle,
                named=named,
            )
            for form, coding in codings(events).items()
        }

    async def aclose(self) -> None:
        """End what is still being given to clients."""
        await self._joining.aclose()

    async def connect(self, request: Request) -> HTTPResponse | None:
        """Let a client in, whose socket is then the feed's, and return None; or return another answer.

        Raises:
            Refused: no client comes of this request.
        """
        if not has_socket(request):
            raise Refused(reasons.NO_SOCKET)
        self._checks.check_origin(request)
        names = self._names(request)
        stream = self._streams.get((request.version, "")) if wants_stream(request) else None
        if stream is None:
            raise Refused(reasons.NO_UPGRADE, _SENTENCE)
        try:
            query, is_latest = query_of(request), wants_latest(request)
            permits, refusals = await self._decide(request, names)
            # Nothing waits from here on, so what is true now is true when the client joins.
            self._checks.check_not_leaving()
            self._checks.check_no_body(request)
            if request.method == "HEAD":
                return HTTPResponse(status=200, headers=dict(STREAM))
            address = self._checks.admit(request)
        except Refused as error:
            if not error.reason.is_goodbye:
                raise
            return stream.turn_away(error)
        begin = partial(self._begin, permits, query, is_latest)
        refused = b"".join([self._refused(name, error) for name, error in refusals])
        stream.accept(request, self._checks.sharing(request), address, begin, refused)
        return None

    def _names(self, request: Request) -> list[str]:
        """Return the names of the channels that a request asks for, each once. Spaces stand between names as well.

        Raises:
            Refused: there are none, or too many.
        """
        args = dict(request.get_args(keep_blank_values=True))
        names = list(dict.fromkeys(name for value in args.get("channel", []) for name in value.split(" ")))
        if not names:
            raise Refused(reasons.NOT_FOUND)
        if len(names) > self._max_channels:
            raise Refused(reasons.CHANNELS, f"one connection may listen to {self._max_channels} channels at most")
        return names

    async def _decide(self, request: Request, names: Sequence[str]) -> tuple[list[Permit], list[tuple[str, Refused]]]:
        """Return what is permitted, and which channels are refused and why.

        Raises:
            Refused: all of them are, or the app takes too long to decide.
        """
        permits, refusals = [], []
        try:
            async with asyncio.timeout(self._seconds):
                async for name, decision in self._checks.permitted_each(request, names):
                    if isinstance(decision, Refused):
                        refusals.append((name, decision))
                    else:
                        permits.append(decision)
        except TimeoutError:
            raise Refused(reasons.HOOK) from None
        if not permits:
            raise refusals[0][1]
        return permits, refusals

    def _refused(self, name: str, error: Refused) -> bytes:
        """Count a channel that is refused, and return the event that tells it."""
        self._hub.refuse(error.reason)
        return told("refused", {"channel": name, "status": error.reason.status, "reason": str(error)})

    def _begin(
        self, permits: Sequence[Permit], query: Query | None, is_latest: bool, client: EventStreamClient
    ) -> None:
        if is_latest:
            self._latest.watch(client)
        self._joining.begin(permits, query, client)

    def _settle(self, client: EventStreamClient) -> None:
        self._in_order.settle(client)
        self._latest.settle(client)
