"""What travels from Redis to the encoders.

A publication is a plain tuple, because one is made per message on the hot path, and kinds are plain numbers, of which
the usual one is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Kind: TypeAlias = int
"""A kind says what is known of a message beside its payload: one of the four that follow."""

GUESS: Final = 0
"""Nothing is known: is_text() decides."""

BINARY: Final = 1
"""It was sent as binary."""

JOINED: Final = 2
"""It is mux' own: a client has joined the channel."""

LEFT: Final = 3
"""It is mux' own: a client has left the channel."""

Publication: TypeAlias = tuple[bytes, Kind, int]
"""(payload, kind, number). A payload that is not text is binary, whatever kind is said with it. The number is the
place of the publication among all messages that this process has heard, of whatever channel, and counts from 1."""

Encoder: TypeAlias = Callable[[bytes, Sequence[Publication]], bytes]
"""Turns a Redis channel and its publications in one batch into the bytes that one kind of client reads."""


def is_text(payload: bytes) -> bool:
    """Tell whether a payload is valid UTF-8 (RFC 3629: no surrogates, nothing over U+10FFFF)."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
