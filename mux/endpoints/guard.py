"""What `mux serve` does about connections that have not become anybody's.

A socket costs a descriptor from the moment it is accepted, before it has said what it wants. Two things
that Sanic leaves open are closed here, in a protocol class of its own for the server that mux runs itself:

1. A request that comes in drops has no more time than one that comes at once. Sanic counts its timeouts
   from the last byte, so a byte now and then holds a connection for ever; here only the first byte of a
   request counts.
2. When nearly no descriptor is left, a new connection is cut off before anything is made for it.

With takeover.py this is the other module that touches what Sanic does not document: `_time` of
HttpProtocol, and `connections`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from typing import Any

from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from mux.hub.admission import Admission
from mux.hub.hub import Hub

PRIVATE_NAMES = ("_time", "connections")
"""Attributes of sanic.server.protocols.http_protocol.HttpProtocol, as of Sanic 25.12."""


def guarded_protocol(hub: Hub, admission: Admission[Any]) -> type[HttpProtocol]:
    """Return the protocol class for a server whose clients are the hub's."""

    class GuardedProtocol(HttpProtocol):
        """An HTTP connection that is bounded in time and number."""

        __slots__ = ()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            plain: Sized = self.connections
            if admission.may_ask(len(hub) + len(plain) + 1):
                super().connection_made(transport)  # type: ignore[no-untyped-call]
                return
            hub.refused["descriptors"] += 1
            # Sanic's object has no connection to lose; nobody is to be told.
            transport.set_protocol(asyncio.Protocol())
            transport.abort()  # type: ignore[attr-defined]  # it is a Transport

        def data_received(self, data: bytes) -> None:
            http = self.http  # None until the connection has its task
            is_new = http is None or (http.stage is Stage.IDLE and not http.request_body)
            begun = self._time
            super().data_received(data)
            if not is_new:
                self._time = begun

    return GuardedProtocol
