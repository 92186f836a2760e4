"""What a browser is told about who may read an answer (the Fetch standard, section 3.2).

A page of another host may send a request, and its browser keeps the answer from it unless the answer says that
this page may see it. Who may connect (wire.origin) may see, so both follow from the same list.

Cookies and the like go along only where an origin is listed by its name: `*` says that anybody may read what
everybody may read.
"""

from __future__ import annotations

from mux.errors import OriginRefused
from mux.wire.origin import OriginPolicy

VARY = {"Vary": "Origin"}
"""Said with every answer, or a cache would give one page the answer to another (Fetch standard, section 3.2.5)."""

PREFLIGHT_SECONDS = 7200
"""How long a browser need not ask again: the most Chromium keeps it. Every request is looked at all the same."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
}
"""What a page may send: an event stream is a GET, and a POST may have any type of content."""


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
    except OriginRefused:
        return VARY
    if policy.names(origin):
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", **VARY}
    return {"Access-Control-Allow-Origin": "*" if policy.is_open else origin, **VARY}
