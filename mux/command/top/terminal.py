"""Lend the terminal to rich's Live: report keys as they are pressed, and signals; give it back at every end.

Rules:

1. Every mode that is changed is changed back however the program ends: by a key, an exception, SIGINT, SIGTERM or
   SIGHUP. While it is suspended (SIGTSTP, Ctrl-Z) the shell has its terminal as it was.
2. Signal handlers only report. The main thread obeys between two drawings, so nothing is interrupted in the middle.
3. The terminal still makes signals of Ctrl-C and Ctrl-Z: it is in cbreak mode, not raw.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread

from rich.live import Live

_REPORTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Terminal:
    """The terminal of this process, while the block of lent() runs."""

    def __init__(self, live: Live, keys_from: int | None) -> None:
        self._live = live
        self._keys_from = keys_from
        self._attributes = termios.tcgetattr(keys_from) if keys_from is not None else None

    @contextmanager
    def lent(self, report: Callable[[str | signal.Signals], None]) -> Iterator[None]:
        """Show the live view, and report keys and signals; only the main thread may call this.

        report is called from a thread and in signal handlers; SIGHUP is reported too when nobody can type any more.
        """
        with ExitStack() as undo:
            for number in _REPORTED:
                before = signal.signal(number, lambda number, _frame: report(signal.Signals(number)))
                undo.callback(signal.signal, number, before)
            undo.callback(self._give_back)
            self._take()
            if self._keys_from is not None:
                # A daemon: a read of a terminal cannot be interrupted, and must not keep the program.
                Thread(target=_read, args=(self._keys_from, report), name="keys", daemon=True).start()
            yield

    def obey(self, number: signal.Signals) -> None:
        """Do what a signal asks for.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            SystemExit: SIGTERM or SIGHUP, with the status a shell gives to them.
        """
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number in (signal.SIGTERM, signal.SIGHUP):
            sys.exit(128 + number)
        if number == signal.SIGTSTP:
            self._give_back()
            handlers = [signal.signal(signal.SIGTSTP, signal.SIG_DFL), signal.signal(signal.SIGCONT, signal.SIG_IGN)]
            signal.raise_signal(signal.SIGTSTP)  # here time passes
            signal.signal(signal.SIGTSTP, handlers[0])
            signal.signal(signal.SIGCONT, handlers[1])
            self._take()
        elif number == signal.SIGCONT:  # after a SIGSTOP: another program may have changed the terminal
            self._live.stop()
            self._take()

    def _take(self) -> None:
        if self._keys_from is not None:
            tty.setcbreak(self._keys_from, termios.TCSADRAIN)
        self._live.start()

    def _give_back(self) -> None:
        with suppress(OSError):  # a terminal that is gone
            self._live.stop()
        if self._keys_from is not None and self._attributes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys_from, termios.TCSADRAIN, self._attributes)


def _read(keys_from: int, report: Callable[[str | signal.Signals], None]) -> None:
    with suppress(OSError):  # a terminal that is gone
        while typed := os.read(keys_from, 1024):
            report(typed.decode(errors="replace"))
    report(signal.SIGHUP)
