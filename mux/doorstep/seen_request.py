"""A request as the doorstep has it, for rules that Sanic's Request is held to as well (endpoints.takeover.Asking).

Who it is for and from is found as Sanic finds it, proxies included, or the two ways would let in different clients.
"""

from __future__ import annotations

from asyncio import BaseTransport
from collections.abc import Mapping
from typing import Any

from sanic import Sanic
from sanic.compat import Header
from sanic.headers import parse_forwarded, parse_xforwarded


class SeenRequest:
    """One request that Sanic has not been given."""

    __slots__ = ("_app", "headers", "transport", "version")

    def __init__(
        self,
        fields: Mapping[str, str] | list[tuple[str, str]],
        transport: BaseTransport,
        app: Sanic[Any, Any],
        version: str = "1.1",
    ) -> None:
        self._app = app
        self.headers = Header(fields)
        self.transport = transport
        self.version = version

    @property
    def host(self) -> str:
        """Return the name that the request came under, as Sanic's Request.host does."""
        server_name = self._app.config.get("SERVER_NAME")
        if server_name:
            return str(server_name).split("//", 1)[-1].split("/", 1)[0]
        return str(self._forwarded.get("host") or self.headers.getone("host", ""))

    @property
    def client_ip(self) -> str:
        """Return the address of the client, as Sanic's Request.client_ip does."""
        return str(self._forwarded.get("for", "")) or peer_address(self.transport)

    @property
    def _forwarded(self) -> Mapping[str, Any]:
        if not trusts_proxies(self._app):
            return {}
        config = self._app.config
        return parse_forwarded(self.headers, config) or parse_xforwarded(self.headers, config) or {}


def trusts_proxies(app: Sanic[Any, Any]) -> bool:
    """Return whether an app believes what proxies say of who asks."""
    config = app.config
    return bool(config.FORWARDED_SECRET or config.REAL_IP_HEADER or config.PROXIES_COUNT)


def peer_address(transport: BaseTransport) -> str:
    """Return the address of the other end, as Sanic's Request.ip; nothing for a unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""
