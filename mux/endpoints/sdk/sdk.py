"""Serve the SDKs of Centrifugo: what they connect to, and what becomes of each of their commands."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from time import time
from uuid import uuid4

import orjson
from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.broker.outbox import Outbox
from mux.endpoints.hooks import Hooks
from mux.endpoints.sdk.endpoint import Answer, Handler, SdkEndpoint
from mux.endpoints.sdk.permits import check_here
from mux.endpoints.sdk.questions import Questions
from mux.endpoints.sdk.renewals import Renewals
from mux.endpoints.sdk.rpc import Rpcs
from mux.endpoints.sdk.served import Served
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.endpoints.sdk.subscriptions import Parts, Subscriptions
from mux.endpoints.sdk.tokens import CONNECT, told_end
from mux.endpoints.takeover import has_socket
from mux.errors import Refused
from mux.grants.grants import Grants
from mux.presence.presence import Presence
from mux.settings.settings import Settings
from mux.version import __version__
from mux.wire.channel import Namespace
from mux.wire.sdk.commands import Connect, Send, options_of
from mux.wire.sdk.replies import with_members

JSON = "centrifuge-json"
"""The subprotocol of clients that speak JSON; without one they do as well."""

PROTOBUF = "centrifuge-protobuf"
"""The subprotocol of clients that speak Protobuf."""

_TRUE = "true"


class Sdk:
    """Serves the SDK clients of one process.

    Args:
        parts: what it works with.
        outbox: publishes.
        hooks: what the app has to say.
        rpcs: the functions of the app that clients may call.
        presence: knows who is in a channel.
        settings: all of them.
    """

    def __init__(
        self, parts: Parts, outbox: Outbox, hooks: Hooks, rpcs: Rpcs, presence: Presence, settings: Settings
    ) -> None:
        self._checks = parts.checks
        self._members = parts.members
        self.subscriptions = Subscriptions(parts, settings)
        self.served = Served(parts.hub, self.subscriptions, parts.members, Namespace(settings.prefix))
        renewals = Renewals(parts.checks, parts.members, self.subscriptions)
        questions = Questions(
            self.subscriptions,
            outbox,
            hooks,
            presence,
            parts.past,
            lambda *said: self.endpoint.answer(*said),
            signs=settings.publisher_info,
        )
        handlers: Mapping[str, Handler] = {
            "connect": self._connect,
            "subscribe": self.subscriptions.subscribe,
            "unsubscribe": self.subscriptions.unsubscribe,
            "publish": questions.publish,
            "presence": questions.asked(questions.presence),
            "presence_stats": questions.asked(questions.presence_stats),
            "history": questions.asked(questions.history),
            "rpc": rpcs.call,
            "send": _send,
            "refresh": renewals.refresh,
            "sub_refresh": renewals.sub_refresh,
        }
        self.endpoint = SdkEndpoint(
            parts.hub,
            settings,
            is_writable=lambda: outbox.is_writable,
            handlers=handlers,
            encode=self.subscriptions.offsets.pushes.usual(None),
            on_leave=self.subscriptions.left,
            settle=self.subscriptions.latest.settle,
        )
        self._ping = ceil(settings.ping_seconds)

    async def aclose(self) -> None:
        """End what waits."""
        await self.served.aclose()
        await self.endpoint.aclose()
        await self.subscriptions.aclose()

    def tick(self, now: float) -> None:
        """End the clients that do not connect in time; to be called about once a second with the time in seconds."""
        self.endpoint.tick(now)
        self.subscriptions.terms.tick(time())

    async def connect(self, request: Request) -> HTTPResponse | None:
        """Let a client in, whose socket is then ours, and return None; or return another answer.

        Raises:
            Refused: no client comes of this request.
        """
        if not has_socket(request):
            raise Refused(reasons.NO_SOCKET)
        checks = self._checks
        checks.check_origin(request)
        checks.check_not_leaving()
        checks.check_no_body(request)
        is_websocket = request.headers.get("upgrade", "").lower() == "websocket" and request.version == "1.1"
        if not is_websocket or request.method == "HEAD":
            raise Refused(reasons.NO_UPGRADE, "SDK clients connect here, by WebSocket")
        token = checks.token_of(request) if checks.takes_tokens else None
        address = checks.admit(request)
        offered = {one.strip() for one in ",".join(request.headers.getall("sec-websocket-protocol", [])).split(",")}
        is_protobuf = PROTOBUF in offered or "protobuf" in (request.args.get("format"), request.args.get("cf_protocol"))
        has_native_pings = request.args.get("cf_ws_frame_ping_pong") == _TRUE
        chosen = JSON if JSON in offered else PROTOBUF if PROTOBUF in offered else ""
        headers = [item for item in request.headers.items() if item[0] != "sec-websocket-protocol"]
        if chosen:
            headers.append(("sec-websocket-protocol", chosen))

        def join(client: SdkClient) -> None:
            client.identity = uuid4()
            client.session = SdkSession(
                self.subscriptions.offsets.pushes,
                token,
                request.client_ip,
                None if checks.authorize is None else request,
                has_native_pings=has_native_pings,
                compressor=self.endpoint.compressor_of(client),
            )
            client.encode = client.session.pushes.usual(client.session.compressor)
            if is_protobuf and chosen != JSON:
                self.endpoint.close(client, reasons.PROTOBUF)

        return self.endpoint.accept(request, address, headers, join)

    def _connect(self, client: SdkClient, session: SdkSession, number: int, asked: Connect) -> Answer:
        """Let a client go on by its token, or by that of its handshake."""
        token, session.token = asked.token or session.token, None
        session.wants_notice = options_of(asked.data).notice
        if not self._checks.takes_tokens:
            return self._connected(client, session)
        if token is not None:
            return self._connect_by(client, session, token, asked)
        if self._checks.needs_token:
            raise Refused(reasons.BAD_COMMAND)
        found = self._checks.grants_of(None, "")
        assert isinstance(found, Grants), "nothing is waited for without a token"
        self._members.hold(client, found)
        return self._connected(client, session)

    async def _connect_by(self, client: SdkClient, session: SdkSession, text: str, asked: Connect) -> bytes:
        token = await self.subscriptions.tokens.check(text, session.address, CONNECT)
        check_here(client)
        claims = token.claims
        if claims.channel is not None:
            raise Refused(reasons.INVALID_TOKEN)
        session.has_token, session.user = True, claims.subject
        self._members.hold(client, token.grants)
        subs = b""
        if claims.subs:
            subs = await self.served.enter_all(client, session, claims.subs, asked.subs or {})
            check_here(client)
            subs = b'"subs":%b' % subs
        body = self._connected(client, session)
        return with_members(body, b",".join(filter(None, (told_end(claims.ends), subs))))

    def _connected(self, client: SdkClient, session: SdkSession) -> bytes:
        session.is_connected = True
        self.endpoint.connected(client)
        told: dict[str, object] = {"client": str(client.identity), "version": f"mux {__version__}"}
        if not session.has_native_pings:
            told |= {"ping": self._ping, "pong": True}
        return orjson.dumps(told)


def _send(client: SdkClient, session: SdkSession, number: int, asked: Send) -> Answer:
    raise Refused(reasons.NO_HANDLER)
