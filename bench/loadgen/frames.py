"""Count the frames of one server cheaply.

All messages of a run have the same size, so all their frames do, and they begin with the same bytes: the
header and whatever the server wraps around a message. Once these are known from the first frame, what a
socket gave is looked at in one of three ways:

    one frame    compare its beginning, decode its stamp
    many         the same with NumPy for all of them at once
    else         frame by frame: announcements, pings, closes, frames cut in two

Where messages differ in size, the stamps are found by what stands before each, whatever the frames are.

The second is what lets a generator in Python outrun a server that coalesces. Nothing is taken on trust:
the stamp of every message is decoded and counted, whichever way it came.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench.loadgen.dialect import Dialect, pong_frame, text_frame
from bench.loadgen.latencies import Latencies
from bench.loadgen.stamp import STAMP_BYTES, now_us, read, read_many
from bench.loadgen.tally import Tally

_MANY = 4
"""From so many frames on NumPy is the cheaper way."""


class Frames:
    """The messages that the clients of one server receive.

    Args:
        dialect: what a message looks like.
        message_bytes: its size.
        channels: the number of each client's channel.
    """

    def __init__(self, dialect: Dialect, message_bytes: int, channels: list[int]) -> None:
        self.tally = Tally(len(channels))
        self.latencies = Latencies()
        self.other = 0
        """Messages that are not of this run: announcements, for example."""
        self.closed: set[int] = set()
        """Clients that the server has closed."""
        self._dialect = dialect
        self._payload_bytes = len(dialect.before) + message_bytes + len(dialect.after)
        self._channels = channels
        self._keys = [channel.to_bytes(3) for channel in channels]
        self._rests: dict[int, bytes] = {}
        self._head = b"\x00"
        self._head_bytes = 0
        self._frame_bytes = 1 << 62

    def restart(self) -> None:
        """Count from nothing: another schedule begins, and numbers its messages from 0."""
        self.tally = Tally(len(self._channels))
        self.latencies = Latencies()

    def take(self, client: int, data: bytes) -> bytes:
        """Take what a client's socket gave; return what the client answers, nearly always nothing."""
        if self._rests:
            data = self._rests.pop(client, b"") + data
        if self._dialect.is_varied:
            return self._take_stamps(client, data)
        size = len(data)
        if size == self._frame_bytes and data.startswith(self._head):
            raw = a2b_base64(data[self._head_bytes : self._head_bytes + STAMP_BYTES])
            if raw[:3] == self._keys[client]:
                self.tally.one(client, int.from_bytes(raw[3:6]))
                self.latencies.add(now_us() - int.from_bytes(raw[6:]))
                return b""
        elif size >= _MANY * self._frame_bytes and (taken := self._take_many(client, data)):
            data = data[taken:]
        return self._take_each(client, data) if data else b""

    def _take_stamps(self, client: int, data: bytes) -> bytes:
        """Count the stamps of data, and keep its end, in which one may have begun."""
        before = self._dialect.before
        _, *found = data.split(before)
        stamps = [part[:STAMP_BYTES] for part in found if len(part) >= STAMP_BYTES]
        if stamps:
            channels, sequences, due = read_many(b"".join(stamps))
            self.other += int((channels != self._channels[client]).sum())
            self._count(client, sequences)
            self.latencies.add_many(now_us() - due)
        is_cut = bool(found) and len(found[-1]) < STAMP_BYTES
        self._rests[client] = before + found[-1] if is_cut else data[-len(before) :]
        return b""

    def _take_many(self, client: int, data: bytes) -> int:
        """Count the frames of data and return how many bytes they have; 0 when they are not all of one kind."""
        count = len(data) // self._frame_bytes
        used = count * self._frame_bytes
        rows = np.frombuffer(data, dtype=np.uint8, count=used).reshape(count, self._frame_bytes)
        start = self._head_bytes
        if not (rows[:, :start] == np.frombuffer(self._head, dtype=np.uint8)).all():
            return 0
        try:
            channels, sequences, due = read_many(rows[:, start : start + STAMP_BYTES].tobytes())
        except (Error, ValueError):
            return 0
        if not (channels == self._channels[client]).all():
            return 0
        self._count(client, sequences)
        self.latencies.add_many(now_us() - due)
        return used

    def _count(self, client: int, sequences: NDArray[np.int64]) -> None:
        first, count = int(sequences[0]), len(sequences)
        in_order = bool((np.diff(sequences) == 1).all())
        if not in_order or not self.tally.consecutive(client, first, count):
            for sequence in sequences.tolist():
                self.tally.one(client, sequence)

    def _take_each(self, client: int, data: bytes) -> bytes:
        answers = []
        at = 0
        for opcode, head, payload in split(data):
            at += len(head) + len(payload)
            if opcode == 0x8:
                self.closed.add(client)
            elif opcode == 0x9:
                answers.append(pong_frame(payload))
            elif opcode in (0x1, 0x2):
                answers.append(self._message(client, head, payload))
        if at < len(data):
            self._rests[client] = data[at:]
        return b"".join(answers)

    def _message(self, client: int, head: bytes, payload: bytes) -> bytes:
        heartbeat = self._dialect.heartbeat
        if heartbeat is not None and payload == heartbeat[0]:
            return text_frame(heartbeat[1])
        before = self._dialect.before
        if len(payload) == self._payload_bytes and payload.startswith(before):
            try:
                channel, sequence, due = read(payload[len(before) : len(before) + STAMP_BYTES])
            except (Error, ValueError):
                channel = -1
            if channel == self._channels[client]:
                self.tally.one(client, sequence)
                self.latencies.add(now_us() - due)
                self._head = head + before
                self._head_bytes = len(self._head)
                self._frame_bytes = len(head) + len(payload)
                return b""
        self.other += 1
        return b""


def split(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Give opcode, header and payload of each whole frame; a server's are not masked (RFC 6455, section 5.1)."""
    at = 0
    while at + 2 <= len(data):
        size = data[at + 1] & 0x7F
        head_end = at + (2 if size < 126 else 4 if size == 126 else 10)
        if head_end > len(data):
            return
        if size >= 126:
            size = int.from_bytes(data[at + 2 : head_end])
        end = head_end + size
        if end > len(data):
            return
        yield data[at] & 0x0F, data[at:head_end], data[head_end:end]
        at = end
