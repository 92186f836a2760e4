"""Write lines in a thread, so that nobody else waits for a terminal, or for a reader that has stopped reading.

    put() ──► queue, bounded in bytes ──► a thread ──► the descriptor

A pipe that nobody reads takes 64 KiB; the next write to it waits for ever, and with it all that the writer of it
serves. Here it is a thread that waits.

Rules:

1. put() never blocks, and may be called from a signal handler.
2. Lines that find the queue full are dropped and counted, and the count is written when there is room again.
3. The thread never holds up the end of the process: close() waits for it while it gets on, and no longer.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic

MAX_WAITING_BYTES = 1024 * 1024
"""Lines that wait to be written are dropped beyond this many bytes."""

STALLED_SECONDS = 0.5
"""close() gives up when not one line was written for this long."""

CLOSE_SECONDS = 5.0
"""close() gives up after this long, however fast lines are being written."""


class LogWriter:
    """Writes lines to a descriptor, in order, in a thread of its own.

    Args:
        descriptor: where to; it is not closed.
        on_dropped: returns the line that tells of so many lines dropped.
        on_idle: called in the thread when nothing waits; returns after how many seconds to call it again if nothing
            comes, None for not at all.
        max_waiting_bytes: see MAX_WAITING_BYTES.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        on_dropped: Callable[[int], str] = lambda count: f"{count} lines were dropped",
        on_idle: Callable[[], float | None] = lambda: None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._descriptor = descriptor
        self._on_dropped = on_dropped
        self._on_idle = on_idle
        self._max_waiting_bytes = max_waiting_bytes
        # SimpleQueue.put() may interrupt itself. Each number has one writer: the putter, or the thread.
        self._queue: SimpleQueue[tuple[bytes, int] | Event | None] = SimpleQueue()
        self._put_bytes = 0
        self._dropped = 0
        self._done_bytes = 0
        self._told = 0
        self._thread: Thread | None = None
        self._is_closed = False

    def put(self, line: str) -> None:
        """Write a line soon, or drop it when too much waits; an empty one is not written and wakes the thread.

        Not to be called by two threads at the same time.
        """
        if self._is_closed:
            return
        if self._thread is None:
            self._thread = Thread(target=self._run, name="mux-log", daemon=True)
            self._thread.start()
        data = f"{line}\n".encode("utf-8", "backslashreplace") if line else b""
        if self._put_bytes - self._done_bytes + len(data) > self._max_waiting_bytes:
            self._dropped += 1
            return
        self._put_bytes += len(data)
        self._queue.put((data, self._dropped))

    def flush(self) -> bool:
        """Wait until every line is written, as long as lines are; return whether all were."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return True
        reached = Event()
        self._queue.put(reached)
        deadline, done = monotonic() + CLOSE_SECONDS, self._done_bytes
        while not reached.wait(STALLED_SECONDS):
            if self._done_bytes == done or monotonic() > deadline:
                return False
            done = self._done_bytes
        return True

    def close(self) -> None:
        """Write what waits, as flush() does, and end the thread; what is put from now on is dropped."""
        self._is_closed = True
        if self.flush() and self._thread is not None:
            self._queue.put(None)
            self._thread.join(STALLED_SECONDS)

    def _run(self) -> None:
        pause: float | None = None
        while True:
            try:
                item = self._queue.get(timeout=pause)
            except Empty:
                pause = self._on_idle()
                continue
            if item is None:
                return
            if isinstance(item, Event):
                item.set()
                continue
            data, dropped = item
            self._tell_dropped(dropped)
            self._write(data)
            self._done_bytes += len(data)
            if self._queue.empty():
                self._tell_dropped(self._dropped)
                pause = self._on_idle()

    def _tell_dropped(self, dropped: int) -> None:
        if dropped > self._told:
            line = self._on_dropped(dropped - self._told)
            self._told = dropped
            self._write(f"{line}\n".encode("utf-8", "backslashreplace"))

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # whoever shares the terminal with us may have made it so
                select.select((), (self._descriptor,), ())
            except OSError:
                return  # the reader, or the terminal, is gone: nobody is left to be told


def write_at_once(descriptor: int, line: str) -> None:
    """Write a line and wait for it, but not for a reader that has stopped reading."""
    writer = LogWriter(descriptor)
    writer.put(line)
    writer.close()
