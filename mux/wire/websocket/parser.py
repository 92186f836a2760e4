"""What a WebSocket client sends, as whole messages.

`websockets` parses frames, answers pings and runs the closing handshake (its sans-I/O ServerProtocol).
It leaves three things to its user, and they are here:

1. Fragments are joined, into one buffer, so that memory is bounded by the size of the message and
   not by the number of its fragments; that number is bounded as well.
2. Text is valid UTF-8 or the connection fails with 1007 (RFC 6455, section 8.1), at the first
   fragment that shows it.
3. After a failure nothing more is delivered, whatever came in the same segment; what came whole
   before it, or before a close frame, is.

Nearly all frames are short messages, pings and pongs. These are taken apart here, at a tenth of the cost; whatever
is long, in fragments or wrong goes through `websockets`, a whole frame at a time, or as much of it as shows that it
is wrong.

One read can bring 40,000 frames, and nobody else is served while they are looked at. So what is fed is looked at only
as far as the caller says, and what is left is kept for the next time.

A parser weighs as much as all the rest of an idle connection, and most clients of a feed only listen.
So a parser tells when it is at rest, between two frames and with nothing in hand: then it can be thrown
away and a new one made when the client speaks again.
"""

from __future__ import annotations

import codecs
import logging
import sys
from typing import TypeAlias

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # in C where it was compiled
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from mux.wire.publication import is_text

Message: TypeAlias = tuple[bytes, bool]
"""(payload, sent as binary)."""

MIN_FRAGMENTS = 64
"""How many fragments a message may have, whatever the limit on its size."""

BYTES_PER_FRAGMENT = 64
"""Above that, one fragment for so many bytes of the limit, so that a large message may come in small pieces."""

MAX_CONTROL_BYTES = 125
"""Largest payload of a control frame (RFC 6455, section 5.5)."""

COST_OF_UNUSUAL = 8
"""A frame that goes through `websockets` takes as long as so many others."""

_FIN_TEXT, _FIN_BINARY, _FIN_PING, _FIN_PONG = 0x81, 0x82, 0x89, 0x8A
_PINGS_AND_PONGS = frozenset((_FIN_PING, _FIN_PONG))
_WHOLE = _PINGS_AND_PONGS | {_FIN_TEXT, _FIN_BINARY}

