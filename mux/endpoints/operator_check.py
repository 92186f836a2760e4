"""Decide whether a request may see the numbers of the fleet and the names of its channels.

The token lets a request pass. Nothing else about a request tells where it is from: the address is that of a proxy,
headers that name a client are missing behind many, and their absence would open what is to be shut.

The operator's own listener wants no token where nobody but this machine reaches it, by a loopback address or a unix
socket. There a page of another site may still make a browser ask under the name of that site (DNS rebinding), so the
Host has to be a name of this machine.

Pure: values in, a decision out.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from mux import reasons
from mux.errors import Refused
from mux.wire.http.host import is_loopback

HOW = "send it as 'Authorization: Bearer <token>'"


class TokenCheck:
    """Lets requests with the token pass.

    Args:
        token: None lets nobody pass.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def check(self, *, authorization: Sequence[str], hosts: Sequence[str]) -> None:
        """Decide about a request by the values of its Authorization header; of its Host nothing is asked.

        Raises:
            Refused: it may not pass; the message says what to do.
        """
        if self._token is None:
            raise Refused(reasons.INSPECTION, f"this needs a token, and none is set: set inspect_token, and {HOW}")
        scheme, _, given = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        # Compared first: how long it takes tells nothing of the token.
        is_same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if not is_same or scheme.lower() != "bearer":
            raise Refused(
                reasons.INSPECTION, f"this needs the server's token (mux prints it, or --inspect-token sets it): {HOW}"
            )


class LocalHostCheck:
    """Lets requests pass that came by a listener which this machine alone can reach.

    Args:
        is_unix: it is a unix socket, which no browser opens.
    """

    def __init__(self, *, is_unix: bool) -> None:
        self._is_unix = is_unix

    def check(self, *, authorization: Sequence[str], hosts: Sequence[str]) -> None:
        """Decide about a request by the values of its Host header; a token is not asked for.

        Raises:
            Refused: the Host is no name of this machine.
        """
        if not self._is_unix and not is_local_name(hosts):
            raise Refused(reasons.INSPECTION, "this is for the machine the server runs on, under a name like localhost")


OperatorCheck: TypeAlias = TokenCheck | LocalHostCheck


def is_local_name(hosts: Sequence[str]) -> bool:
    """Tell whether the Host of a request, of which there is to be one, names this machine."""
    if len(hosts) != 1:
        return False
    try:
        parts = urlsplit(f"//{hosts[0]}")
        name, _ = parts.hostname or "", parts.port  # a port that is none is a ValueError
    except ValueError:
        return False
    return parts.netloc == hosts[0] and "@" not in parts.netloc and (name == "localhost" or is_loopback(name))
