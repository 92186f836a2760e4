"""What is looked at of a request to join, wherever it comes from.

Sanic's Request has it, and so has what the doorstep makes of a handshake it knows by sight: one set of rules lets both
in, and one take-over serves both.
"""

from __future__ import annotations

from asyncio import BaseTransport
from typing import Protocol

from sanic.compat import Header


class Asking(Protocol):
    """A request, as far as it is decided here whether its connection becomes a client."""

    @property
    def headers(self) -> Header:
        """Its header fields."""

    @property
    def host(self) -> str:
        """Which host it is for, as the nearest proxy that is trusted says, or its Host field."""

    @property
    def version(self) -> str:
        """Its version of HTTP, as 1.1."""

    @property
    def client_ip(self) -> str:
        """The address it is from, found the same way."""

    @property
    def transport(self) -> BaseTransport | None:
        """Its connection."""
