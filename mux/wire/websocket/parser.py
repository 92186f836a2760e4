"""Whole messages from the frames of a WebSocket client (RFC 6455, sections 5 and 7).

The parser takes frames apart, answers pings, joins fragments and runs the closing handshake.

1. A frame is checked in a fixed order, and each check needs only the bytes before the next one: its first byte, its
   mask, its length, then its payload. So the outcome does not depend on how the network cuts the stream.
2. A message is bounded in bytes and in fragments. One that is too large fails by the header that shows it.
3. Text is valid UTF-8 or the connection fails with 1007 (section 8.1), at the first fragment that shows it.
4. Messages that came whole before a mistake or a close frame are delivered, and nothing after it.
5. A compressed message (RFC 7692) is inflated when it is whole, and only then known to be text. Its size counts as it
   was before it was compressed, and inflating it counts as many frames.

One read can bring 40,000 frames, and no other client is served while they are parsed. So parse() goes as far as its
caller says, and keeps the rest for the next call.

A parser weighs as much as all the rest of an idle connection, and most clients of a feed only listen. So a parser
tells when it is at rest, between two frames and with nothing in hand: it can then be thrown away, and a new one made
when the client speaks again.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

import sys

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C where it was compiled

from mux import reasons
from mux.errors import MessageTooLarge, Refused
from mux.wire.deflate import most_deflated
from mux.wire.publication import is_text
from mux.wire.websocket.encoder import close_frame
from mux.wire.websocket.message import COMPRESSED, Fragments, Message, inflated_message, no_text

MAX_CONTROL_BYTES = 125
"""Largest payload of a control frame, and of any frame whose length takes 7 bits (RFC 6455, section 5.2 and 5.5)."""

_FIN_TEXT, _FIN_BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
_BINARY, _FIN_CONTINUATION = 0x02, 0x80

INFLATED_PER_FRAME = 1024
"""Bytes of an inflated message that take as long as a frame."""

_CONTROL = frozenset((_CLOSE, _PING, _PONG))
_BETWEEN_MESSAGES = _CONTROL | {0x01, _BINARY, _FIN_TEXT, _FIN_BINARY}
"""First bytes that a frame may have when no message is under way."""
_BETWEEN_COMPRESSED = _BETWEEN_MESSAGES | {first | COMPRESSED for first in (0x01, _BINARY, _FIN_TEXT, _FIN_BINARY)}
"""First bytes that a frame may have when no message is under way and compression was agreed on."""
_AMID_MESSAGE = _CONTROL | {0x00, _FIN_CONTINUATION}
"""First bytes that a frame may have when the last fragment of a message has not come."""

_CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
"""Codes that a client may close with (RFC 6455, section 7.4, and the registry of IANA)."""

_END = b""
"""This stands in what is to be written where this side ends the connection."""


def lone_text(data: bytes, max_bytes: int) -> bytes | None:
    """Return the text of a frame that is all that has come, as nearly always, if it is ASCII; None for all else."""
    size, start = len(data) - 6, 6
    if size < 0 or data[0] != _FIN_TEXT:
        return None
    length = data[1] ^ 0x80  # with more than 7 bits if there is no mask
    if length == 126:
        size, start, length = size - 2, 8, int.from_bytes(data[2:4])
    elif length > MAX_CONTROL_BYTES:
        return None
    if length != size or size > max_bytes:
        return None
    payload = apply_mask(data[start:], data[start - 4 : start])
    return payload if payload.isascii() else None


class WebSocketParser:
    """The server's side of an open WebSocket connection, without the socket.

    Give it what comes with feed(); after each parse() take the messages, and write what outgoing() returns.

    Args:
        max_message_bytes: a longer message fails the connection with 1009.
        inflates: whether compression was agreed on, without context from one message to the next.
    """

    __slots__ = (
        "_at",
        "_begun",
        "_between",
        "_control_frames",
        "_data",
        "_fragments",
        "_has_ended",
        "_inflated",
        "_max_bytes",
        "_needed",
        "_writes",
        "failure",
        "is_open",
        "messages",
    )

    def __init__(self, *, max_message_bytes: int, inflates: bool = False) -> None:
        self._max_bytes = max_message_bytes
        self._between = _BETWEEN_COMPRESSED if inflates else _BETWEEN_MESSAGES
        self._inflated = 0  # what the last frame has counted for beside itself, in frames
        self.messages: list[Message] = []
        """Messages that came whole, oldest first. The caller takes out those that it has handled."""
        self.is_open = True
        """True until either side starts to close."""
        self.failure: reasons.Reason | None = None
        """The reason for which a mistake of the client has failed the open connection; None when none has."""
        self._has_ended = False
        self._data = b""
        self._at = 0
        self._begun = bytearray()  # a frame that is not whole
        self._needed = 0  # how many bytes it has, or its header, when that is not whole; 0 when no frame is begun
        self._fragments: Fragments | None = None
        self._control_frames = 0
        self._writes: list[bytes] = []

    @property
    def is_at_rest(self) -> bool:
        """True when a new parser would do as well."""
        return self.is_open and self._fragments is None and not (self._data or self._needed or self.messages)

    @property
    def has_more(self) -> bool:
        """True when there are bytes that parse() has not come to, beside a frame that is not whole."""
        return bool(self._data)

    @property
    def kept_bytes(self) -> int:
        """The number of bytes of the client that are kept."""
        whole = sum(len(payload) for payload, _ in self.messages)
        joined = 0 if self._fragments is None else len(self._fragments.buffer)
        return len(self._data) + len(self._begun) + whole + joined

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; after the end of the connection they are dropped."""
        if self._has_ended:
            return
        if self._needed:
            self._begun += data
            if len(self._begun) < self._needed:
                return
            data, self._needed = bytes(self._begun), 0
            self._begun.clear()
        elif self._data:
            data = self._data[self._at :] + data
        self._data, self._at = data, 0

    def parse(self, frames: int = sys.maxsize, size: int = sys.maxsize) -> int:
        """Parse what was fed, in order, and add the messages it completes.

        Args:
            frames: how many frames are parsed at most.
            size: a frame that begins so many bytes from here or later is left.

        Returns:
            How many frames were parsed, one that is not whole included; more than were asked for when the last one
            was inflated.
        """
        data, at, left = self._data, self._at, frames
        end = len(data)
        until = min(end, at + size)
        try:
            while left > 0 and at < until:
                left -= 1
                start, stop = self._payload(data, at, end)
                if stop > end:
                    self._begun += data[at:]
                    self._needed = stop - at
                    at = end
                    break
                first, at, payload = data[at], stop, apply_mask(data[start:stop], data[start - 4 : start])
                if first == _FIN_TEXT and payload.isascii():  # nearly all that clients send
                    self.messages.append((payload, False))
                elif self._take(first, payload):
                    break
                elif self._inflated:
                    left, self._inflated = left - self._inflated, 0
        except Refused as error:
            self._fail(error)
        if at == end or self._has_ended:
            self._data, self._at = b"", 0
        else:
            self._at = at
        return frames - left

    def control_frames(self) -> int:
        """Return how many pings and pongs have come since this was last asked."""
        count, self._control_frames = self._control_frames, 0
        return count

    def close(self, code: int, sentence: str = "") -> None:
        """Start the closing handshake, unless it has begun (RFC 6455, section 7.1.2).

        A sentence has at most 123 bytes in UTF-8, for a control frame has 125 and the code takes two.
        """
        if self.is_open:
            self.is_open = False
            self._writes.append(close_frame(code, sentence))

    def outgoing(self) -> tuple[bytes, bool]:
        """Return what to write now, and whether this side ends the connection after it."""
        writes = self._writes
        if not writes:
            return b"", False
        self._writes = []
        return b"".join(writes), writes[-1] is _END

    def _payload(self, data: bytes, at: int, end: int) -> tuple[int, int]:
        """Check the header of a frame; return where its payload begins and ends.

        The end is beyond that of data when the frame is not whole, and is that of the header as long as it is not.

        Raises:
            Refused: the frame may not come here, or is too large.
        """
        if end - at < 2:
            return at, at + 2
        first, size, start = data[at], data[at + 1] ^ 0x80, at + 6
        fragments = self._fragments
        if first not in (self._between if fragments is None else _AMID_MESSAGE):
            raise Refused(reasons.PROTOCOL, "no frame may begin so here")
        if size > MAX_CONTROL_BYTES:
            if size > 0x7F:
                raise Refused(reasons.PROTOCOL, "a frame has no mask")
            if first in _CONTROL:
                raise Refused(reasons.PROTOCOL, f"a control frame has more than {MAX_CONTROL_BYTES} bytes")
            start += 2 if size == 126 else 8
            if end < start - 4:
                return start, start - 4
            size = int.from_bytes(data[at + 2 : start - 4])
        if first not in _CONTROL:
            whole = size + (0 if fragments is None else len(fragments.buffer))
            if whole > self._max_bytes and whole > self._most(first):
                raise MessageTooLarge(f"a message may have at most {self._max_bytes} bytes")
        return start, start + size

    def _most(self, first: int) -> int:
        """Return how many bytes a message may have as it travels, by the first byte of a frame of it."""
        is_compressed = first & COMPRESSED if self._fragments is None else self._fragments.is_compressed
        return most_deflated(self._max_bytes) if is_compressed else self._max_bytes

    def _take(self, first: int, payload: bytes) -> bool:
        """Take a frame with its first byte and its payload; return whether it ends the connection."""
        if first == _FIN_TEXT:
            if not is_text(payload):
                raise no_text()
            self.messages.append((payload, False))
        elif first == _FIN_BINARY:
            self.messages.append((payload, True))
        elif first == _PING:
            self._control_frames += 1
            self._writes.append(b"\x8a%c%b" % (len(payload), payload))
        elif first == _PONG:
            self._control_frames += 1
        elif first == _CLOSE:
            self._take_close(payload)
        elif first in (_FIN_TEXT | COMPRESSED, _FIN_BINARY | COMPRESSED):
            self._whole(inflated_message(first, payload, self._max_bytes), is_compressed=True)
        else:
            self._join(first, payload)
        return self._has_ended

    def _join(self, first: int, payload: bytes) -> None:
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = Fragments(first, self._max_bytes)
        is_last = first == _FIN_CONTINUATION
        fragments.add(payload, is_last=is_last)
        if is_last:
            self._fragments = None
            self._whole(fragments.message(), is_compressed=fragments.is_compressed)

    def _whole(self, message: Message, *, is_compressed: bool) -> None:
        self.messages.append(message)
        if is_compressed:
            self._inflated = len(message[0]) // INFLATED_PER_FRAME

    def _take_close(self, payload: bytes) -> None:
        """Answer a close frame with its own payload, unless it is the answer to ours (RFC 6455, section 5.5.1)."""
        if payload:
            if not is_text(payload[2:]):
                raise no_text()
            if len(payload) < 2 or int.from_bytes(payload[:2]) not in _CLOSE_CODES:
                raise Refused(reasons.PROTOCOL, "a close frame has no code that may be sent")
        if self.is_open:
            self.is_open = False
            self._writes.append(b"\x88%c%b" % (len(payload), payload))
        self._end()

    def _fail(self, error: Refused) -> None:
        if self.is_open:
            self.failure = error.reason
            self.close(error.reason.code, str(error))
        self._end()

    def _end(self) -> None:
        """End the connection (RFC 6455, section 7.1.1): the server does so first."""
        self._has_ended = True
        self._fragments = None
        self._writes.append(_END)
