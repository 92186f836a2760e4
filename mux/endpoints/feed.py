"""Serve /feed/<channel>: every client of the channel receives what any of them sends.

    WebSocket       joins the channel; every message is published
    event stream    joins the channel and listens; a GET that accepts text/event-stream; `orders.*` is for all channels
                    that begin with `orders.`
    POST            publishes the body
    GET             as JSON, the latest messages; otherwise 426: there is nothing to see without one of the others

Nothing is delivered from here. What is published goes to Redis and comes back with everybody else's,
so that every client on every process sees the same order, the sender included.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.broker.outbox import Outbox
from mux.endpoints.catch_up import CatchUp, Owed, withhold
from mux.endpoints.compression import Compression
from mux.endpoints.dialect import WebSocketClient
from mux.endpoints.event_stream import EventStreamClient, EventStreamEndpoint
from mux.endpoints.hooks import Hooks
from mux.endpoints.latest import Latest, divert, restore
from mux.endpoints.looking_back import LookingBack
from mux.endpoints.many_channels import ManyChannels
from mux.endpoints.membership import Membership
from mux.endpoints.past import Past, query_of, wants_latest, wants_messages, wants_stream
from mux.endpoints.publishing import Publishing
from mux.endpoints.refusals import refuse
from mux.endpoints.request_checks import Permit, RequestChecks
from mux.endpoints.takeover import Asking, has_socket
from mux.endpoints.websocket import WebSocketEndpoint
from mux.errors import InvalidChannel, Refused
from mux.grants.authority import Authority
from mux.grants.grants import Action, Grants
from mux.hub.allowance import Allowance, Pace
from mux.hub.hub import Hub
from mux.settings.settings import Settings
from mux.wire.channel import is_wildcard
from mux.wire.http.answer import preflight
from mux.wire.sse.coding import STREAM, codings
from mux.wire.sse.encoder import Events


class Feed:
    """The feed endpoint of one process.

    Args:
        hub: has the clients.
        outbox: publishes what clients send.
        settings: prefix, announce, announce_as, client_publish, token_cookie, allowed_host, allowed_origin, and what
            limits a client.
        authority: knows what a token grants.
        hooks: what the app has to say.
        past: what there was before a client came; without it, nothing is known of that.
    """

    def __init__(
        self,
        hub: Hub,
        outbox: Outbox,
        settings: Settings,
        authority: Authority,
        hooks: Hooks,
        past: Past | None = None,
    ) -> None:
        self._hub = hub
        self._hooks = hooks
        self._past = past
        self._history = None if past is None else past.history
        self.catch_up: CatchUp | None = None
        if past is not None:
            self.catch_up = CatchUp(hub, past.history, max_pending_bytes=settings.max_pending_bytes)
        prefix = settings.prefix.encode()
        self._events = Events(prefix=prefix) if past is None else Events(past.numbering, past.quiet.note, prefix=prefix)
        self._clients_publish = settings.client_publish
        self._compression = Compression(settings)
        self.checks = RequestChecks(hub, settings, authority)
        self._looking_back = LookingBack(self.checks, self._history)
        self.publishing = Publishing(hub, outbox, self.checks, hooks, settings)
        self.members = Membership(hub.router, outbox, hooks, settings)
        self._latest = Latest(hub, self._events.withhold, partial(divert, (withhold, self._events.withhold)), restore)
        self._websockets = WebSocketEndpoint(
            hub,
            max_message_bytes=settings.max_message_bytes,
            on_message=self.publishing.from_client,
            on_leave=self.members.left,
            settle=self._latest.settle,
            pace=_pace(settings),
            is_writable=lambda: outbox.is_writable,
            compress_min_bytes=self._compression.min_bytes,
        )
        # The hub evicts a client that does not read, and logs it, before the kernel gives up on the client.
        silent_seconds = settings.pong_seconds + max(settings.ping_seconds, settings.max_unwritable_seconds)
        self._streams = {
            form: EventStreamEndpoint(
                hub,
                coding,
                self._events,
                last=self._last,
                unacknowledged_seconds=silent_seconds,
                on_leave=self._stop_listening,
                settle=self._latest.settle,
            )
            for form, coding in codings(self._events, self._compression.min_bytes).items()
        }
        self.many = ManyChannels(
            hub,
            self.checks,
            settings,
            self._events,
            past,
            self.catch_up,
            self._latest,
            join=self._join_stream,
            on_leave=self._stop_listening,
            last=self._last,
            unacknowledged_seconds=silent_seconds,
        )
        self.heed_hooks()

    def heed_hooks(self) -> None:
        """Ask the app from now on what it has hooks for; without one, nothing is done for it."""
        hooks, publishing = self._hooks, self.publishing
        self.checks.authorize = None if hooks.authorize is None else hooks.authorized
        self._websockets.on_message = publishing.from_client if hooks.message is None else publishing.filtered

    def refusal_of_host(self, request: Request) -> HTTPResponse | None:
        """Return the answer to a request that came under a name that is not served; None when the name is."""
        try:
            self.checks.check_host(request)
        except Refused as error:
            return refuse(self._hub, error)
        return None

    async def aclose(self) -> None:
        """End what is still being given to clients."""
        await self.many.aclose()
        if self.catch_up is not None:
            await self.catch_up.aclose()

    def resume(self) -> None:
        """Go on with the messages of clients that had to wait: Redis keeps up again."""
        self._websockets.resume()

    def join_at_once(self, request: Asking, channel: bytes) -> bool:
        """Make a client of the connection of a usual WebSocket handshake; tell whether that is done.

        It is not when there is anything to refuse, to wait for, or unusual: connect() answers that. channel is a name
        in whose path nothing was percent-encoded.
        """
        accepted = self._websockets.accept_usual(request)
        if accepted is None or is_wildcard(channel):
            return False
        permit = self.checks.permit_at_once(request, channel, Action.SUBSCRIBE)
        if permit is None:
            return False
        try:
            self.checks.check_not_leaving()
            address = self.checks.admit(request)
        except Refused:
            return False
        self._websockets.open(request, accepted, address, partial(self._join, permit, None, False))
        return True

    async def answer(self, request: Request, answering: Awaitable[HTTPResponse | None]) -> HTTPResponse | None:
        """Return an answer, or the answer to its refusal, with what says which pages may read it; None stays None."""
        try:
            response = await answering
        except Refused as error:
            response = refuse(self._hub, error)
        if response is None:
            return None
        response.headers.update(self.checks.sharing(request))
        return await self._compression.compress(request, response)

    async def connect(self, request: Request, channel: str, *, takes_wildcards: bool = True) -> HTTPResponse | None:
        """Let a client in, whose socket is then the feed's, and return None; or return another answer.

        A wildcard is refused unless takes_wildcards.

        Raises:
            Refused: no client comes of this request.
        """
        if not has_socket(request):
            raise Refused(reasons.NO_SOCKET)
        is_websocket = request.headers.get("upgrade", "").lower() == "websocket" and request.version == "1.1"
        stream = None if is_websocket else self._stream_for(request)
        try:
            if channel.endswith("*") and not takes_wildcards:
                raise InvalidChannel("a name that ends with '*' stands for many channels: this app serves single ones")
            if stream is None and channel.endswith("*"):
                raise InvalidChannel("a name that ends with '*' stands for many channels: ask for an event stream")
            permit = await self.checks.permitted(request, channel, Action.SUBSCRIBE)
            if stream is None and not is_websocket and wants_messages(request):
                return await self._looking_back.messages(request, permit)
            query = query_of(request)
            owed = None if query is None else await self._looking_back.owed(request, permit, query)
            # Nothing waits from here on, so what is true now is true when the client joins.
            return self._take(request, permit, stream, owed, is_websocket=is_websocket)
        except Refused as error:
            if stream is None or not error.reason.is_goodbye:
                raise
            return stream.turn_away(error)

    def _take(
        self,
        request: Request,
        permit: Permit,
        stream: EventStreamEndpoint | None,
        owed: Owed | None,
        *,
        is_websocket: bool,
    ) -> HTTPResponse | None:
        """Check all that can change meanwhile, and take the connection of a request over; or return another answer.

        Raises:
            Refused: the request cannot be for a client, or no client can be let in now.
        """
        self.checks.check_not_leaving()
        self.checks.check_no_body(request)
        if stream is None and (not is_websocket or request.method == "HEAD"):
            raise Refused(reasons.NO_UPGRADE)
        if request.method == "HEAD":
            return HTTPResponse(status=200, headers=dict(STREAM))
        is_latest = wants_latest(request)
        address = self.checks.admit(request)
        if stream is None:
            return self._websockets.accept(request, address, partial(self._join, permit, owed, is_latest))
        told = b""
        if owed is not None and owed.found.missed:
            told = self._events.missed(owed.asked, owed.found.missed, self._last())
        fields = self.checks.sharing(request) | self._compression.fields
        stream.accept(request, fields, address, partial(self._listen, permit, owed, is_latest), told)
        return None

    def _join(self, permit: Permit, owed: Owed | None, is_latest: bool, client: WebSocketClient) -> None:
        """Let a WebSocket client listen to one channel, and publish to it if it may, and give it what it is owed."""
        if is_latest:
            self._latest.watch(client)
        client.session = self._websockets.new_session(client, permit.redis_channel if permit.may_publish else None)
        self.members.join(client, permit.redis_channel, permit.grants)
        if owed is not None and owed.found.missed:
            self._websockets.close(client, reasons.MISSED)
        elif owed is not None and self.catch_up is not None:
            self.catch_up.begin(client, owed, withhold)

    def _listen(self, permit: Permit, owed: Owed | None, is_latest: bool, client: EventStreamClient) -> None:
        """Let the client of an event stream listen to one channel, and give it what it is owed."""
        if is_latest:
            self._latest.watch(client)
        self._join_stream(client, permit.redis_channel, permit.grants)
        if owed is not None and self.catch_up is not None:
            self.catch_up.begin(client, owed, self._events.withhold)

    def _join_stream(self, client: EventStreamClient, redis_channel: bytes, grants: Grants | None) -> None:
        self.members.join(client, redis_channel, grants)
        if self._past is not None:
            self._past.quiet.entered(redis_channel, self._last())

    def _stop_listening(self, client: EventStreamClient, redis_channels: list[bytes]) -> None:
        if self._past is not None:
            for redis_channel in redis_channels:
                self._past.quiet.left(redis_channel, self._last())
        self.members.left(client, redis_channels)

    def _last(self) -> int:
        """Return the number of the last message that was delivered; 0 while they have none."""
        return 0 if self._history is None else self._history.last

    def _stream_for(self, request: Request) -> EventStreamEndpoint | None:
        """Return the endpoint of the event stream that a request is for, if it is for one."""
        form = request.version, self._compression.coding(request)
        return self._streams.get(form) if wants_stream(request) else None

    async def preflight(self, request: Request) -> HTTPResponse:
        """Answer OPTIONS.

        Raises:
            Refused: as RequestChecks.check_origin().
        """
        self.checks.check_origin(request)
        return HTTPResponse(status=204, headers=preflight(publishes=self._clients_publish))


def _pace(settings: Settings) -> Pace[WebSocketClient]:
    messages, control_frames = settings.max_messages_per_second, settings.max_control_frames_per_second
    return Pace(
        Allowance(per_second=messages, burst=settings.max_messages_burst) if messages else None,
        Allowance(per_second=control_frames, burst=settings.max_control_frames_burst) if control_frames else None,
    )
