"""Publications: messages on their way from Redis to the encoders.

A publication is a plain tuple, because one is made per message on the hot path, and kinds are plain numbers, of which
the usual one is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, cast

Kind: TypeAlias = int
"""The kind of a message, as far as it is known: one of the four that follow."""

GUESS: Final = 0
"""The kind of a payload of which nothing is known: is_text() decides."""

BINARY: Final = 1
"""The message was sent as binary."""

JOINED: Final = 2
"""The message is mux' own: a client has joined the channel."""

LEFT: Final = 3
"""The message is mux' own: a client has left the channel."""

Publication: TypeAlias = tuple[bytes, Kind, int]
"""(payload, kind, number). A payload that is not UTF-8 is binary, whatever its kind. The number counts all messages
that this process has received, of any channel, from 1."""

Matched: TypeAlias = tuple[bytes, Kind, int, bytes]
"""A publication for those who listen to a wildcard, with the Redis channel that it is of."""

Encoder: TypeAlias = Callable[[bytes, Sequence[Publication]], bytes]
"""Turns a Redis channel and its publications in one batch into the bytes that one kind of client reads. Where such
clients may listen to wildcards it is also called with a wildcard, and then every publication is Matched."""


def matched(publications: Sequence[Publication]) -> Sequence[Matched]:
    """Return publications for those who listen to a wildcard as what they are."""
    return cast("Sequence[Matched]", publications)


def is_text(payload: bytes) -> bool:
    """Tell whether a payload is valid UTF-8 (RFC 3629: no surrogates, nothing over U+10FFFF)."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
