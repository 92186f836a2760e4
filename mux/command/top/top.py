"""`mux top`: look once a second, draw, until q.

One thread looks, so that a slow server does not keep the keys waiting, and one reads keys. Both report to one queue, as
signal handlers do; the main thread takes from it and draws.

1. The first look is before anything is drawn: a wrong address is one sentence in a terminal that is untouched.
2. After it nothing the server does ends the view: the last picture stays, and says since when.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from queue import Empty, SimpleQueue
from signal import Signals
from time import monotonic
from typing import cast

import orjson
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from mux.command.access import NONE, Access
from mux.command.lines import print_line
from mux.command.server_url import cause, parse_server_url
from mux.command.top.screen import MAX_WIDTH, View
from mux.command.top.stats import FleetReader, Look, short_reason
from mux.command.top.terminal import Terminal
from mux.command.top.trend import Trend
from mux.errors import ServerUnreachable

LOOK_SECONDS = 1.0
"""Seconds from one look to the next."""

Report = Look | ServerUnreachable | Signals | str
"""A look or why there is none, a signal, or what was typed."""

_ESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""Control characters that JSON may have as they are and a terminal may obey."""


def top(url: str, *, token: str | None = None, once: bool = False, json: bool = False, access: Access = NONE) -> None:
    """Show a fleet until q is pressed; once and into a pipe, one look and the end.

    Raises:
        InvalidSetting: url or token cannot be used.
        ServerUnreachable: nobody answers at url, the answer was no, or it was not mux'.
    """
    address = parse_server_url(url, access)
    with closing(FleetReader(address, token)) as reader:
        if json:
            _print_json(reader, once=once)
        elif once or not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb", "unknown"):
            _print_table(address.url, reader.look())
        else:
            _watch(address.url, reader)


def _print_json(reader: FleetReader, *, once: bool) -> None:
    rest = threading.Event()  # never set: only the time ends the waiting, or Ctrl-C
    while True:
        began = monotonic()
        print_line(orjson.dumps(reader.look().raw).decode().translate(_ESCAPED))
        if once:
            return
        rest.wait(max(0.0, began + LOOK_SECONDS - monotonic()))


def _print_table(url: str, look: Look) -> None:
    """Print everything of one look; with colours in a terminal, and as wide as it is."""
    console = Console(width=None if sys.stdout.isatty() else MAX_WIDTH, highlight=False)
    with console.capture() as capture:
        console.print(View(url, look, Trend(), monotonic(), _clock(), everything=True))
    for line in capture.get().removesuffix("\n").split("\n"):
        print_line(line.rstrip())


def _watch(url: str, reader: FleetReader) -> None:
    trend = Trend()
    look, answered, clock = reader.look(), monotonic(), _clock()
    trend.take(look, answered)
    why = ""
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="replace")  # a name need not be in the terminal's encoding
    keys_from = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    console = Console(force_terminal=True, force_interactive=True, highlight=False)
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    terminal = Terminal(live, keys_from)
    reports: SimpleQueue[Report] = SimpleQueue()
    with terminal.lent(reports.put), looking(reader, reports.put):
        while True:
            if reports.empty():
                now = monotonic()
                trouble = f"no answer for {now - answered:.0f} s: {why}" if why else ""
                _draw(live, View(url, look, trend, now, clock, trouble))
            try:
                report = reports.get(timeout=LOOK_SECONDS)
            except Empty:
                continue
            if isinstance(report, Look):
                look, answered, clock, why = report, monotonic(), _clock(), ""
                trend.take(look, answered)
            elif isinstance(report, ServerUnreachable):
                why = short_reason(report)
            elif isinstance(report, Signals):
                terminal.obey(report)
            elif "q" in report.lower():
                return


def _draw(live: Live, view: View) -> None:
    # Asked each time: COLUMNS and LINES, which rich would believe, are of the time before a resize.
    columns, lines = os.get_terminal_size(live.console.file.fileno())
    live.console.size = ConsoleDimensions(columns or 80, lines or 24)
    live.update(view, refresh=True)


@contextmanager
def looking(reader: FleetReader, report: Callable[[Look | ServerUnreachable], None]) -> Iterator[None]:
    """Look once a second in a thread and report what was found, while the block runs; a look under way is ended."""
    ended = threading.Event()

    def look() -> None:
        began = monotonic()
        while not ended.wait(max(0.0, began + LOOK_SECONDS - monotonic())):
            began = monotonic()
            try:
                report(reader.look())
            except ServerUnreachable as error:
                report(error)
            except Exception as error:  # noqa: BLE001 - shown; if the thread ended the view would stay as if all were well
                report(ServerUnreachable(f"the answer cannot be used: {cause(error)}"))

    # A daemon: looking up the name of a host cannot be interrupted, and must not keep the program.
    thread = threading.Thread(target=look, name="looking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        reader.close()
        thread.join(0.5)


def _clock() -> str:
    return f"{datetime.now():%H:%M:%S}"
