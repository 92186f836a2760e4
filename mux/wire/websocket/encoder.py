"""Publications to WebSocket frames.

A server's frames are not masked (RFC 6455, section 5.1), so a batch is encoded once, and the very same bytes object is
written to every subscriber. Every message is one frame, and never compressed, for that has a state per connection.
"""

from __future__ import annotations

from collections.abc import Sequence

from mux.wire.publication import BINARY, Publication, is_text

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82

PING = b"\x89\x00"
"""An empty ping (RFC 6455, section 5.5.2); any bytes answer it."""

_TEXT_HEADERS = tuple(bytes((_FIN_TEXT, size)) for size in range(126))
_BINARY_HEADERS = tuple(bytes((_FIN_BINARY, size)) for size in range(126))


def _long_header(first_byte: int, size: int) -> bytes:
    # RFC 6455, section 5.2: 126 announces 16 bits of length, 127 announces 64.
    if size < 0x10000:
        return b"%c\x7e%b" % (first_byte, size.to_bytes(2))
    return b"%c\x7f%b" % (first_byte, size.to_bytes(8))


def encode(channel: bytes, publications: Sequence[Publication]) -> bytes:
    """Return the frames of a batch, in order, as one buffer.

    A publication known to be binary becomes a binary frame, and so does one that is not valid UTF-8;
    everything else becomes a text frame, announcements too. A client of the feed has one channel, so no frame names it.
    """
    parts: list[bytes] = []
    append = parts.append
    for payload, kind, _ in publications:
        size = len(payload)
        if (kind and kind == BINARY) or not (payload.isascii() or is_text(payload)):
            append(_BINARY_HEADERS[size] if size < 126 else _long_header(_FIN_BINARY, size))
        else:
            append(_TEXT_HEADERS[size] if size < 126 else _long_header(_FIN_TEXT, size))
        append(payload)
    return b"".join(parts)
