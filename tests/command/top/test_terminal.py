"""Lending a terminal: what no program in a pseudo-terminal can be made to meet on time."""

from __future__ import annotations

import io
import os
import pty
import signal
from queue import SimpleQueue

import pytest
from rich.console import Console
from rich.live import Live

from mux.command.top.terminal import Terminal
from tests.support.servers import PATIENCE_SECONDS

ALTERNATE_SCREEN = "\x1b[?1049h"


@pytest.fixture
def written() -> io.StringIO:
    """What the terminal is told."""
    return io.StringIO()


@pytest.fixture
def live(written: io.StringIO) -> Live:
    """A view in a terminal that is not there."""
    console = Console(file=written, force_terminal=True, _environ={"TERM": "xterm"})
    return Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def test_a_terminal_that_is_gone_hangs_up(live: Live) -> None:
    """Nobody can press a key any more: that is no reason to spin, nor for a traceback."""
    ours, theirs = pty.openpty()
    reports: SimpleQueue[object] = SimpleQueue()
    terminal = Terminal(live, theirs)
    with terminal.lent(reports.put):
        os.write(ours, b"a")
        assert reports.get(timeout=PATIENCE_SECONDS) == "a"
        os.close(ours)
        assert reports.get(timeout=PATIENCE_SECONDS) == signal.SIGHUP
        with pytest.raises(SystemExit, match="129"):
            terminal.obey(signal.SIGHUP)
    os.close(theirs)


def test_after_a_stop_the_terminal_is_taken_again(live: Live, written: io.StringIO) -> None:
    """SIGSTOP cannot be seen coming; whoever had the terminal meanwhile may have changed it."""
    reports: SimpleQueue[object] = SimpleQueue()
    terminal = Terminal(live, None)
    with terminal.lent(reports.put):
        signal.raise_signal(signal.SIGCONT)
        assert reports.get(timeout=PATIENCE_SECONDS) == signal.SIGCONT
        terminal.obey(signal.SIGCONT)
        assert written.getvalue().count(ALTERNATE_SCREEN) == 2


def test_handlers_are_given_back(live: Live) -> None:
    """Who used it is interrupted by Ctrl-C as before."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
    before = [signal.getsignal(number) for number in numbers]
    with Terminal(live, None).lent(lambda _: None):
        assert not set(map(signal.getsignal, numbers)) & set(before)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_terminal_that_refuses_to_be_written_gets_its_modes_back(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written any more does not keep the rest from being given back."""
    before = signal.getsignal(signal.SIGTERM)

    def gone() -> None:
        raise OSError(5, "Input/output error")

    with Terminal(live, None).lent(lambda _: None):
        live.stop()
        monkeypatch.setattr(live, "stop", gone)
    assert signal.getsignal(signal.SIGTERM) == before
