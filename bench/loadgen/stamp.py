"""The stamp of every message: its channel, its number in that channel, and the time at which it was due.

Sixteen characters of base64, so that a message of 16 bytes can carry them and every server under test,
whether it speaks text, JSON or MessagePack, passes them on as they are:

    channel (3 bytes) | sequence (3 bytes) | due (6 bytes: microseconds of the machine's monotonic clock)

The clock is the same for all processes of a machine, so a message may be stamped in one and read in another.
"""

from __future__ import annotations

import time
from binascii import a2b_base64, b2a_base64

import numpy as np
from numpy.typing import NDArray

STAMP_BYTES = 16
"""The smallest message there can be."""

MOST = 1 << 24
"""Most channels, and most messages of one channel, that a stamp can number."""

_RAW_BYTES = 12
_PLACES = np.array([1 << 16, 1 << 8, 1], dtype=np.int64)
_TIME_PLACES = np.array([1 << (8 * at) for at in range(5, -1, -1)], dtype=np.int64)


def channel_name(channel: int) -> str:
    """Return the name of a channel: all are equally long, and in capitals, for one peer makes capitals of them."""
    return f"CH-{channel:06d}"


def now_us() -> int:
    """Return the time in microseconds, on the clock of the stamps."""
    return time.monotonic_ns() // 1000


def message(channel: int, sequence: int, due_us: int, size: int) -> bytes:
    """Return a message of so many bytes.

    Raises:
        OverflowError: channel or sequence is not below MOST.
    """
    raw = channel.to_bytes(3) + sequence.to_bytes(3) + due_us.to_bytes(6)
    return b2a_base64(raw, newline=False).ljust(size, b"x")


def read(stamp: bytes) -> tuple[int, int, int]:
    """Return channel, sequence and due time.

    Raises:
        binascii.Error: it is no stamp.
        ValueError: likewise.
    """
    raw = a2b_base64(stamp)
    if len(raw) != _RAW_BYTES:
        raise ValueError(f"{stamp!r} is no stamp")
    return int.from_bytes(raw[:3]), int.from_bytes(raw[3:6]), int.from_bytes(raw[6:])


def read_many(stamps: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return channels, sequences and due times of stamps one after the other."""
    raw = np.frombuffer(a2b_base64(stamps), dtype=np.uint8).reshape(-1, _RAW_BYTES).astype(np.int64)
    return raw[:, :3] @ _PLACES, raw[:, 3:6] @ _PLACES, raw[:, 6:] @ _TIME_PLACES
