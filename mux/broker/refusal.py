"""What Redis' refusals and silences mean, and what the operator can do about each.

A server that does not know a command quotes it in its answer, and HELLO has the password in it. So of an answer to
a HELLO with credentials nothing is repeated but a code that is known. Which command it was is told by us.
"""

from __future__ import annotations

from mux.broker.address import Address
from mux.broker.loss import Loss
from mux.errors import BrokerBusy, BrokerError, BrokerRefused

UNREACHED = "was not reached in {seconds:g} s"
SILENT_IN_TLS = "did not complete the TLS handshake in {seconds:g} s; does it speak TLS?"
SILENT = "did not answer in {seconds:g} s"
DEAF = "took a message and did not deliver it to us in {seconds:g} s; is a proxy between that does not pass pub/sub?"
"""These are for when the time is over, by what was waited for; each continues "Redis at <address>"."""

_MAY_BE_NAMED = frozenset(
    ("BUSY", "CLUSTERDOWN", "DENIED", "ERR", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOPERM", "NOPROTO")
) | frozenset(("NOREPLICAS", "OOM", "TRYAGAIN", "UNBLOCKED", "WRONGPASS"))
"""Codes of Redis' own, which are no part of anybody's password."""


def hello_refused(error: BrokerRefused, address: Address) -> BrokerError:
    """Say what to do about an error reply to HELLO."""
    said = _repeat(error, may_quote=address.password is not None)
    if error.is_temporary:
        return BrokerBusy(f"Redis at {address} takes no clients now{said}")
    # Before the codes: a server that does not know HELLO may quote AUTH.
    if error.code == "NOPROTO" or "unknown command" in str(error).lower():
        return BrokerRefused(f"Redis at {address} does not speak RESP3{said}; mux needs Redis 6 or later, or Valkey")
    if error.code == "NOAUTH":
        return BrokerRefused(f"Redis at {address} refused the credentials{said}: it wants a password in its URL")
    if error.code == "WRONGPASS":
        return BrokerRefused(
            f"Redis at {address} refused the credentials{said}; check the user and password in its URL"
        )
    if error.code == "NOPERM":
        return BrokerRefused(f"Redis at {address} does not let this user say HELLO{said}; give the user +hello +auth")
    if error.code == "DENIED":
        return BrokerRefused(
            f"Redis at {address} takes clients of its own machine alone (protected mode); set a password there"
        )
    return BrokerRefused(f"Redis at {address} refused HELLO{said}")


def command_refused(command: str, error: BrokerRefused, address: Address, pattern: bytes) -> BrokerError:
    """Say what to do about an error reply to a command without credentials: PSUBSCRIBE or PUBLISH."""
    if error.is_temporary:
        return BrokerBusy(f"Redis at {address} does not take {command} now ({error})")
    sentence = f"Redis at {address} refused {command} ({error})"
    words = str(error).lower()
    if "unknown command" in words:
        return BrokerRefused(f"{sentence}; is it renamed or disabled there, or is there a proxy that lacks it?")
    if error.code != "NOPERM":
        return BrokerRefused(sentence)
    if "channel" in words and "permissions to run" not in words:
        return BrokerRefused(f"{sentence}; give the user the channels &{pattern.decode(errors='replace')}")
    return BrokerRefused(f"{sentence}; give the user +{command.lower()}")


def closed_too_soon(loss: Loss, address: Address) -> str:
    """Say that a connection was lost before we were subscribed."""
    hint = ""
    if loss.cause in ("closed", "error") and not address.path:
        # Both ends of TLS mostly drop a connection without a word when they miss something.
        hint = "if it speaks TLS, name it as rediss://"
        if address.tls:
            hint = "it may want a certificate of ours (ssl_certfile, ssl_keyfile)"
    sentence = f"the connection to Redis at {address} was lost before it was of use: {loss.reason}"
    return f"{sentence}; {hint}" if hint and "certificate" not in loss.reason else sentence


def _repeat(error: BrokerRefused, *, may_quote: bool) -> str:
    if not may_quote:
        return f" ({error})"
    return f" ({error.code})" if error.code in _MAY_BE_NAMED else ""
