"""What Redis says of itself when a connection begins, and what it means for us."""

from __future__ import annotations

from mux.broker.address import Address
from mux.errors import BrokerBusy, BrokerRefused
from mux.wire.resp import Reply


def reaches_all_subscribers(hello: Reply) -> bool:
    """Tell from a reply to HELLO whether every subscriber gets what is published on this server.

    A replica gives it to its own subscribers alone; in a cluster every node passes it on to all others.
    """
    return isinstance(hello, dict) and (hello.get(b"role") == b"master" or is_cluster(hello))


def check_hello(hello: Reply, address: Address) -> None:
    """See from a reply to HELLO that a server is of use.

    Raises:
        BrokerRefused: it is not, and it is for the operator to name another.
        BrokerBusy: sentinels named it, so they will soon name another.
    """
    if not isinstance(hello, dict) or hello.get(b"proto") != 3:
        raise BrokerRefused(f"Redis at {address} does not speak RESP3; mux needs Redis 6 or later, or Valkey")
    if hello.get(b"mode") == b"sentinel":
        raise BrokerRefused(
            f"Redis at {address} is a sentinel; name it as redis+sentinel:// with the name of the master behind it"
        )
    if reaches_all_subscribers(hello):
        return
    role = "a replica" if hello.get(b"role") in (b"replica", b"slave") else "no master"
    sentence = f"Redis at {address} is {role}: what is published there reaches nobody"
    if address.named_as:
        raise BrokerBusy(f"{sentence}; the sentinels have not agreed on a new master yet")
    raise BrokerRefused(f"{sentence}; name the master")


def is_cluster(hello: Reply) -> bool:
    """Tell from a reply to HELLO whether others publish on other nodes of a cluster."""
    return isinstance(hello, dict) and hello.get(b"mode") == b"cluster"


def connection_id(hello: Reply) -> int:
    """Read from a reply to HELLO what the server calls the connection; 0 if it does not say."""
    found = hello.get(b"id") if isinstance(hello, dict) else None
    return found if isinstance(found, int) else 0
