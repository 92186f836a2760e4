"""The headers and the token that a command sends to be let in, and the certificates that it trusts.

All of it may be secret, so no sentence about a mistake repeats it; of a header at most the name is told, and only a
name that is known here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

from mux.errors import InvalidSetting

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~]*)")  # RFC 9110, sections 5.1 and 5.5

_OWN = frozenset(("connection", "content-length", "host", "transfer-encoding", "upgrade"))
_OWN_OF_WEBSOCKETS = "sec-websocket-"


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials that a user gave, for every request."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    trusted: ssl.SSLContext | None = None
    """The authorities that may vouch for the server; None is those of the machine."""


NONE = Access()


def parse_access(headers: Iterable[str] = (), *, ca: str | None = None, token: str | None = None) -> Access:
    """Return the access that the options of a command describe.

    Args:
        headers: as `Name: value`; one named Authorization takes the place of the token.
        ca: a file with the PEM certificates that are trusted instead of the machine's.
        token: is sent as a bearer token (RFC 6750, section 2.1).

    Raises:
        InvalidSetting: one of them cannot be used.
    """
    given: dict[str, str] = {}
    for header in headers:
        parts = _HEADER.fullmatch(header)
        if parts is None:
            raise InvalidSetting("a --header must look like 'Name: value', in printable ASCII")
        name, value = parts.groups()
        lower = name.lower()
        if lower in _OWN or lower.startswith(_OWN_OF_WEBSOCKETS):
            raise InvalidSetting(f"the header {lower} is the command's own; it cannot be given with --header")
        if lower in map(str.lower, given):
            raise InvalidSetting("a --header is given twice; join its values with a comma")
        given[name] = value.rstrip(" \t")
    return Access(bearer(token) | given if not authorizes(given) else given, None if ca is None else _trust(ca))


def bearer(token: str | None) -> dict[str, str]:
    """Return the header of a token, none without one.

    Raises:
        InvalidSetting: the token cannot be in a header.
    """
    if not token:
        return {}
    if not (token.isascii() and token.isprintable()):
        raise InvalidSetting("the token must be printable ASCII")
    return {"Authorization": f"Bearer {token}"}


def authorizes(headers: Iterable[str]) -> bool:
    """Tell whether one of these headers is an Authorization."""
    return "authorization" in map(str.lower, headers)


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:  # an OSError as well, whose number is not the system's
        raise InvalidSetting(f"the file {ca!a} of --ca has no certificates in PEM") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidSetting(f"the file {ca!a} of --ca cannot be read: {reason}") from error
