"""Publications to WebSocket frames.

A server's frames are not masked (RFC 6455, section 5.1), so a batch is encoded once, and the very same bytes object is
written to every subscriber. Every message is one frame. Where compression was agreed on, no message refers to the one
before it (RFC 7692, section 7.1.1), so compressed frames are the same for all subscribers as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from mux.wire.deflate import AT_ONCE_BYTES, END, WINDOW_BITS, deflated
from mux.wire.publication import BINARY, Encoder, Publication, is_text
from mux.wire.websocket.message import COMPRESSED

MIN_WINDOW_BITS = 9
"""Smallest window of a client that frames are compressed for, in bits: zlib has no smaller one."""

MAX_WINDOW_BITS = 15
"""Largest window there is, in bits (RFC 7692, section 7.1.2)."""

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


def text_frame(payload: bytes) -> bytes:
    """Return a text frame; its payload is UTF-8."""
    size = len(payload)
    return (_TEXT_HEADERS[size] if size < 126 else _long_header(_FIN_TEXT, size)) + payload


def close_frame(code: int, sentence: str) -> bytes:
    """Return a close frame; a sentence has at most 123 bytes in UTF-8 (RFC 6455, section 5.5)."""
    payload = code.to_bytes(2) + sentence.encode()
    assert len(payload) < len(_TEXT_HEADERS), "a sentence of ours is short"
    return b"\x88%c%b" % (len(payload), payload)


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


class Compressor:
    """Compresses frames for clients that have agreed on it: each frame by itself, where that makes it smaller.

    Args:
        min_bytes: a smaller message is not compressed.
        window_bits: how far back in a message its clients can refer, as a power of 2.
    """

    def __init__(self, min_bytes: int, window_bits: int) -> None:
        self._min_bytes = min_bytes
        self._window_bits = window_bits
        self._frames = self._compressed = b""

    def compress(self, frames: bytes) -> bytes:
        """Return whole frames of text or binary with AT_ONCE_BYTES of them compressed at most.

        The same object comes of the same object, when clients with encoders of their own ask one after the other.
        """
        if frames is not self._frames:
            self._compressed = self._compress(frames)
            self._frames = frames
        return self._compressed

    def encoder(self, encode: Encoder) -> Encoder:
        """Return an encoder of the frames of another, compressed."""
        return lambda channel, publications: self.compress(encode(channel, publications))

    def _compress(self, frames: bytes) -> bytes:
        parts: list[bytes] = []
        at, left = 0, AT_ONCE_BYTES
        while at < len(frames):
            size, start = frames[at + 1], at + 2
            if size > 125:
                start = at + (4 if size == 126 else 10)
                size = int.from_bytes(frames[at + 2 : start])
            stop = start + size
            if self._min_bytes <= size <= left:
                left -= size
                smaller = deflated(frames[start:stop], self._window_bits).removesuffix(END)
                if len(smaller) < size:
                    parts += (_header(frames[at] | COMPRESSED, len(smaller)), smaller)
                    at = stop
                    continue
            parts.append(frames[at:stop])
            at = stop
        return b"".join(parts)


def compressors(min_bytes: int) -> dict[int, Compressor]:
    """Return compressors by the window that was agreed on, in bits."""
    own = {bits: Compressor(min_bytes, bits) for bits in range(MIN_WINDOW_BITS, WINDOW_BITS + 1)}
    return own | dict.fromkeys(range(WINDOW_BITS, MAX_WINDOW_BITS + 1), own[WINDOW_BITS])


def _header(first_byte: int, size: int) -> bytes:
    return bytes((first_byte, size)) if size < 126 else _long_header(first_byte, size)
