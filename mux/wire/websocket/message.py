"""One message of a WebSocket client: its fragments put together, and its text and its compression checked.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

import codecs
from typing import TypeAlias

from mux import reasons
from mux.errors import MessageTooLarge, Refused
from mux.wire.deflate import inflated
from mux.wire.publication import is_text

Message: TypeAlias = tuple[bytes, bool]
"""(payload, sent as binary)."""

MIN_FRAGMENTS = 64
"""A message may have this many fragments, whatever the limit on its size."""

BYTES_PER_FRAGMENT = 64
"""A message may have one fragment for this many bytes of the limit, if that is more than MIN_FRAGMENTS."""

COMPRESSED = 0x40
"""The bit in the first byte of a message that is compressed (RFC 7692, section 6)."""

_BINARY = 0x02

_new_text_decoder = codecs.getincrementaldecoder("utf-8")


class Fragments:
    """A message of which the last fragment has not come.

    Args:
        first: the first byte of its first frame.
        max_bytes: most bytes of a message.
    """

    __slots__ = ("_count", "_decoder", "_first", "_max_bytes", "buffer")

    def __init__(self, first: int, max_bytes: int) -> None:
        self.buffer = bytearray()
        self._first = first
        self._max_bytes = max_bytes
        self._count = 0
        self._decoder = None if first & (COMPRESSED | _BINARY) else _new_text_decoder()

    @property
    def is_compressed(self) -> bool:
        """True when what is put together is still to be inflated."""
        return bool(self._first & COMPRESSED)

    def add(self, payload: bytes, *, is_last: bool) -> None:
        """Add a fragment.

        Raises:
            Refused: it is no text, where text was begun.
            MessageTooLarge: it is one fragment too many.
        """
        if self._decoder is not None:
            try:
                self._decoder.decode(payload, is_last)
            except UnicodeDecodeError:
                raise no_text() from None
        self.buffer += payload
        self._count += 1
        if self._count > max(MIN_FRAGMENTS, self._max_bytes // BYTES_PER_FRAGMENT):
            raise MessageTooLarge("a message has too many fragments")

    def message(self) -> Message:
        """Return the message, of which all fragments have come.

        Raises:
            Refused: as inflated_message().
        """
        payload = bytes(self.buffer)
        if self.is_compressed:
            return inflated_message(self._first, payload, self._max_bytes)
        return payload, bool(self._first & _BINARY)


def inflated_message(first: int, payload: bytes, max_bytes: int) -> Message:
    """Return a compressed message, by the first byte of its first frame and what its frames had.

    Raises:
        MessageTooLarge: it has more than max_bytes.
        Refused: it is not compressed, or not text where text was begun.
    """
    message, is_binary = inflated(payload, max_bytes), bool(first & _BINARY)
    if not is_binary and not is_text(message):
        raise no_text()
    return message, is_binary


def no_text() -> Refused:
    """Return the error of a message that is not the text it says it is."""
    return Refused(reasons.TEXT, "text is UTF-8, and this is not")
