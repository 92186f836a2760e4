"""`mux top`: look once a second, draw, until q.

One thread looks, so that a server that takes its time does not keep the keys waiting, and one reads keys. Both report
to one queue, as signal handlers do; the main thread takes from it and draws.

1. The first look is before anything is drawn: a wrong address is one sentence in a terminal that is untouched.
2. After it nothing the server does ends the view: the last picture stays, and says since when.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import closing
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
from mux.command.top.screen import MAX_WIDTH, Silence, View
from mux.command.top.stats import Inspector, Look, short_reason
from mux.command.top.terminal import Terminal
from mux.command.top.trend import Trend
from mux.errors import ServerUnreachable

LOOK_SECONDS = 1.0

Event = Look | ServerUnreachable | Signals | str
"""What the view goes on with: a look or why there is none, a signal, or what was typed."""

_UNESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""Control characters that JSON may have as they are and a terminal may obey."""


def top(url: str, *, token: str | None = None, once: bool = False, json: bool = False, access: Access = NONE) -> None:
    """Show a fleet until q is pressed; once and into a pipe, one look and the end.

    Raises:
        InvalidSetting: url or token cannot be used.
        ServerUnreachable: nobody answers at url, the answer was no, or it was not mux'.
    """
    address = parse_server_url(url, access)
    with closing(Inspector(address, token)) as inspector:
        if json:
            _print_json(inspector, once=once)
        elif once or not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb", "unknown"):
            _print_table(address.url, inspector.look())
        else:
            _watch(address.url, inspector)


def _print_json(inspector: Inspector, *, once: bool) -> None:
    rest = threading.Event()  # never set: what is waited for is the time, or Ctrl-C
    while True:
        began = monotonic()
        print_line(orjson.dumps(inspector.look().raw).decode().translate(_UNESCAPED))
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


def _watch(url: str, inspector: Inspector) -> None:
    trend = Trend()
    look, answered, clock = inspector.look(), monotonic(), _clock()
    trend.take(look, answered)
    silence_reason: str | None = None
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="replace")  # a name need not be in the terminal's encoding
    keys_from = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    console = Console(force_terminal=True, force_interactive=True, highlight=False)
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    terminal = Terminal(live, keys_from)
    events: SimpleQueue[Event] = SimpleQueue()
    with terminal.lent(events.put), closing(_Looking(inspector, events.put)):
        while True:
            if events.empty():
                now = monotonic()
                silence = Silence(now - answered, silence_reason) if silence_reason is not None else None
                _draw(live, View(url, look, trend, now, clock, silence))
            try:
                event = events.get(timeout=LOOK_SECONDS)
            except Empty:
                continue
            if isinstance(event, Look):
                look, answered, clock, silence_reason = event, monotonic(), _clock(), None
                trend.take(look, answered)
            elif isinstance(event, ServerUnreachable):
                silence_reason = short_reason(event)
            elif isinstance(event, Signals):
                terminal.obey(event)
            elif "q" in event.lower():
                return


def _draw(live: Live, view: View) -> None:
    # Asked anew each time: COLUMNS and LINES, which rich would believe, are of the time before a resize.
    columns, lines = os.get_terminal_size(live.console.file.fileno())
    live.console.size = ConsoleDimensions(columns or 80, lines or 24)
    live.update(view, refresh=True)


class _Looking:
    """Looks once a second in a thread of its own, and reports what it found, until it is closed."""

    def __init__(self, inspector: Inspector, report: Callable[[Look | ServerUnreachable], None]) -> None:
        self._inspector = inspector
        self._report = report
        self._closed = threading.Event()
        # A daemon: a look up of a name cannot be interrupted, and must not keep the program.
        self._thread = threading.Thread(target=self._run, name="looking", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and a look that is under way."""
        self._closed.set()
        self._inspector.close()
        self._thread.join(0.5)

    def _run(self) -> None:
        began = monotonic()
        while not self._closed.wait(max(0.0, began + LOOK_SECONDS - monotonic())):
            began = monotonic()
            try:
                self._report(self._inspector.look())
            except ServerUnreachable as error:
                self._report(error)
            except Exception as error:  # noqa: BLE001 - the view says so; a thread that ends leaves it as if all were well
                self._report(ServerUnreachable(f"the answer cannot be used: {cause(error)}"))


def _clock() -> str:
    return f"{datetime.now():%H:%M:%S}"
