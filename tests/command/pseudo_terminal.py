"""A program in a terminal of its own: what it writes is drawn by an emulator, what is typed reaches it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pyte

from tests.support.servers import PATIENCE_SECONDS

MUX = [sys.executable, "-m", "mux"]


class PseudoTerminal:
    """A terminal with a program that is the leader of its session; typed and shown as text."""

    def __init__(self, command: list[str], columns: int, lines: int, env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.said = b""
        """Everything the program wrote."""
        self._set_size(columns, lines)
        self.attributes_before = termios.tcgetattr(theirs)
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env},
        )
        self._theirs = theirs  # kept open: the attributes can be read when the program has ended

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def attributes(self) -> list[Any]:
        """The terminal's attributes now."""
        return termios.tcgetattr(self._theirs)

    def line(self, with_text: str) -> str:
        """Return the first line that has this in it."""
        return next(line for line in self.text.splitlines() if with_text in line)

    def colours(self, of_text: str) -> set[str]:
        """Return the foregrounds of this text, where it is first on the screen."""
        for at, line in enumerate(self._screen.display):
            column = line.find(of_text)
            if column >= 0:
                return {self._screen.buffer[at][column + step].fg for step in range(len(of_text))}
        raise AssertionError(f"{of_text!r} is not on the screen:\n{self.text}")

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window; the terminal tells the program (SIGWINCH)."""
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def until(self, condition: Callable[[str], object]) -> str:
        """Read until the screen is as wanted, and return its text."""
        deadline = monotonic() + PATIENCE_SECONDS
        while not condition(self.text):
            assert monotonic() < deadline, f"not so in time:\n{self.text}"
            self._read(0.1)
        return self.text

    def until_shown(self, *texts: str) -> str:
        """Read until all of this is on the screen."""
        return self.until(lambda shown: all(text in shown for text in texts))

    def ended(self) -> int:
        """Read until the program ends, and return its status."""
        deadline = monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert monotonic() < deadline, f"it does not end:\n{self.text}"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def close(self) -> None:
        """End the program and the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return False
        piece = os.read(self._ours, 65536)
        self.said += piece
        self._stream.feed(piece)
        return True

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def terminal(
    *command: str, columns: int = 100, lines: int = 30, env: dict[str, str] | None = None
) -> Iterator[PseudoTerminal]:
    """Run a program in a terminal for as long as the block runs."""
    one = PseudoTerminal(list(command), columns, lines, env or {})
    try:
        yield one
    finally:
        one.close()


def mux(*arguments: str) -> list[str]:
    """Return the command that runs mux."""
    return [*MUX, *arguments]
