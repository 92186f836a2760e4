"""The fields of answers: which pages may read them (the Fetch standard, section 3.2), and whole refusals.

A page of another host may send a request, and its browser keeps the answer from it unless the answer says that this
page may read it. Pages that may connect (wire.http.origin) may read, so both follow from the same list.

Cookies and the like go along only where an origin is listed by its name: `*` lets anybody read what everybody may read,
and `null` is the name of every page that hides its own.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from mux.errors import Refused
from mux.wire.http.origin import NULL, OriginPolicy

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Tells a client that waits to send its body to do so (RFC 9110, section 15.2.1)."""

VARY = {"Vary": "Origin"}
"""Every answer has it, or a cache would give one page the answer to another (Fetch standard, section 3.2.5)."""

PREFLIGHT_SECONDS = 7200
"""A browser need not ask again for so long, the most that Chromium keeps. Every request is checked all the same."""


def preflight(*, publishes: bool) -> dict[str, str]:
    """Return the fields that say which requests a page may send to a feed; with POST, if it publishes.

    Clients of event streams send Cache-Control and Last-Event-ID, and Authorization is for the app's own checks.
    """
    return {
        "Allow": "GET, HEAD, OPTIONS, POST" if publishes else "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Methods": "GET, POST" if publishes else "GET",
        "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, Last-Event-ID",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }


def sharing(policy: OriginPolicy, origin: str | None, host: str) -> dict[str, str]:
    """Return the fields that let the page of a request, if it may connect, read the answer.

    Args:
        policy: decides which pages may.
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


def refusal(error: Refused, fields: Mapping[str, str], *, is_bare: bool) -> bytes:
    """Return a whole answer that refuses a request and ends the connection; its body is the message of the error.

    Args:
        error: the reason.
        fields: sent beside those of every refusal.
        is_bare: leaves the body out, as for a HEAD.
    """
    status, body = HTTPStatus(error.reason.status), f"{error}\n".encode() if str(error) else b""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in {**fields, **error.reason.fields}.items()]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD, OPTIONS, POST")
    lines += [
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + (b"" if is_bare else body)
