"""What travels from Redis to the encoders.

A publication is a plain pair, because one is made per message on the hot path. A later position in a
channel's history would be a third item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

Publication: TypeAlias = tuple[bytes, bool]
"""(payload, known to be binary). Where the second is False, is_text() decides."""

Encoder: TypeAlias = Callable[[Sequence[Publication]], bytes]
"""Turns the publications of one channel in one batch into the bytes one kind of client reads."""


def is_text(payload: bytes) -> bool:
    """Tell whether a payload is valid UTF-8 (RFC 3629: no surrogates, nothing over U+10FFFF)."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
