"""Find the token of a request, wherever it may stand.

    Authorization: Bearer <token>                         programs, and pages that fetch
    Sec-WebSocket-Protocol: bearer, <token>               pages that open a WebSocket; `bearer` is what is chosen
    ?token=<token>                                        pages that open an EventSource
    Cookie: <name>=<token>                                pages, where the server names the cookie

1. A request has one token. With several, or with one that is repeated, it is refused.
2. A browser adds a cookie by itself, to requests of any page. So a cookie counts only when a page of this host, or one
   whose origin is listed by name, has sent the request; and only when the request has no token beside it.
3. A token leaves the query before anybody logs the URL: see hide_query_tokens().
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from sanic.request import Request

from mux import reasons
from mux.endpoints.takeover import Asking, set_url
from mux.errors import Refused

PARAMETER = "token"
"""The name of the query parameter that may hold a token."""

SUBPROTOCOL = "bearer"
"""A client of a WebSocket offers this subprotocol and, as the next one, its token."""

_SCHEME = "bearer"

# Expressions, for a field may be 32 KiB of commas, and to split that takes milliseconds.
_after_bearer = re.compile(rf"(?:^|,)[ \t]*{SUBPROTOCOL}[ \t]*,([^,]*)").findall


def token_of(request: Asking, cookie: str | None) -> str | None:
    """Return the token of a request as it was sent; None when there is none.

    Args:
        request: may have one.
        cookie: the name of a cookie that counts for this request; None when no cookie counts.

    Raises:
        Refused: it has several.
    """
    headers = request.headers
    found = [*_bearers(headers.getall("authorization", [])), *_offered(headers.getall("sec-websocket-protocol", []))]
    if not found and cookie is not None:
        found = list(_cookies(headers.getall("cookie", []), cookie))
    if len(found) > 1:
        raise Refused(reasons.UNAUTHORIZED, "a request has one token, in one place")
    return found[0] if found else None


def hide_query_tokens(request: Request) -> None:
    """Move what the query of a request has for a token into Authorization.

    Sanic and apps log URLs, of requests that fail with what failed.
    """
    hide_parameter(request, PARAMETER, "authorization", "Bearer ")


def hide_parameter(request: Request, parameter: str, field: str, before: str = "") -> None:
    """Move the values of a parameter of the query into a header field, with something before each."""
    if parameter not in unquote_plus(request.query_string):
        return
    kept = []
    for pair in request.query_string.split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) == parameter:
            text = unquote_plus(value)
            is_field = text.isascii() and text.isprintable()  # a line end would begin another where it is passed on
            request.headers.add(field, f"{before}{text if is_field else ''}")
        else:
            kept.append(pair)
    path, query = request.raw_url.partition(b"?")[0], "&".join(kept).encode()
    set_url(request, b"%b?%b" % (path, query) if query else path)


def _bearers(values: Iterable[str]) -> Iterable[str]:
    for value in values:
        scheme, _, token = value.partition(" ")
        if scheme.lower() == _SCHEME:
            yield token.strip()


def _offered(values: Iterable[str]) -> Iterable[str]:
    return map(str.strip, _after_bearer(",".join(values)))


def _cookies(values: Iterable[str], name: str) -> Iterable[str]:
    found = re.findall(rf"(?:^|;)[ \t]*{re.escape(name)}[ \t]*=([^;]*)", ";".join(values))
    return map(str.strip, found)
