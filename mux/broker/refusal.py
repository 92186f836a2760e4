"""Say what Redis' first answers and its silences mean, and what the operator can do about each.

A server that does not know a command quotes it in its answer, and HELLO has the password in it. So of an answer to a
HELLO with credentials nothing is repeated but a code that is known.
"""

from __future__ import annotations

from mux.broker.address import Address
from mux.broker.loss import Loss
from mux.errors import BrokerBusy, BrokerError, BrokerRefused
from mux.wire.resp import Reply

UNREACHED = "was not reached in {seconds:g} s"
SILENT_IN_TLS = "did not complete the TLS handshake in {seconds:g} s; does it speak TLS?"
SILENT = "did not answer in {seconds:g} s"
DEAF = "took a message and did not deliver it to us in {seconds:g} s; is a proxy between that does not pass pub/sub?"
"""UNREACHED, SILENT_IN_TLS, SILENT and DEAF continue "Redis at <address>" when connect_seconds are over."""

_MAY_BE_NAMED = frozenset(
    ("BUSY", "CLUSTERDOWN", "DENIED", "ERR", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOPERM", "NOPROTO")
) | frozenset(("NOREPLICAS", "OOM", "TRYAGAIN", "UNBLOCKED", "WRONGPASS"))
"""Codes of Redis' own, which are no part of anybody's password."""

_NO_RESP3 = "does not speak RESP3{said}; mux needs Redis 6 or later, or Valkey"

_HELLO_REFUSED = {
    "NOPROTO": _NO_RESP3,
    "NOAUTH": "refused the credentials{said}: it wants a password in its URL",
    "WRONGPASS": "refused the credentials{said}; check the user and password in its URL",
    "NOPERM": "does not let this user say HELLO{said}; give the user +hello +auth",
    "DENIED": "takes clients of its own machine alone (protected mode); set a password there",
}
"""Continue "Redis at <address>" for an error reply to HELLO, by its code."""


def reaches_all_subscribers(hello: Reply) -> bool:
    """Tell from a reply to HELLO whether every subscriber gets what is published on this server.

    A replica gives it to its own subscribers alone; in a cluster every node passes it on to all others.
    """
    return isinstance(hello, dict) and (hello.get(b"role") == b"master" or is_cluster(hello))


def is_cluster(hello: Reply) -> bool:
    """Tell from a reply to HELLO whether others publish on other nodes of a cluster."""
    return isinstance(hello, dict) and hello.get(b"mode") == b"cluster"


def connection_id(hello: Reply) -> int:
    """Read from a reply to HELLO what the server calls the connection; 0 if it does not say."""
    found = hello.get(b"id") if isinstance(hello, dict) else None
    return found if isinstance(found, int) else 0


def check_hello(hello: Reply, address: Address) -> None:
    """See from a reply to HELLO, which may be an error, that a server is of use.

    Raises:
        BrokerRefused: it is not, and it is for the operator to name another.
        BrokerBusy: it is not now.
    """
    if isinstance(hello, BrokerRefused):
        raise hello_refused(hello, address)
    if not isinstance(hello, dict) or hello.get(b"proto") != 3:
        raise BrokerRefused(f"Redis at {address} {_NO_RESP3.format(said='')}")
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


def hello_refused(error: BrokerRefused, address: Address) -> BrokerError:
    """Say what to do about an error reply to HELLO."""
    said = f" ({error})"
    if address.password is not None:
        said = f" ({error.code})" if error.code in _MAY_BE_NAMED else ""
    if error.is_temporary:
        return BrokerBusy(f"Redis at {address} takes no clients now{said}")
    # Before the codes: a server that does not know HELLO may quote AUTH.
    is_unknown = "unknown command" in str(error).lower()
    advice = _NO_RESP3 if is_unknown else _HELLO_REFUSED.get(error.code, "refused HELLO{said}")
    return BrokerRefused(f"Redis at {address} {advice.format(said=said)}")


def command_refused(command: str, error: BrokerRefused, address: Address, pattern: bytes) -> BrokerError:
    """Say what to do about an error reply to a command without credentials: PSUBSCRIBE or PUBLISH."""
    if error.is_temporary:
        return BrokerBusy(f"Redis at {address} does not take {command} now ({error})")
    words = str(error).lower()
    advice = ""
    if "unknown command" in words:
        advice = "; is it renamed or disabled there, or is there a proxy that lacks it?"
    elif error.code == "NOPERM" and "channel" in words and "permissions to run" not in words:
        advice = f"; give the user the channels &{pattern.decode(errors='replace')}"
    elif error.code == "NOPERM":
        advice = f"; give the user +{command.lower()}"
    return BrokerRefused(f"Redis at {address} refused {command} ({error}){advice}")


def closed_too_soon(loss: Loss, address: Address) -> str:
    """Say that a connection was lost before we were subscribed."""
    sentence = f"the connection to Redis at {address} was lost before it was of use: {loss.reason}"
    if loss.cause not in ("closed", "error") or address.path or "certificate" in loss.reason:
        return sentence
    # Both ends of TLS mostly drop a connection without a word when they miss something.
    if address.tls:
        return f"{sentence}; it may want a certificate of ours (ssl_certfile, ssl_keyfile)"
    return f"{sentence}; if it speaks TLS, name it as rediss://"
