"""The numbers of all processes of a server, in memory that each of them can read.

Prometheus asks a port, and the one process that answers has to answer for all. So each writes a snapshot of its numbers
into its row of shared memory once a second, and the process that is asked adds the rows up. prometheus-client's own way
is a memory-mapped file for each process, written at every increment of every counter; that would put a write to shared
memory into the fan-out, and leave files behind.

Rules:

1. Counters never go back: a process that takes a row over starts from there.
2. Gauges end with their process; the supervisor, which finds it dead, calls bury().
3. A row has one writer. It writes the half that is not read, and then marks that half as the one to read; a writer that
   is killed meanwhile leaves the row as it was.

Beside its numbers a row has a count of beats, which its process adds to as long as its event loop turns, and a state,
which the supervisor writes.

The memory has no name: it is gone with the processes that have it, whatever ends them.
"""

from __future__ import annotations

from collections import Counter
from ctypes import c_ubyte
from multiprocessing import get_context
from pathlib import Path
from zlib import crc32

import orjson

from mux.errors import SystemRefused
from mux.metrics.catalogue import Snapshot, add, without_gauges
from mux.metrics.seat import State

HALF_BYTES = 32 * 1024
"""Bytes of a half. A snapshot is 2 KB, and memory that is not written to is not taken."""

_BEATS = 1 + 2 * HALF_BYTES
_STATE = _BEATS + 1
_READY = _STATE + 1
_ROW_BYTES = _READY + 1
_HEAD_BYTES = 8
_ATTEMPTS = 100

STATES: tuple[State, ...] = ("waiting", "starting", "serving", "stalled", "unused")
"""The states of a process; the board has their numbers. An unused row is for a process that is to replace another."""


class Board:
    """A row for each process; to be given to them as an argument when they are spawned.

    Raises:
        SystemRefused: there is no memory to share.
    """

    def __init__(self, rows: int) -> None:
        try:
            self._memory = get_context("spawn").RawArray(c_ubyte, rows * _ROW_BYTES)
        except OSError as error:
            where = Path(error.filename).parent if isinstance(error.filename, str) else "temporary files"
            raise SystemRefused(
                f"workers have no memory to share in {where} ({(error.strerror or str(error)).lower()}); "
                "make it writable, or use --workers 1"
            ) from error
        self._rows = rows

    def beat(self, row: int) -> None:
        """Show that the process of a row is alive; only it may."""
        memory = memoryview(self._memory).cast("B")
        at = row * _ROW_BYTES + _BEATS
        memory[at] = (memory[at] + 1) % 256

    def beats(self, row: int) -> int:
        """Return a number that is another one after each beat."""
        return memoryview(self._memory).cast("B")[row * _ROW_BYTES + _BEATS]

    def show(self, row: int, state: State) -> None:
        """Set the state of the process of a row; only the supervisor may."""
        memoryview(self._memory).cast("B")[row * _ROW_BYTES + _STATE] = STATES.index(state)

    def states(self) -> dict[str, int]:
        """Return how many processes are in each state."""
        memory = memoryview(self._memory).cast("B")
        states = (STATES[memory[row * _ROW_BYTES + _STATE]] for row in range(self._rows))
        return dict(Counter(state for state in states if state != "unused"))

    def set_ready(self, row: int) -> None:
        """Tell that clients may be sent to the process of a row; only it may."""
        memoryview(self._memory).cast("B")[row * _ROW_BYTES + _READY] = 1

    def is_ready(self, row: int) -> bool:
        """Tell whether the process of a row has said that it is ready; bury() takes that back."""
        return bool(memoryview(self._memory).cast("B")[row * _ROW_BYTES + _READY])

    def write(self, row: int, snapshot: Snapshot) -> None:
        """Replace a row; only the process whose row it is may."""
        memory = memoryview(self._memory).cast("B")
        data = orjson.dumps(snapshot)
        assert len(data) <= HALF_BYTES - _HEAD_BYTES, "labels are few, and so are metrics"
        start = row * _ROW_BYTES
        half = 2 if memory[start] == 1 else 1
        at = start + 1 + (half - 1) * HALF_BYTES
        head = len(data).to_bytes(4, "little") + crc32(data).to_bytes(4, "little")
        memory[at : at + _HEAD_BYTES + len(data)] = head + data
        memory[start] = half

    def read(self, row: int) -> Snapshot:
        """Return what was last written to a row; nothing, before anything was."""
        memory = memoryview(self._memory).cast("B")
        start = row * _ROW_BYTES
        for _ in range(_ATTEMPTS):
            half = memory[start]
            if not half:
                return {}
            at = start + 1 + (half - 1) * HALF_BYTES
            head = bytes(memory[at : at + _HEAD_BYTES])
            size = min(int.from_bytes(head[:4], "little"), HALF_BYTES - _HEAD_BYTES)
            data = bytes(memory[at + _HEAD_BYTES : at + _HEAD_BYTES + size])
            if crc32(data) == int.from_bytes(head[4:], "little"):
                snapshot: Snapshot = orjson.loads(data)
                return snapshot
        raise AssertionError(f"row {row} is written to all the time")  # twice while it was read, each time

    def bury(self, row: int) -> None:
        """Take the gauges out of the row of a process, which must have ended."""
        memoryview(self._memory).cast("B")[row * _ROW_BYTES + _READY] = 0
        snapshot = self.read(row)
        if snapshot:
            self.write(row, without_gauges(snapshot))

    def total(self) -> Snapshot:
        """Return the sum of all rows."""
        total: Snapshot = {}
        for row in range(self._rows):
            total = add(total, self.read(row))
        return total


class Row:
    """The row of this process on a board; a process that has ended may have had it before."""

    def __init__(self, board: Board, row: int) -> None:
        self._board = board
        self._row = row
        board.bury(row)
        self._before = board.read(row)

    def beat(self) -> None:
        """Show that this process is alive."""
        self._board.beat(self._row)

    def set_ready(self) -> None:
        """Tell that clients may be sent to this process."""
        self._board.set_ready(self._row)

    def states(self) -> dict[str, int]:
        """Return how many processes are in each state, as the supervisor sees them."""
        return self._board.states()

    def write(self, snapshot: Snapshot) -> None:
        """Put the numbers of this process on the board, added to those of the processes that had the row before it."""
        self._board.write(self._row, add(self._before, snapshot))

    def total(self) -> Snapshot:
        """Return the numbers of all processes."""
        return self._board.total()
