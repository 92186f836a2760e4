"""Serve the SDKs of Centrifugo: what they connect to, and what becomes of each of their commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
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
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.questions import Questions
from mux.endpoints.sdk.rpc import Rpcs
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.endpoints.sdk.subscriptions import Parts, Subscriptions
from mux.endpoints.takeover import has_socket
from mux.errors import Refused
from mux.grants.authority import OUT_OF_TIME
from mux.grants.grants import Grants
from mux.presence.presence import Presence
from mux.settings.settings import Settings
from mux.version import __version__
from mux.wire.sdk.commands import Connect, Refresh, Send, SubRefresh
from mux.wire.sdk.replies import NOT_AVAILABLE, TOKEN_EXPIRED

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
        questions = Questions(
            self.subscriptions, outbox, hooks, presence, parts.past, lambda *said: self.endpoint.answer(*said)
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
            "refresh": _refresh,
            "sub_refresh": _refresh,
        }
        self.endpoint = SdkEndpoint(
            parts.hub,
            settings,
            is_writable=lambda: outbox.is_writable,
            handlers=handlers,
            encode=self.subscriptions.pushes.usual,
            on_leave=self.subscriptions.left,
        )
        self._ping = ceil(settings.ping_seconds)

    async def aclose(self) -> None:
        """End what waits."""
        await self.endpoint.aclose()
        await self.subscriptions.aclose()

    def tick(self, now: float) -> None:
        """End the clients that do not connect in time; to be called about once a second with the time in seconds."""
        self.endpoint.tick(now)

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
                self.subscriptions.pushes,
                token,
                request.client_ip,
                None if checks.authorize is None else request,
                has_native_pings=has_native_pings,
            )
            client.encode = client.session.pushes.usual
            if is_protobuf and chosen != JSON:
                self.endpoint.close(client, reasons.PROTOBUF)

        return self.endpoint.accept(request, address, headers, join)

    def _connect(self, client: SdkClient, session: SdkSession, number: int, asked: Connect) -> Answer:
        """Let a client go on by its token, or by that of its handshake."""
        token, session.token = asked.token or session.token, None
        session.has_token = token is not None
        if not self._checks.takes_tokens:
            return self._connected(client, session, None)
        with _of_connect():
            found = self._checks.grants_of(token, session.address)
        return self._connected(client, session, found) if isinstance(found, Grants) else self._later(client, found)

    async def _later(self, client: SdkClient, grants: Callable[[], Awaitable[Grants]]) -> bytes:
        with _of_connect():
            found = await grants()
        assert client.session is not None
        return self._connected(client, client.session, found)

    def _connected(self, client: SdkClient, session: SdkSession, grants: Grants | None) -> bytes:
        if grants is not None and grants.until <= time():
            raise CommandFailed(TOKEN_EXPIRED)
        self._members.hold(client, grants)
        session.is_connected = True
        self.endpoint.connected(client)
        told: dict[str, object] = {"client": str(client.identity), "version": f"mux {__version__}"}
        if not session.has_native_pings:
            told |= {"ping": self._ping, "pong": True}
        return orjson.dumps(told)


@contextmanager
def _of_connect() -> Iterator[None]:
    """Tell a client what is wrong with the token that it connects with."""
    try:
        yield
    except Refused as error:
        if error.reason is not reasons.UNAUTHORIZED:
            raise
        if str(error) in OUT_OF_TIME:
            raise CommandFailed(TOKEN_EXPIRED) from None
        raise Refused(reasons.INVALID_TOKEN) from None


def _send(client: SdkClient, session: SdkSession, number: int, asked: Send) -> Answer:
    raise Refused(reasons.NO_HANDLER)


def _refresh(client: SdkClient, session: SdkSession, number: int, asked: Refresh | SubRefresh) -> Answer:
    if not asked.token or (isinstance(asked, SubRefresh) and not asked.channel):
        raise Refused(reasons.BAD_COMMAND)
    raise CommandFailed(NOT_AVAILABLE)
