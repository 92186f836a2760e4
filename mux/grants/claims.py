"""Read what a token says to the connection of an SDK client, beside what it grants.

    sub          the user; nothing is for nobody in particular
    exp, nbf     the times between which it is taken
    expire_at    when what it is for ends, in the place of exp; 0 is never
    channels     channels that the server lets the client into by itself
    subs         the same, by name, with data for each
    channel      the channel whose subscription it is for; otherwise it is for a connection

Such a client asks for the next token when one ends. So times are taken as they are said, without the seconds to spare
that other clients have.

Pure: the time is given. The signature has been checked before (grants.authority).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import jwt
import orjson

MAX_NUMBER = 2.0**53
"""The greatest time that is taken, a Unix time in seconds."""


class OutOfTime(ValueError):
    """A token has ended, or has not begun."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one token.

    Attributes:
        subject: the user; empty for nobody in particular.
        channel: the channel whose subscription it is for; None when it is for a connection.
        ends: Unix time in seconds at which what it is for ends.
        subs: the JSON data for each channel that the client is let into, by name; empty where there is none.
    """

    subject: str = ""
    channel: str | None = None
    ends: float = inf
    subs: Mapping[str, bytes] = field(default_factory=dict)


def read_claims(token: str, now: float) -> Claims:
    """Return the claims of a token whose signature is right.

    Raises:
        OutOfTime: it has ended, or has not begun.
        ValueError: the claims are not of their types.
    """
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    ends = _time(claims, "exp", inf)
    if ends <= now or _time(claims, "nbf", 0.0) > now:
        raise OutOfTime
    ends = _time(claims, "expire_at", ends) or inf
    if ends <= now:
        raise OutOfTime
    subject, channel = claims.get("sub") or "", claims.get("channel")
    if not isinstance(subject, str) or not isinstance(channel, str | None):
        raise ValueError("sub and channel are texts")
    return Claims(subject, channel, ends, _subs(claims))


def _time(claims: Mapping[str, Any], name: str, absent: float) -> float:
    value = claims.get(name)
    if value is None:
        return absent
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{name} is a Unix time in seconds")
    return float(value)


def _subs(claims: Mapping[str, Any]) -> dict[str, bytes]:
    names, subs = claims.get("channels") or [], claims.get("subs") or {}
    if not isinstance(names, list) or not isinstance(subs, dict) or not all(isinstance(name, str) for name in names):
        raise ValueError("channels is a list of names, and subs an object")
    found = dict.fromkeys(names, b"")
    for name, options in subs.items():
        if not isinstance(options, dict):
            raise ValueError("what is said of a channel is an object")
        found[name] = b"" if options.get("data") is None else _json(options["data"])
    return found


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as error:  # half of a surrogate pair, or a number that is too large
        raise ValueError(f"data that is no JSON: {error}") from None
