"""Which addresses count as one client's.

A host on IPv6 has a /64 to itself and picks any address in it as it likes (RFC 4291, section 2.5.4; RFC 8981), so all
of a /64 count as one. An IPv4 address that is written as IPv6 is the IPv4 address.

An address may come from a header that a proxy wrote, with a port, in brackets, or as no address at all. All that
cannot be read count as one, or any bound could be passed by writing nonsense.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

UNREADABLE = "unreadable"
"""What every address counts as that is none."""

PREFIX_BITS = 64

_TRANSLATED = ip_network("64:ff9b::/96")
"""Where a translator puts the IPv4 address of a client of an IPv6 server (RFC 6052, section 2.1)."""


def counted_as(address: str) -> str:
    """Return what an address is counted by; nothing for none, as on a unix socket."""
    text = address.strip()
    if not text:
        return ""
    if text.startswith("["):  # [2001:db8::1]:4711
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:4711
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])  # without the zone, which only means something here
    except ValueError:
        return UNREADABLE
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        if found in _TRANSLATED:
            return str(IPv4Address(int(found) & 0xFFFFFFFF))
        return str(ip_network((int(found), PREFIX_BITS), strict=False))
    return str(found)
