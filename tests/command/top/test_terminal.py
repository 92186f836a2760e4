"""Lending a terminal: what no program in a pseudo-terminal can be made to meet on time."""

from __future__ import annotations

import io
import os
import pty
import signal
import threading

import pytest
from rich.console import Console

from mux.command.top.terminal import Terminal

ALTERNATE_SCREEN = "\x1b[?1049h"


@pytest.fixture
def written() -> io.StringIO:
    """What the terminal is told."""
    return io.StringIO()


@pytest.fixture
def console(written: io.StringIO) -> Console:
    """A terminal that is not there."""
    return Console(file=written, force_terminal=True, _environ={"TERM": "xterm"})


def test_a_terminal_that_is_gone_ends_the_view(console: Console) -> None:
    """Nobody can press a key any more: that is no reason to spin, nor for a traceback."""
    ours, theirs = pty.openpty()
    with pytest.raises(KeyboardInterrupt), Terminal(console, theirs) as terminal:
        os.close(ours)
        while True:
            terminal.wait(20)
    os.close(theirs)


def test_after_a_stop_the_terminal_is_taken_again(console: Console, written: io.StringIO) -> None:
    """SIGSTOP cannot be seen coming; whoever had the terminal meanwhile may have changed it."""
    with Terminal(console, None) as terminal:
        signal.raise_signal(signal.SIGCONT)
        assert terminal.wait(20) == ""
        assert written.getvalue().count(ALTERNATE_SCREEN) == 2


def test_a_thread_wakes_it_as_often_as_it_likes(console: Console) -> None:
    """Wake-ups that nobody has seen yet are one; a full pipe stops no thread."""
    with Terminal(console, None) as terminal:

        def wake() -> None:
            for _ in range(100_000):
                terminal.wake()

        thread = threading.Thread(target=wake)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        assert terminal.wait(20) == ""


def test_handlers_are_given_back(console: Console) -> None:
    """Who used it is interrupted by Ctrl-C as before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)]
    with Terminal(console, None):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)] == before