_KNOWN_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_BYTES_OF_LENGTH = {126: 2, 127: 8}

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
        self.control_frames = 0

    def take_usual(self, data: bytes, at: int, until: int, frames: int) -> tuple[int, int]:
        """Take whole messages, pings and pongs, of which the first begins at a place in data.

        It ends with the first frame that is neither or has not come whole.

        Args:
            data: what the client sent.
            at: where to begin.
            until: a frame that begins here or later is left.
            frames: how many are taken at most.

        Returns:
            Where the next frame begins, and how many more could have been taken.
        """
        end = len(data)
        usual = _WHOLE if self.fragments is None else _PINGS_AND_PONGS
        while frames > 0 and at < until and end - at >= 6:
            first, size, mask = data[at], data[at + 1] ^ 0x80, at + 2
            if size == 126 and first < _FIN_PING:
                size, mask = int.from_bytes(data[at + 2 : at + 4]), at + 4
                if size < 126:
                    break
            elif size > MAX_CONTROL_BYTES:  # 64 bits of length, or no mask
                break
            start = mask + 4
            stop = start + size
            if stop > end or first not in usual or (size > self.limit_bytes and first < _FIN_PING):
                break
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
            frames -= 1
        return at, frames

    def needed(self, data: bytes, at: int) -> int:
        """Return how many bytes from a place in data are to be there before receive_data() gets them.

        They are a whole frame, or the header where its length is not known yet; or all there are, when receive_data()
        will find them wrong.
        """
        there = len(data) - at
        if there < 2:
            return 2
        first, size = data[at], data[at + 1] ^ 0x80
        if first & 0x0F not in _KNOWN_OPCODES or size > 127:  # or no mask
            return there
        header = 2 + _BYTES_OF_LENGTH.get(size, 0)
        if there < header:
            return header
        if header > 2:
            size = int.from_bytes(data[at + 2 : at + header])
        kept = 0 if self.fragments is None else len(self.fragments.buffer)
        return there if size > self.limit_bytes + MAX_CONTROL_BYTES - kept else header + 4 + size

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE and self.fragments is not None:
            # A control frame may come amid fragments (RFC 6455, section 5.4). websockets makes an exception
            # of this one, so the message is ended for it; nobody will hear of it.
            super().recv_frame(Frame(Opcode.CONT, b""))
        super().recv_frame(frame)
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

    Give it what comes with feed(), have it look at that, and after every look() take the messages and write what
    outgoing() returns.

    Args:
        max_message_bytes: a longer message fails the connection with 1009: by its header, if it is longer
            by more than a control frame may be, so that it is never buffered whole.
    """

    __slots__ = ("_at", "_begun", "_data", "_needed", "_protocol", "messages")

    def __init__(self, *, max_message_bytes: int) -> None:
        self._protocol = _Joining(max_message_bytes)
        self.messages = self._protocol.messages
        """Messages that have been found, oldest first. Whoever handles one takes it out."""
        self._data = b""
        self._at = 0
        self._begun = bytearray()
        self._needed = 0

    def __del__(self) -> None:
        # The protocol holds a generator that holds the protocol, and after a failure an exception with frames of both.
        # Without them it goes at once, and what it keeps with it; otherwise it would wait for the collector.
        self._protocol.parser.close()
        self._protocol.parser_exc = None

    @property
    def is_open(self) -> bool:
        """True until either side starts to close."""
        return self._protocol.state is _OPEN

    @property
    def is_at_rest(self) -> bool:
        """True when a new parser would do as well."""
        return not (self._data or self._needed or self.messages) and self._protocol.fragments is None and self.is_open

    @property
    def has_more(self) -> bool:
        """True when there are bytes that look() has not looked at, and that are more than a part of a frame."""
        return bool(self._data)

    @property
    def kept_bytes(self) -> int:
        """What is kept of what the client sent, in bytes."""
        fragments = self._protocol.fragments
        found = sum(len(payload) for payload, _ in self.messages)
        return len(self._data) + len(self._begun) + found + (0 if fragments is None else len(fragments.buffer))

    @property
    def failure(self) -> int | None:
        """The close code with which a client's mistake has failed the connection; None when none has."""
        protocol = self._protocol
        return protocol.close_sent.code if protocol.parser_exc is not None and protocol.close_sent else None

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._needed:
            self._begun += data
            if len(self._begun) < self._needed:
                return
            data, self._needed = bytes(self._begun), 0
            self._begun.clear()
        elif self._data:
            data = self._data[self._at :] + data
        self._data, self._at = data, 0

    def look(self, frames: int = sys.maxsize, size: int = sys.maxsize) -> int:
        """Look at what was fed, in order, and add the messages it completes.

        Args:
            frames: how many frames to look at; an unusual one counts as COST_OF_UNUSUAL.
            size: a frame that begins so many bytes from here or later is left.

        Returns:
            How many frames were looked at, an unusual one counted likewise.
        """
        data, at, protocol = self._data, self._at, self._protocol
        end, left = len(data), frames
        until = min(end, at + size)
        while left > 0 and at < until:
            if protocol.state is _OPEN:
                at, left = protocol.take_usual(data, at, until, left)
                if left <= 0 or at >= until:
                    break
            needed = protocol.needed(data, at)
            if needed > end - at and not protocol.eof_sent:
                self._begun += data[at:]
                self._needed = needed
                at = end
                break
            protocol.receive_data(data[at : at + needed])
            protocol.events.clear()
            left -= COST_OF_UNUSUAL
            # What follows the end of a connection is dropped.
            at = end if protocol.eof_sent else at + needed
        if at == end:
            self._data, self._at = b"", 0
        else:
            self._at = at
        return frames - left

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
