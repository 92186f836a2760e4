"""What a browser is told about who may read an answer (the Fetch standard, section 3.2).

A page of another host may send a request, and its browser keeps the answer from it unless the answer says that
this page may see it. Who may connect (wire.origin) may see, so both follow from the same list.

Cookies and the like go along only where an origin is listed by its name: `*` says that anybody may read what
everybody may read, and `null` is the name of every page that hides its own.
"""

from __future__ import annotations

from mux.errors import Refused
from mux.wire.http.origin import NULL, OriginPolicy

VARY = {"Vary": "Origin"}
"""Said with every answer, or a cache would give one page the answer to another (Fetch standard, section 3.2.5)."""

PREFLIGHT_SECONDS = 7200
"""How long a browser need not ask again: the most Chromium keeps it. Every request is looked at all the same."""


def preflight(*, publishes: bool) -> dict[str, str]:
    """Return what may be sent to a feed, to anybody and to pages.

    An event stream is a GET, for which clients send Cache-Control and Last-Event-ID; a POST may have any type of
    content; Authorization is for whatever an app looks at before the feed.

    Args:
        publishes: whether a POST publishes.
    """
    return {
        "Allow": "GET, HEAD, OPTIONS, POST" if publishes else "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Methods": "GET, POST" if publishes else "GET",
        "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, Last-Event-ID",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }


def sharing(policy: OriginPolicy, origin: str | None, host: str) -> dict[str, str]:
    """Return the headers that let the page of a request read the answer, or keep it from doing so.

    Args:
        policy: who may.
        origin: the value of the request's Origin header, None if it has none.
        host: the value of its Host header.
    """
    if origin is None:
        return VARY
    try:
        policy.check(origin, host)
    except Refused:
        return VARY
    if policy.names(origin):
        credentials = {} if origin == NULL else {"Access-Control-Allow-Credentials": "true"}
        return {"Access-Control-Allow-Origin": origin, **credentials, **VARY}
    return {"Access-Control-Allow-Origin": "*" if policy.is_open else origin, **VARY}
