"""Decide who may connect, as far as it is a matter of how many there are.

Three bounds, each 0 for none and each for this process alone: clients, clients from one address, and descriptors. The
last counts plain HTTP connections as well, for they have a descriptor each: when accept(2) finds none, the event loop
spins and nobody is served, so the last few are never given away.

Pure: the caller tells how many there are.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Generic, TypeVar

from mux import reasons
from mux.errors import Refused

T = TypeVar("T")

HEADROOM_DESCRIPTORS = 64
"""Descriptors that no client gets: they are for Redis, logs, listening sockets, pipes, and connections that end."""

LAST_DESCRIPTORS = 32
"""Descriptors that are not even given to a connection that is only told that there is no room."""

REFUSED_PER_ADDRESS = 16
"""Most connections over its bound that an address may have at the same time, to be told so."""

UNREADABLE = "unreadable"
"""All addresses that cannot be read count as this one, or any bound could be passed by writing nonsense."""

PREFIX_BITS = 64
"""A host on IPv6 picks any address of so long a prefix as it likes (RFC 4291, section 2.5.4; RFC 8981)."""

_TRANSLATED = ip_network("64:ff9b::/96")
"""A translator puts the IPv4 address of a client of an IPv6 server here (RFC 6052, section 2.1)."""


def descriptors_for_clients(limit: int) -> int:
    """Return how many of a process's descriptors may be clients' (RLIMIT_NOFILE); at least one."""
    return max(1, limit - HEADROOM_DESCRIPTORS)


def counted_as(address: str) -> str:
    """Return what an address is counted by; nothing for none, as on a unix socket.

    All of a /64 count as one, and an IPv4 address written as IPv6 is the IPv4 address. A proxy may have written the
    address, with a port or in brackets.
    """
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


class Admission(Generic[T]):
    """Counts the clients of one process.

    Args:
        max_connections: clients at the same time; 0 for as many as there are descriptors.
        max_per_address: clients of this process from one address; 0 for any number.
        max_descriptors: clients and plain connections together; 0 for any number.
    """

    def __init__(self, *, max_connections: int = 0, max_per_address: int = 0, max_descriptors: int = 0) -> None:
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self.counts_addresses = max_per_address > 0
        """True when it matters where a client is from."""
        self._max_descriptors = max_descriptors
        self._from_address: Counter[str] = Counter()
        self._plain_from: Counter[str] = Counter()
        self._address_of: dict[T, str] = {}

    def has_descriptor(self, connections: int) -> bool:
        """Tell whether so many connections, clients and plain ones, are within the bound."""
        return not self._max_descriptors or connections <= self._max_descriptors

    def may_ask(self, connections: int) -> bool:
        """Tell whether so many connections leave a descriptor for one that will be turned away."""
        return self.has_descriptor(connections - (HEADROOM_DESCRIPTORS - LAST_DESCRIPTORS))

    def check(self, *, clients: int, plain: int, address: str) -> None:
        """Let one more client in or not.

        Args:
            clients: how many there are without it.
            plain: how many plain connections there are, its own included.
            address: where it is from; nothing when that is not known, and then it is not counted.

        Raises:
            Refused: there are as many as there may be, in all or from this address.
        """
        if self._max_connections and clients >= self._max_connections:
            raise Refused(reasons.CONNECTIONS, f"this server has all the {self._max_connections} clients it takes")
        if not self.has_descriptor(clients + plain):
            raise Refused(reasons.DESCRIPTORS, "this server has as many connections as it can")
        if self.counts_addresses:
            self.check_address(address)

    def check_address(self, address: str) -> None:
        """Let one connection of an address become a client, or have its answer, or not.

        Raises:
            Refused: there are as many from there without it.
        """
        counted = counted_as(address)
        # A plain connection that asks is among those from its address, where they are counted.
        plain = max(0, self._plain_from.get(counted, 0) - 1)
        if self._from_address.get(counted, 0) + plain >= self._max_per_address:
            raise Refused(
                reasons.ADDRESS,
                f"at most {self._max_per_address} clients may connect from one address to one process of this server",
            )

    def arrived(self, address: str) -> bool:
        """Count a plain connection; return whether it may stay to ask, if only to be refused."""
        counted = counted_as(address)
        self._plain_from[counted] += 1
        others = self._from_address.get(counted, 0) + self._plain_from[counted] - 1
        return others < self._max_per_address + REFUSED_PER_ADDRESS

    def departed(self, address: str) -> None:
        """Forget a plain connection that arrived(): it is gone, or is a client and counted as such."""
        _subtract(self._plain_from, counted_as(address))

    def entered(self, client: T, address: str) -> None:
        """Count a client that was let in."""
        if self.counts_addresses and (counted := counted_as(address)):
            self._address_of[client] = counted
            self._from_address[counted] += 1

    def left(self, client: T) -> None:
        """Forget a client; it may never have been counted."""
        address = self._address_of.pop(client, None)
        if address is not None:
            _subtract(self._from_address, address)


def _subtract(counts: Counter[str], counted: str) -> None:
    counts[counted] -= 1
    if not counts[counted]:
        del counts[counted]
