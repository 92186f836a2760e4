"""The requests of one connection, one after the other, each of them whole.

    bytes as they come ──► empty lines ──► head ──► is it let pass, and its body wanted? ──► body ──► request

A request is taken from the buffer only when its caller asks for it. So requests that are sent ahead wait as bytes until
the one before them is answered.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Callable

from mux import reasons
from mux.errors import MessageTooLarge, Refused
from mux.wire.http.chunked import ChunkedReader
from mux.wire.http.head import HeadReader, RequestHead, empty_lines, read_at_once

WAITING_REQUESTS = 16
"""Most requests of a connection that wait for the answer to the one before."""

WAITING_BYTES = 64 * 1024
"""Most bytes of a connection that wait, beyond what one read brings."""


class RequestReader:
    """Reads requests.

    Attributes:
        buffer: bytes that have come and are not read; the caller appends them.
        head: the head of the request under way, from when it is whole until its body is.
        has_begun: True from the first byte of a request to its last.
        is_tired: True when next() has stopped before the end of the buffer, for the sake of others.
    """

    __slots__ = ("_chunks", "_head_reader", "buffer", "has_begun", "head")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.head: RequestHead | None = None
        self.has_begun = False
        self._head_reader: HeadReader | None = None
        self._chunks: ChunkedReader | None = None

    @property
    def is_tired(self) -> bool:
        return self._chunks is not None and self._chunks.has_more

    @property
    def is_full(self) -> bool:
        """True when so much waits that nothing more is to be read from the socket."""
        return len(self.buffer) > WAITING_BYTES or self.buffer.count(b"\r\n\r\n") > WAITING_REQUESTS

    def is_to_continue(self) -> bool:
        """Return True, once for a request, when the client waits to be told to send its body."""
        if self.head is None or not self.head.expects_continue or self.buffer:
            return False
        self.head.expects_continue = False
        return True

    def next(self, limit: Callable[[RequestHead], int]) -> tuple[RequestHead, bytes] | None:
        """Return the next request with its body, None as long as it is not whole.

        Args:
            limit: takes a head and returns how large a body may be, 0 when none is wanted; it may raise, too.

        Raises:
            Refused: the request cannot be answered otherwise; nothing after it can be read.
        """
        if self.head is None:
            head = self._next_head()
            if head is None:
                return None
            self.head = head
            most = limit(head)
            if head.has_body:
                self._expect_body(head, most)
        body = self._next_body(self.head) if self.head.length != 0 else b""
        if body is None:
            return None
        head, self.head = self.head, None
        self.has_begun = False
        return head, body

    def _next_head(self) -> RequestHead | None:
        buffer, head = self.buffer, None
        if self._head_reader is None:
            if buffer.startswith(b"\r\n"):
                del buffer[: empty_lines(buffer)]
            if not buffer or buffer == b"\r":
                return None
            self.has_begun = True
            head = read_at_once(buffer)
            if head is None:
                self._head_reader = HeadReader()
        if self._head_reader is not None:
            head = self._head_reader.read(buffer)
        if head is not None:
            self._head_reader = None
            del buffer[: head.size]
        return head

    def _expect_body(self, head: RequestHead, most: int) -> None:
        if not most:
            if head.method in ("GET", "HEAD"):
                raise Refused(reasons.BODY, f"a {head.method} has no body here")
            # It is answered without its body, which is not read, and so nothing after it is either.
            head.length, head.is_kept, head.expects_continue = 0, False, False
        elif head.length is None:
            self._chunks = ChunkedReader(most)
        elif head.length > most:
            raise MessageTooLarge(f"a message may have at most {most} bytes")

    def _next_body(self, head: RequestHead) -> bytes | None:
        buffer, chunks = self.buffer, self._chunks
        if chunks is not None:
            chunks.read(buffer)
            if not chunks.is_complete:
                return None
            self._chunks = None
            return bytes(chunks.body)
        assert head.length is not None, "without a length it comes in chunks"
        if len(buffer) < head.length:
            return None
        body = bytes(buffer[: head.length])
        del buffer[: head.length]
        return body
