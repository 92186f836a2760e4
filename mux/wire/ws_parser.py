"""What a WebSocket client sends, as whole messages.

`websockets` parses frames, answers pings and runs the closing handshake (its sans-I/O ServerProtocol).
It leaves three things to its user, and they are here:

1. Fragments are joined, into one buffer, so that memory is bounded by the size of the message and
   not by the number of its fragments; that number is bounded as well.
2. Text is valid UTF-8 or the connection fails with 1007 (RFC 6455, section 8.1), at the first
   fragment that shows it.
3. After a failure nothing more is delivered, whatever came in the same segment; what came whole
   before it, or before a close frame, is.

A parser weighs as much as all the rest of an idle connection, and most clients of a feed only listen.
So a parser tells when it is at rest, between two frames and with nothing in hand: then it can be thrown
away and a new one made when the client speaks again.
"""

from __future__ import annotations

import codecs
import logging
from typing import TypeAlias

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

Message: TypeAlias = tuple[bytes, bool]
"""(payload, sent as binary)."""

MIN_FRAGMENTS = 64
"""How many fragments a message may have whatever the limit on its size (design.md, section 7)."""

BYTES_PER_FRAGMENT = 64
"""Above that, one fragment for so many bytes of the limit, so that a large message may come in small pieces."""

MAX_CONTROL_BYTES = 125
"""Largest payload of a control frame (RFC 6455, section 5.5)."""

_new_text_decoder = codecs.getincrementaldecoder("utf-8")


class _ErrorsOnly(logging.LoggerAdapter[logging.Logger]):
    """Lets through what is wrong with the parser itself.

    websockets logs a line per connection at INFO and, at DEBUG, payloads; neither belongs in a log.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level >= logging.ERROR and super().isEnabledFor(level)


_logger = _ErrorsOnly(logging.getLogger("mux.websocket"), {})


class _TooManyFragments(PayloadTooBig):
    """websockets answers it with 1009, as its base."""

    def __str__(self) -> str:
        return "too many fragments"


class _Fragments:
    """A message of which the last fragment has not come."""

    __slots__ = ("binary", "buffer", "count", "decoder")

    def __init__(self, *, binary: bool) -> None:
        self.binary = binary
        self.buffer = bytearray()
        self.count = 0
        self.decoder = None if binary else _new_text_decoder()

    def add(self, data: bytes, *, final: bool) -> None:
        self.count += 1
        if self.decoder is not None:
            self.decoder.decode(data, final)
        self.buffer += data


class _Joining(ServerProtocol):
    """A ServerProtocol that joins messages frame by frame, as they are parsed.

    So a mistake in one frame is found before the next is looked at, however the stream is segmented.
    What recv_frame() raises, the parser that calls it turns into the close code: UnicodeDecodeError into
    1007, PayloadTooBig into 1009.
    """

    def __init__(self, limit_bytes: int) -> None:
        # The parser's own limit is for any frame by its header: control frames come on top of a message.
        super().__init__(state=State.OPEN, max_size=limit_bytes + MAX_CONTROL_BYTES, logger=_logger)
        self.limit_bytes = limit_bytes
        self.messages: list[Message] = []
        self.fragments: _Fragments | None = None
        self.incomplete_bytes = 0

    def recv_frame(self, frame: Frame) -> None:
        super().recv_frame(frame)
        self.incomplete_bytes -= _wire_size(len(frame.data))
        if frame.opcode <= Opcode.BINARY:
            self._join(frame)

    def _join(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is not Opcode.CONT:
            binary = frame.opcode is Opcode.BINARY
            if frame.fin:
                self._check_size(len(data))
                if not binary and not data.isascii():
                    data.decode()
                self.messages.append((data, binary))
                return
            self.fragments = _Fragments(binary=binary)
        fragments = self.fragments
        assert fragments is not None, "websockets refuses a continuation of nothing"
        self._check_size(len(fragments.buffer) + len(data))
        fragments.add(data, final=frame.fin)
        if fragments.count > max(MIN_FRAGMENTS, self.limit_bytes // BYTES_PER_FRAGMENT):
            raise _TooManyFragments(None, self.limit_bytes)
        if frame.fin:
            self.fragments = None
            self.messages.append((bytes(fragments.buffer), fragments.binary))

    def _check_size(self, size: int) -> None:
        if size > self.limit_bytes:
            raise PayloadTooBig(size, self.limit_bytes)


class WebSocketParser:
    """One client's side of an open WebSocket connection.

    Feed it with receive(); after every call write what outgoing() returns.

    Args:
        max_message_bytes: a longer message fails the connection with 1009: by its header, if it is longer
            by more than a control frame may be, so that it is never buffered whole.
    """

    __slots__ = ("_protocol",)

    def __init__(self, *, max_message_bytes: int) -> None:
        self._protocol = _Joining(max_message_bytes)

    @property
    def is_open(self) -> bool:
        """True until either side starts to close."""
        return self._protocol.state is State.OPEN

    @property
    def is_at_rest(self) -> bool:
        """True when a new parser would do as well."""
        protocol = self._protocol
        return not protocol.incomplete_bytes and protocol.fragments is None and self.is_open

    @property
    def failure(self) -> int | None:
        """The close code with which a client's mistake has failed the connection; None when none has."""
        protocol = self._protocol
        return protocol.close_sent.code if protocol.parser_exc is not None and protocol.close_sent else None

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the client and return the messages they complete, in order."""
        protocol = self._protocol
        protocol.incomplete_bytes += len(data)
        protocol.receive_data(data)
        protocol.events.clear()
        messages, protocol.messages = protocol.messages, []
        return messages

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake, unless it has begun (RFC 6455, section 7.1.2)."""
        if self.is_open:
            self._protocol.send_close(code, reason)

    def outgoing(self) -> tuple[bytes, bool]:
        """Return what to write now, and whether this side ends the connection after it."""
        chunks = self._protocol.data_to_send()
        return b"".join(chunks), bool(chunks) and chunks[-1] == SEND_EOF


def _wire_size(payload_bytes: int) -> int:
    """Return the size of a client's frame: header, mask and payload (RFC 6455, section 5.2)."""
    if payload_bytes < 126:
        return payload_bytes + 6
    return payload_bytes + (8 if payload_bytes < 0x10000 else 14)
