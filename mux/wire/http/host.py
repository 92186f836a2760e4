"""Decide which names of hosts this server answers to.

A browser lets a page read the answers of the host it came from. A page of http://evil.example:8000 whose name is made
to point at 127.0.0.1 therefore reads a server on this machine, and its Origin equals its Host (DNS rebinding). The Host
of such a request is the name of the page, so it is checked:

1. With a list of allowed hosts the Host of every request has to be on it.
2. Without one, names are distrusted on connections to a loopback address, which such a page can reach. A name that
   nobody can register (localhost, one without a dot) and an IP address always pass. Any other name is refused with the
   very port of this server, which a browser names that comes straight here, while a proxy names its own port or none;
   and it is refused with an equal plain-http Origin, unless a proxy shows itself.

The headers by which a proxy shows itself are no proof: a script may send all of them but Via. So they count for
requests that come under another port, and under our own only Via and HTTP/1.0 do, which no browser sends.

Pure: values in, a decision out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from mux import reasons
from mux.errors import InvalidSetting, Refused

ANY = "*"
"""The entry of the list for any host."""

_SHOWN_BY_PROXIES = ("forwarded", "via", "x-forwarded-", "x-real-ip")
"""A proxy that shows itself adds a header that begins so (RFC 9110, section 7.6.3; RFC 7239)."""

_HTTP_PORT = 80

_USUAL_PORTS = (_HTTP_PORT, 443)

_NO_LIST = (
    "a page of another site may hide behind this host; if it is a name of this server, "
    "start it with --allowed-host (MUX_ALLOWED_HOST) and that name"
)
_NOT_LISTED = "this host is not served here; the server's --allowed-host lists which are"


class HostPolicy:
    """Decides on the Host of a request.

    Args:
        allowed: hosts as `example.com`, for any port, or `example.com:8000`; `*` is any; none is rule 2 above.

    Raises:
        InvalidSetting: one of them is not a host.
    """

    __slots__ = ("_allowed", "_any")

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._any = False
        self._allowed: set[tuple[str, int | None]] = set()
        for host in allowed:
            parts = _split(host)
            if host == ANY:
                self._any = True
            elif parts is not None:
                self._allowed.add(parts)
            else:
                raise InvalidSetting(f"the allowed host {host!r} is not a host or host:port")

    def passes_at_sight(self, hosts: Sequence[str]) -> bool:
        """Tell whether these values of Host pass however the request came; nearly all do."""
        return self._any or not (self._allowed or any(map(_may_be_a_page, hosts)))

    def check(
        self,
        hosts: Sequence[str],
        origins: Sequence[str],
        *,
        own: tuple[str, int] | None,
        version: str,
        names: Collection[str],
    ) -> None:
        """Let a request pass or not.

        Args:
            hosts: the values of its Host header.
            origins: the values of its Origin header.
            own: address and port of our end of its connection; None for one that has none, as a unix socket.
            version: its version of HTTP.
            names: the names of all its headers, in lower case.

        Raises:
            Refused: it came under a name that is not served.
        """
        if self.passes_at_sight(hosts):
            return
        if self._allowed:
            if len(hosts) != 1 or not self._lists(hosts[0]):
                raise Refused(reasons.HOST, _NOT_LISTED)
        elif own is not None and is_loopback(own[0]) and not (version == "1.0" or "via" in names):
            is_shown = any(name.startswith(_SHOWN_BY_PROXIES) for name in names)
            for host in filter(_may_be_a_page, hosts):
                is_straight = _port(host) == own[1] or (_port(host) is None and own[1] in _USUAL_PORTS)
                if is_straight or (not is_shown and any(_is_page_of(origin, host) for origin in origins)):
                    raise Refused(reasons.HOST, _NO_LIST)

    def _lists(self, host: str) -> bool:
        parts = _split(host)
        if parts is None:
            return False
        name, port = parts
        ports = (port,) if port is not None else _USUAL_PORTS
        return (name, None) in self._allowed or any((name, one) in self._allowed for one in ports)


def is_loopback(address: str) -> bool:
    """Tell whether an IP address is of this machine alone."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


@lru_cache(maxsize=64)  # nearly all requests have one of a few hosts
def _may_be_a_page(host: str) -> bool:
    """Tell whether a Host has a name that a stranger may have registered."""
    if host.startswith("["):
        return False  # an IPv6 address
    name = host.partition(":")[0].lower().removesuffix(".")
    last = name.rpartition(".")[2]
    # A name that ends in a number is an IPv4 address to a browser, as 127.1 is (the URL standard, section 3.5).
    return "." in name and last != "localhost" and not (last.isdigit() or last.startswith("0x"))


def _is_page_of(origin: str, host: str) -> bool:
    """Tell whether an Origin is that of a page which a host sent over plain http."""
    scheme, _, netloc = origin.partition("://")
    page, asked = _split(netloc), _split(host)
    if scheme.lower() != "http" or page is None or asked is None:
        return False
    return page[0] == asked[0] and (page[1] or _HTTP_PORT) == (asked[1] or _HTTP_PORT)


def _port(host: str) -> int | None:
    port = host.partition(":")[2]
    return int(port) if port.isascii() and port.isdigit() and len(port) <= len("65535") else None


def _split(host: str) -> tuple[str, int | None] | None:
    """Return name and port, in lower case; None if it is no host, which is ASCII (`xn--…`) to every client."""
    if not host.isascii():
        return None
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    is_plain = parts.netloc == host and not set("@*, \t").intersection(host)
    return (name.removesuffix("."), port) if name and is_plain else None
