"""A body that comes in chunks (RFC 9112, section 7.1).

Extensions of chunks and trailers are checked for their form and dropped. A line ends in CRLF, nothing else, or two
readers of the same bytes would see two different bodies.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

import re

from mux import reasons
from mux.errors import MessageTooLarge, Refused

MAX_SIZE_LINE_BYTES = 1024
"""Most bytes of the line before a chunk, with its extensions, which are short where there are any."""

MAX_TRAILER_BYTES = 8 * 1024
"""Most bytes of all trailers of a body."""

CHUNKS_PER_TURN = 64
"""Most steps of a body that are taken at once, two for each chunk: tiny ones are as much work as large ones."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


class ChunkedReader:
    """Reads one body.

    Args:
        max_bytes: a larger body is refused.

    Attributes:
        body: the part of it that has come.
        is_complete: True when all of it has come.
        has_more: True when read() has stopped before the end of the buffer, for the sake of others.
    """

    __slots__ = ("_is_in_trailers", "_left", "_max_bytes", "_trailer_bytes", "body", "has_more", "is_complete")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = 0
        """Bytes of the chunk under way that have not come, the CRLF after it included."""
        self._is_in_trailers = False
        self._trailer_bytes = 0
        self.body = bytearray()
        self.is_complete = False
        self.has_more = False

    def read(self, buffer: bytearray) -> None:
        """Take the bytes of the body from the beginning of a buffer.

        Raises:
            Refused: it is malformed, or too large.
        """
        at, chunks = 0, 0
        while not self.is_complete and chunks < CHUNKS_PER_TURN:
            chunks += 1
            if self._left:
                step = self._data(buffer, at)
            elif self._is_in_trailers:
                step = self._trailer(buffer, at)
            else:
                step = self._size(buffer, at)
            if not step:
                break
            at += step
        del buffer[:at]
        self.has_more = chunks == CHUNKS_PER_TURN and not self.is_complete

    def _size(self, buffer: bytearray, at: int) -> int:
        """Read the line before a chunk; return how many bytes it takes, 0 when it is not whole."""
        end = buffer.find(b"\r\n", at, at + MAX_SIZE_LINE_BYTES)
        if end < 0:
            if len(buffer) - at >= MAX_SIZE_LINE_BYTES:
                raise Refused(reasons.MALFORMED, "the line before a chunk is too long")
            return 0
        found = _SIZE_LINE.fullmatch(buffer, at, end)
        if found is None:
            raise Refused(reasons.MALFORMED, "the line before a chunk is no size")
        size = int(found[1], 16)
        if len(self.body) + size > self._max_bytes:
            raise MessageTooLarge(f"a message may have at most {self._max_bytes} bytes")
        if size:
            self._left = size + 2
        else:
            self._is_in_trailers = True
        return end + 2 - at

    def _data(self, buffer: bytearray, at: int) -> int:
        """Read the part of a chunk that has come, and the CRLF after it when that is whole; return its bytes."""
        data = min(len(buffer) - at, self._left - 2)
        if data > 0:
            self.body += memoryview(buffer)[at : at + data]
            self._left -= data
        if self._left == 2 and len(buffer) - at - data >= 2:
            if not buffer.startswith(b"\r\n", at + data):
                raise Refused(reasons.MALFORMED, "a chunk is longer than its size")
            self._left = 0
            data += 2
        return data

    def _trailer(self, buffer: bytearray, at: int) -> int:
        """Read a field after the last chunk, or the empty line that ends the body."""
        end = buffer.find(b"\r\n", at)
        taken = (end + 2 if end >= 0 else len(buffer)) - at
        if self._trailer_bytes + taken > MAX_TRAILER_BYTES:
            raise Refused(reasons.HEAD, f"the trailers of a request may have at most {MAX_TRAILER_BYTES} bytes")
        if end < 0:
            return 0
        self._trailer_bytes += taken
        if end == at:
            self.is_complete = True
        elif not _TRAILER.fullmatch(buffer, at, end):
            raise Refused(reasons.MALFORMED, "a trailer is no field")
        return taken
