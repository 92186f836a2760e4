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

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

Message: TypeAlias = tuple[bytes, bool]
"""(payload, sent as binary)."""

MIN_FRAGMENTS = 64
"""How many fragments a message may have whatever the limit on its size (design.md, section 7)."""

BYTES_PER_FRAGMENT = 64
"""Above that, one fragment for so many bytes of the limit, so that a large message may come in small pieces."""

_new_text_decoder = codecs.getincrementaldecoder("utf-8")


class _ErrorsOnly(logging.LoggerAdapter[logging.Logger]):
    """Lets through what is wrong with the parser itself.

    websockets logs a line per connection at INFO and, at DEBUG, payloads; neither belongs in a log.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level >= logging.ERROR and super().isEnabledFor(level)


_logger = _ErrorsOnly(logging.getLogger("mux.websocket"), {})


class _TooManyFragments(Exception):
    pass


class _Fragments:
    """A message of which the last fragment has not come."""

    __slots__ = ("binary", "buffer", "count", "decoder", "limit")

    def __init__(self, *, binary: bool, limit: int) -> None:
        self.binary = binary
        self.buffer = bytearray()
        self.count = 0
        self.decoder = None if binary else _new_text_decoder()
        self.limit = limit

    def add(self, data: bytes, *, final: bool) -> None:
        self.count += 1
        if self.count > self.limit:
            raise _TooManyFragments
        if self.decoder is not None:
            self.decoder.decode(data, final)
        self.buffer += data


class WebSocketParser:
    """One client's side of an open WebSocket connection.

    Feed it with receive(); after every call write what outgoing() returns.

    Args:
        max_message_bytes: a longer message fails the connection with 1009, as soon as the header of the
            frame that goes over the limit has come.
    """

    __slots__ = ("_fragments", "_incomplete_bytes", "_protocol")

    def __init__(self, *, max_message_bytes: int) -> None:
        self._protocol = ServerProtocol(state=State.OPEN, max_size=max_message_bytes, logger=_logger)
        self._fragments: _Fragments | None = None
        self._incomplete_bytes = 0

    @property
    def is_open(self) -> bool:
        """True until either side starts to close."""
        return self._protocol.state is State.OPEN

    @property
    def is_at_rest(self) -> bool:
        """True when a new parser would do as well."""
        return not self._incomplete_bytes and self._fragments is None and self.is_open

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the client and return the messages they complete, in order."""
        protocol = self._protocol
        protocol.receive_data(data)
        self._incomplete_bytes += len(data)
        messages: list[Message] = []
        for frame in protocol.events_received():
            assert isinstance(frame, Frame), "the request was Sanic's"
            self._incomplete_bytes -= _wire_size(len(frame.data))
            if frame.opcode > Opcode.BINARY:
                continue
            try:
                message = self._join(frame)
            except UnicodeDecodeError:
                protocol.fail(CloseCode.INVALID_DATA, "text is not valid UTF-8")
                break
            except _TooManyFragments:
                protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
                break
            if message is not None:
                messages.append(message)
        return messages

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake, unless it has begun (RFC 6455, section 7.1.2)."""
        if self.is_open:
            self._protocol.send_close(code, reason)

    def outgoing(self) -> tuple[bytes, bool]:
        """Return what to write now, and whether this side ends the connection after it."""
        chunks = self._protocol.data_to_send()
        return b"".join(chunks), bool(chunks) and chunks[-1] == SEND_EOF

    def _join(self, frame: Frame) -> Message | None:
        data = bytes(frame.data)
        if frame.opcode is not Opcode.CONT:
            binary = frame.opcode is Opcode.BINARY
            if frame.fin:
                if not binary and not data.isascii():
                    data.decode()
                return data, binary
            self._fragments = _Fragments(binary=binary, limit=self._max_fragments())
        fragments = self._fragments
        assert fragments is not None, "websockets refuses a continuation of nothing"
        fragments.add(data, final=frame.fin)
        if not frame.fin:
            return None
        self._fragments = None
        return bytes(fragments.buffer), fragments.binary

    def _max_fragments(self) -> int:
        limit_bytes = self._protocol.max_message_size
        assert limit_bytes is not None, "set in __init__"
        return max(MIN_FRAGMENTS, limit_bytes // BYTES_PER_FRAGMENT)


def _wire_size(payload_bytes: int) -> int:
    """Return the size of a client's frame: header, mask and payload (RFC 6455, section 5.2)."""
    if payload_bytes < 126:
        return payload_bytes + 6
    return payload_bytes + (8 if payload_bytes < 0x10000 else 14)
