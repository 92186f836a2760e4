"""Ctrl-C asks for an end; asked twice, it ends at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether somebody has asked for the end."""

    def __init__(self) -> None:
        self._is_asked = False

    def is_asked(self) -> bool:
        """Return whether Ctrl-C was pressed."""
        return self._is_asked

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Take SIGINT for as long as the block runs."""
    interrupt = Interrupt()
    before = signal.signal(signal.SIGINT, interrupt.ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
