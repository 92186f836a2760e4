"""What a WebSocket client sends, as whole messages.

`websockets` parses frames, answers pings and runs the closing handshake (its sans-I/O ServerProtocol).
It leaves three things to its user, and they are here:

1. Fragments are joined, into one buffer, so that memory is bounded by the size of the message and
   not by the number of its fragments; that number is bounded as well.
2. Text is valid UTF-8 or the connection fails with 1007 (RFC 6455, section 8.1), at the first
   fragment that shows it.
3. After a failure nothing more is delivered, whatever came in the same segment; what came whole
   before it, or before a close frame, is.

Nearly all frames are short messages, pings and pongs that came whole. These are taken apart here, at a tenth of
the cost, so that a flood of them does not keep the event loop from everybody else; whatever is long, cut,
in fragments or wrong goes through `websockets`.

A parser weighs as much as all the rest of an idle connection, and most clients of a feed only listen.
So a parser tells when it is at rest, between two frames and with nothing in hand: then it can be thrown
away and a new one made when the client speaks again.
"""

from __future__ import annotations

import codecs
import logging
from typing import TypeAlias

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # in C where it was compiled
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from mux.wire.publication import is_text

Message: TypeAlias = tuple[bytes, bool]
"""(payload, sent as binary)."""

MIN_FRAGMENTS = 64
"""How many fragments a message may have whatever the limit on its size (design.md, section 7)."""

BYTES_PER_FRAGMENT = 64
"""Above that, one fragment for so many bytes of the limit, so that a large message may come in small pieces."""

MAX_CONTROL_BYTES = 125
"""Largest payload of a control frame (RFC 6455, section 5.5)."""

_FIN_TEXT, _FIN_BINARY, _FIN_PING, _FIN_PONG = 0x81, 0x82, 0x89, 0x8A
_WHOLE = frozenset((_FIN_TEXT, _FIN_BINARY, _FIN_PING, _FIN_PONG))

_OPEN = State.OPEN  # by its name in an Enum it is looked up by a function, ten times as slowly

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
        super().__init__(state=_OPEN, max_size=limit_bytes + MAX_CONTROL_BYTES, logger=_logger)
        self.limit_bytes = limit_bytes
        self.messages: list[Message] = []
        self.fragments: _Fragments | None = None
        self.incomplete_bytes = 0
        self.control_frames = 0
        self.kept = b""

    def take_whole(self, data: bytes) -> bytes:
        """Take the whole messages and pings that data begins with, and return the rest, for receive_data().

        Only at rest, and only what is in order. A rest that is the beginning of such a frame is kept for the
        next time, and then nothing is returned.
        """
        at, end = 0, len(data)
        while end - at >= 6:
            first, size, mask = data[at], data[at + 1] ^ 0x80, at + 2
            if size == 126 and first < _FIN_PING:
                size, mask = int.from_bytes(data[at + 2 : at + 4]), at + 4
                if size < 126:
                    break
            elif size > MAX_CONTROL_BYTES:  # 64 bits of length, or no mask
                break
            start = mask + 4
            stop = start + size
            if first not in _WHOLE or (size > self.limit_bytes and first < _FIN_PING):
                break
            if stop > end:
                self.kept = data[at:]
                return b""
            payload: bytes = apply_mask(data[start:stop], data[mask:start])
            if first == _FIN_PING:
                self.control_frames += 1
                self.writes.append(b"\x8a%c%b" % (size, payload))
            elif first == _FIN_PONG:
                self.control_frames += 1
            elif first == _FIN_BINARY or is_text(payload):
                self.messages.append((payload, first == _FIN_BINARY))
            else:
                break
            at = stop
        return data[at:]

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE and self.fragments is not None:
            # A control frame may come amid fragments (RFC 6455, section 5.4). websockets makes an exception
            # of this one, so the message is ended for it; nobody will hear of it.
            super().recv_frame(Frame(Opcode.CONT, b""))
        super().recv_frame(frame)
        self.incomplete_bytes -= _wire_size(len(frame.data))
        if frame.opcode <= Opcode.BINARY:
            self._join(frame)
        elif frame.opcode is not Opcode.CLOSE:
            self.control_frames += 1

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
        return self._protocol.state is _OPEN

    @property
    def is_at_rest(self) -> bool:
        """True when a new parser would do as well."""
        protocol = self._protocol
        return not (protocol.incomplete_bytes or protocol.kept) and protocol.fragments is None and self.is_open

    @property
    def failure(self) -> int | None:
        """The close code with which a client's mistake has failed the connection; None when none has."""
        protocol = self._protocol
        return protocol.close_sent.code if protocol.parser_exc is not None and protocol.close_sent else None

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the client and return the messages they complete, in order."""
        protocol = self._protocol
        if protocol.kept:
            data, protocol.kept = protocol.kept + data, b""
        if self.is_at_rest:
            data = protocol.take_whole(data)
        if data:
            protocol.incomplete_bytes += len(data)
            protocol.receive_data(data)
            protocol.events.clear()
        messages, protocol.messages = protocol.messages, []
        return messages

    def control_frames(self) -> int:
        """Return how many pings and pongs have come since this was last asked."""
        count, self._protocol.control_frames = self._protocol.control_frames, 0
        return count

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake, unless it has begun (RFC 6455, section 7.1.2)."""
        if self.is_open:
            self._protocol.send_close(code, reason)

    def outgoing(self) -> tuple[bytes, bool]:
        """Return what to write now, and whether this side ends the connection after it."""
        if not self._protocol.writes:
            return b"", False
        chunks = self._protocol.data_to_send()
        return b"".join(chunks), chunks[-1] == SEND_EOF


def _wire_size(payload_bytes: int) -> int:
    """Return the size of a client's frame: header, mask and payload (RFC 6455, section 5.2)."""
    if payload_bytes < 126:
        return payload_bytes + 6
    return payload_bytes + (8 if payload_bytes < 0x10000 else 14)
