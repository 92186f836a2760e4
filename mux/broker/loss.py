"""Why a connection to Redis ended, for counters and for people."""

from __future__ import annotations

import os
from typing import NamedTuple


class Loss(NamedTuple):
    """Why a connection ended."""

    cause: str
    """One word: closed, error, garbled, deaf, demoted, or shut when we ended it."""
    reason: str
    """The same as half a sentence."""


def reason_of(error: BaseException) -> str:
    """Return what went wrong as half a sentence, without the address."""
    # asyncio puts the address into the text; the caller names it already.
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
