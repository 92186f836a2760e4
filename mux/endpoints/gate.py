"""Who may see the fleet's numbers and the names of its channels.

With a token: who has it. Without: who is on this machine. That is not told by the address alone:

- a page of another site can make a browser ask 127.0.0.1 under the name of that site (DNS rebinding), so the Host
  has to be a name of this machine as well;
- a proxy on this machine asks for people who are elsewhere, so there must be no trace of one.

Pure: values in, a decision out.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from mux.errors import InspectionRefused

PROXY_HEADERS = ("forwarded", "via", "x-forwarded-", "x-real-ip")
"""A proxy adds at least one that begins so (RFC 9110, section 7.6.3; RFC 7239; and what nginx is told to add)."""

OLD_VERSION = "1.0"
"""What nginx speaks to a server when it is not told otherwise, with the server's own name as the Host, and no header
that names a client. Browsers, curl and mux top speak 1.1."""

_HOW = "set an --inspect-token, and send it as 'Authorization: Bearer <token>'"


class Gate:
    """Lets a request pass or not.

    Args:
        token: what it has to have; None lets this machine pass, and nobody else.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def check(self, *, addresses: tuple[str, str] | None, version: str, headers: Mapping[str, list[str]]) -> None:
        """Decide about a request.

        Args:
            addresses: of both ends of its socket; None for a unix socket.
            version: of HTTP.
            headers: all values by name, in lower case.

        Raises:
            InspectionRefused: it may not pass; the message says what to do.
        """
        if self._token is not None:
            self._check_token(headers.get("authorization", []))
        elif addresses is not None and not all(map(is_loopback, addresses)):
            raise InspectionRefused(f"this is for the machine the server runs on; {_HOW}")
        elif version == OLD_VERSION or any(name.startswith(PROXY_HEADERS) for name in headers):
            raise InspectionRefused(f"behind a proxy this needs a token; {_HOW}")
        elif not is_local_name(headers.get("host", [])):
            raise InspectionRefused(f"this is for the machine the server runs on, under a name like localhost; {_HOW}")

    def _check_token(self, values: list[str]) -> None:
        assert self._token is not None, "check() has seen to it"
        scheme, _, given = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        # Compared first: how long it takes tells nothing of the token.
        is_same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if not is_same or scheme.lower() != "bearer":
            raise InspectionRefused("this needs the server's --inspect-token, as 'Authorization: Bearer <token>'")


def is_loopback(address: str) -> bool:
    """Tell whether an IP address is of this machine alone."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def is_local_name(hosts: list[str]) -> bool:
    """Tell whether the Host of a request, there is to be one, names this machine."""
    if len(hosts) != 1:
        return False
    try:
        parts = urlsplit(f"//{hosts[0]}")
        name, _ = parts.hostname or "", parts.port  # a port that is none is a ValueError
    except ValueError:
        return False
    return parts.netloc == hosts[0] and "@" not in parts.netloc and (name == "localhost" or is_loopback(name))
