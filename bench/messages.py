"""The one message every suite sends, as each wire carries it.

128 bytes of ASCII: about a small JSON event. It is long enough for the two-byte length of a WebSocket
frame (RFC 6455, section 5.2), which starts at 126, and short enough that copying it costs little beside
the system call that sends it.
"""

from __future__ import annotations

PREFIX = b"feed:"
"""The default prefix of mux; the baselines use the same Redis channels."""

PATTERN = b"feed:*"

PAYLOAD_BYTES = 128

PAYLOAD = b"x" * PAYLOAD_BYTES

FRAME = b"\x81\x7e" + PAYLOAD_BYTES.to_bytes(2) + PAYLOAD
"""As a server sends it: one text frame, not masked."""

_MASK = b"\x37\xfa\x21\x3d"  # the example of RFC 6455, section 5.7


def masked(payload: bytes) -> bytes:
    """Return the text frame a client sends; payload is below 64 KiB."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2)
    return head + _MASK + bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(payload))


MASKED_FRAME = masked(PAYLOAD)
"""As a client sends it."""


def push(redis_channel: bytes, *, protocol: int, payload: bytes = PAYLOAD) -> bytes:
    """Return what Redis sends to a connection with PSUBSCRIBE: an array in RESP2, a push in RESP3."""
    words = (b"pmessage", PATTERN, redis_channel, payload)
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"%b4\r\n%b" % (b">" if protocol == 3 else b"*", bulks)
