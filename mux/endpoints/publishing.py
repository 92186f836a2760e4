"""Publish what clients send, by WebSocket or POST.

All of it goes through the outbox, with what the app publishes: while Redis does not keep up, WebSocket clients are not
read from, and a POST waits in the outbox's queue or is refused when that is full.
"""

from __future__ import annotations

import asyncio
from typing import cast

from sanic.http import Http
from sanic.request import Request
from sanic.response import HTTPResponse, text

from mux import reasons
from mux.broker.outbox import Outbox
from mux.endpoints.dialect import WebSocketClient
from mux.endpoints.hooks import Hooks
from mux.endpoints.request_checks import RequestChecks
from mux.errors import BrokerError, BrokerRefused, MessageTooLarge, Refused
from mux.grants.grants import Action
from mux.hub.hub import Hub
from mux.settings.settings import Settings
from mux.wire.channel import binary_variant
from mux.wire.http.content import is_binary


class Publishing:
    """Publishes for the clients of one process.

    Args:
        hub: counts refusals.
        outbox: publishes.
        checks: decide which request may publish where.
        hooks: may change a message, or drop it.
        settings: client_publish, max_message_bytes and handshake_seconds.
    """

    def __init__(self, hub: Hub, outbox: Outbox, checks: RequestChecks, hooks: Hooks, settings: Settings) -> None:
        self._hub = hub
        self._outbox = outbox
        outbox.on_refused = _refused
        self._checks = checks
        self._hooks = hooks
        self._body_seconds = settings.handshake_seconds
        self._max_message_bytes = settings.max_message_bytes
        self._not_publishing = reasons.FORBIDDEN if settings.client_publish else reasons.READ_ONLY

    async def post(self, request: Request, channel: str) -> HTTPResponse:
        """Publish the body of a request.

        Raises:
            Refused: it may not be published, or is no message.
        """
        if request.headers.get("upgrade", "").lower() == "websocket":
            # Sanic sets no time limit for it, and there is nothing to upgrade to; other upgrades are ignored.
            raise Refused(reasons.HANDSHAKE, "a POST publishes its body; to upgrade, use GET")
        permit = await self._checks.permitted(request, channel, Action.PUBLISH)
        redis_channel, headers = permit.redis_channel, request.headers
        binary = is_binary(headers.getall("content-type", []), headers.getall("content-encoding", []))
        payload = await read_body(request, self._max_message_bytes, self._body_seconds)
        self._checks.check_time(permit)
        if self._hooks.message is not None:
            found = self._hooks.filtered(redis_channel, payload, binary, permit.grants)
            if found is None:
                return HTTPResponse(status=204)
            payload, binary = found
        try:
            await self._outbox.publish(binary_variant(redis_channel) if binary else redis_channel, payload)
        except BrokerError as error:  # counted by the outbox
            reason = error.reason
            said = f"{reason.sentence}: {error}" if isinstance(error, BrokerRefused) else str(error)
            return text(f"{said}\n", reason.status, dict(reason.fields))
        return HTTPResponse(status=204)

    def filtered(self, client: WebSocketClient, payload: bytes, binary: bool) -> None:
        """Publish what the app makes of a message of a client; close the client if its hook fails."""
        if client.session is not None and (redis_channel := client.session.publishes_to) is not None:
            try:
                found = self._hooks.filtered(redis_channel, payload, binary, client.grants)
            except Refused as error:
                self._hub.refuse(error.reason)
                client.endpoint.close(client, error.reason)
                return
            if found is None:
                return
            payload, binary = found
        self.from_client(client, payload, binary)

    def from_client(self, client: WebSocketClient, payload: bytes, binary: bool) -> None:
        """Publish a message of a client; close the client if it may not publish, or Redis does not take the message."""
        if client.session is None:
            return  # the client was evicted over the message before
        redis_channel = client.session.publishes_to
        if redis_channel is None:
            self._hub.refuse(self._not_publishing)
            client.endpoint.close(client, self._not_publishing)
            return
        if binary:
            redis_channel = binary_variant(redis_channel)
        self._outbox.send_from(client, redis_channel, payload)


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Return the body of a request to a route that reads a stream, if it is whole in time and not too large.

    Raises:
        MessageTooLarge: it is too large.
        Refused: it is not whole in time.
    """
    too_large = MessageTooLarge(f"a message may have at most {max_bytes} bytes")
    stream = cast("Http", request.stream)
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while (chunk := await stream.read()) is not None:
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise Refused(reasons.TOO_SLOW, f"the body was not complete after {seconds:g} s") from None
    return bytes(body)


def _refused(client: WebSocketClient, error: BrokerError) -> None:
    """Close a client whose message Redis has not taken."""
    client.endpoint.close(client, error.reason)
