"""The whole terminal, lent: an alternate screen, keys as they are pressed, and everything given back.

Rules:

1. What is changed is changed back, in the reverse order, however the program ends: by a key, an exception,
   SIGINT, SIGTERM or SIGHUP. While it is suspended (SIGTSTP, Ctrl-Z) the shell has its terminal as it was.
2. Signal handlers do nothing. That a signal came is read from a pipe (signal.set_wakeup_fd), by the one
   select() that waits for keys too, so nothing is interrupted in the middle of a drawing.
3. Ctrl-C and Ctrl-Z stay what the terminal makes of them: cbreak, not raw.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.control import Control
from rich.screen import Screen

_ENDS = (signal.SIGTERM, signal.SIGHUP)
_SEEN = (signal.SIGINT, *_ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)

_WOKEN = 0
"""No signal has this number."""


class Terminal:
    """The terminal of this process, while the block runs; only the main thread may have it.

    keys_from is the descriptor keys are read from, None when standard input is no terminal.
    """

    def __init__(self, console: Console, keys_from: int | None) -> None:
        self._console = console
        self._keys_from = keys_from
        self._attributes: list[Any] | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._wake_read, self._wake_write = os.pipe()
            undo.callback(os.close, self._wake_read)
            undo.callback(os.close, self._wake_write)
            os.set_blocking(self._wake_read, False)
            os.set_blocking(self._wake_write, False)
            undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False))
            for number in _SEEN:
                undo.callback(signal.signal, number, signal.signal(number, _nothing))
            undo.callback(self._give_back)
            self._take()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()

    def draw(self, picture: RenderableType) -> None:
        """Show a picture, cut to the size the terminal has now, in one write."""
        # Asked anew each time: COLUMNS and LINES, which rich would believe, are of the time before a resize.
        columns, lines = os.get_terminal_size(self._console.file.fileno())
        self._console.size = ConsoleDimensions(columns or 80, lines or 24)
        with self._console:
            self._console.control(Control.home())
            self._console.print(Screen(picture), end="")

    def wake(self) -> None:
        """Let wait() return; from any thread."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, bytes([_WOKEN]))

    def wait(self, timeout_s: float) -> str:
        """Wait for a key, a wake-up or a new size, and return what was typed.

        Raises:
            KeyboardInterrupt: Ctrl-C, or nobody is at the terminal any more.
            SystemExit: SIGTERM or SIGHUP, with the status a shell gives to them.
        """
        readable, _, _ = select.select([self._wake_read, *self._keys()], [], [], timeout_s)
        if self._wake_read in readable:
            self._see(os.read(self._wake_read, 4096))
        if self._keys_from not in readable or self._keys_from is None:
            return ""
        try:
            typed = os.read(self._keys_from, 1024)
        except OSError:
            typed = b""
        if not typed:
            raise KeyboardInterrupt
        return typed.decode(errors="replace")

    def _keys(self) -> list[int]:
        return [] if self._keys_from is None else [self._keys_from]

    def _see(self, numbers: bytes) -> None:
        if signal.SIGINT in numbers:
            raise KeyboardInterrupt
        for number in _ENDS:
            if number in numbers:
                sys.exit(128 + number)
        if signal.SIGTSTP in numbers:
            self._suspend()
        elif signal.SIGCONT in numbers:
            self._take()  # stopped by SIGSTOP: whoever had the terminal meanwhile may have changed it
        elif signal.SIGWINCH in numbers:
            self._console.control(Control.clear())

    def _suspend(self) -> None:
        self._give_back()
        previous = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)  # here time passes
        signal.signal(signal.SIGTSTP, previous)
        self._take()

    def _take(self) -> None:
        if self._keys_from is not None:
            if self._attributes is None:
                self._attributes = termios.tcgetattr(self._keys_from)
            tty.setcbreak(self._keys_from, termios.TCSADRAIN)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        with suppress(OSError):  # a terminal that is gone
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
        if self._keys_from is not None and self._attributes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys_from, termios.TCSADRAIN, self._attributes)


def _nothing(_number: int, _frame: object) -> None:
    """Let the signal be written to the pipe."""
