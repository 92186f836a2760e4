"""Decide which browser pages may connect.

A browser sends cookies to any host that a page names, tells in Origin which page it was (RFC 6454, section 7), and does
not apply the same-origin policy to a WebSocket. So the server checks: a page of this very host may connect, a page of a
host on the list may, and a client without an Origin is no browser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from mux import reasons
from mux.errors import InvalidSetting, Refused

ANY = "*"
"""The entry of the list for any page of any host, and for `null`."""

NULL = "null"
"""The Origin of a page without one of its own: in a sandbox, of a `data:` URL, of a file in most browsers."""

# User information, and the signs of a pattern or a list.
_FORBIDDEN = frozenset("@*, \t")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")  # RFC 3986, section 3.1; an origin that passes is sent back

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_NO_HOST = ("", None)

_OTHER_SITES = frozenset(("cross-site", "same-site"))
"""`same-site` is another host or port of the same registered name, which is another origin as well."""


def _authority(scheme: str, netloc: str) -> tuple[str, int | None] | None:
    """Return host and port, lower-cased, the scheme's port filled in; None if it is no authority.

    Browsers say a name in ASCII (`xn--…`).
    """
    try:
        parts = urlsplit(f"//{netloc}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not netloc.isascii() or parts.netloc != netloc or not _FORBIDDEN.isdisjoint(netloc):
        return None
    return host, port if port is not None else _DEFAULT_PORTS.get(scheme)


def _split(origin: str) -> tuple[str, tuple[str, int | None]] | None:
    """Return scheme and authority; None if it is no origin.

    `null`, and the origins of schemes whose pages have no host, as `file://`, have an authority that no host has.
    """
    if origin == NULL:
        return NULL, _NO_HOST
    scheme, separator, netloc = origin.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        return None
    authority = _authority(scheme, netloc) if netloc or scheme in _DEFAULT_PORTS else _NO_HOST
    return None if authority is None else (scheme, authority)


class OriginPolicy:
    """Decides on the Origin of a request.

    Args:
        allowed: origins as `https://example.com`, `http://localhost:3000`, `file://` or `null`; `*` is any.

    Raises:
        InvalidSetting: one of them is not an origin.
    """

    __slots__ = ("_allowed", "_any")

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._any = False
        self._allowed: set[tuple[str, tuple[str, int | None]]] = set()
        for origin in allowed:
            parts = _split(origin)
            if origin == ANY:
                self._any = True
            elif parts is not None:
                self._allowed.add(parts)
            else:
                raise InvalidSetting(
                    f"the allowed origin {origin!r} is not scheme://host or scheme://host:port, nor null or file://"
                )

    @property
    def is_open(self) -> bool:
        """True when any page may connect."""
        return self._any

    def names(self, origin: str) -> bool:
        """Tell whether an origin is on the list itself."""
        return _split(origin) in self._allowed

    def may_use_cookies(self, origin: str, host: str) -> bool:
        """Tell whether a page of this origin may act with the cookies of its user: not any page may, nor `null`."""
        return origin != NULL and self._knows(origin, host)

    def _knows(self, origin: str, host: str) -> bool:
        """Tell whether an origin is that of this very host, or on the list itself."""
        parts = _split(origin)
        return parts is not None and (parts in self._allowed or parts[1] == _authority(parts[0], host))

    def check(self, origin: str | None, host: str) -> None:
        """Let a request pass or not.

        Args:
            origin: the value of its Origin header, None if it has none.
            host: the value of its Host header.

        Raises:
            Refused: it is from a page that may not connect.
        """
        if origin is None or self._any or self._knows(origin, host):
            return
        raise Refused(
            reasons.ORIGIN, "pages of this origin may not connect here; the server's --allowed-origin lists who may"
        )

    def check_site(self, sites: Iterable[str]) -> None:
        """Let a request that has no Origin join or not.

        A page can make a browser send one, as for an image, and the browser tells that it is of another site (Fetch
        Metadata, section 2.3). A request whose answer the page reads has its Origin.

        Args:
            sites: the values of its Sec-Fetch-Site header.

        Raises:
            Refused: it is from a page of another site.
        """
        if not self._any and any(site.strip().lower() in _OTHER_SITES for site in sites):
            raise Refused(reasons.ORIGIN, "a page of another site connects with its Origin, and this request has none")
