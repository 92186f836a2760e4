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

SIGNED: Final = 4
"""The kind of a message that says who has published it, as it travels; opened() makes a GUESS of it."""

_BEFORE_INFO = b"\0"
"""The byte between a message and what it says of a client: that is JSON, which has no such byte."""


class Signed(bytes):
    """A payload that says of which client it is: of its publisher, or of the one that has joined or left."""

    info: bytes
    """The client, as JSON in the shape of the SDKs; anybody may have published anything here."""


def signed(payload: bytes, info: bytes) -> bytes:
    """Return a payload with the client that it is of, as it travels."""
    return payload + _BEFORE_INFO + info


def opened(payload: bytes, mark: int) -> tuple[bytes, Kind]:
    """Return the payload of a message whose Redis channel has a mark, and its kind."""
    kind = BINARY + mark
    if kind == BINARY or _BEFORE_INFO not in payload:
        return payload, GUESS if kind == SIGNED else kind
    said, _, info = payload.rpartition(_BEFORE_INFO)
    found = Signed(said)
    found.info = info
    return found, GUESS if kind == SIGNED else kind


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
