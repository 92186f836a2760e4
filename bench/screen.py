"""What a person sees: a progress bar with a live line, and tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.loadgen.run import Load
from bench.loadgen.worker import LIVE_SECONDS
from bench.measure import Result, Say

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 140  # a file or a pipe has no width; rich would take 80

_UNKNOWN = "-"


@contextmanager
def progress(title: str = "") -> Iterator[Say]:
    """Show a bar for as long as the block runs, and a live line of delivered/s, lost and p99."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[live]}"),
        console=console,
    ) as bar:
        task = bar.add_task(title, total=1.0, live="")
        rate = _Rate()

        def say(what: str, done: float, delivered: int, missing: int, p99_us: int) -> None:
            live = ""
            if delivered:
                rate.take(delivered)
                live = f"{rate.per_second:,.0f} delivered/s, {missing:,} lost, p99 {p99_us / 1e3:,.1f} ms"
            bar.update(task, description=f"{title} {what}".strip(), completed=done, live=live)

        yield say
        bar.update(task, completed=1.0, live="")


class _Rate:
    """Deliveries a second, over at least as long as a live line stands."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._at = time.monotonic()
        self._seen = 0

    def take(self, delivered: int) -> None:
        now = time.monotonic()
        if delivered < self._seen:
            self._seen = 0
        if now - self._at >= LIVE_SECONDS * 0.8:
            self.per_second = (delivered - self._seen) / (now - self._at)
            self._at, self._seen = now, delivered


def number(value: float | None, digits: int = 3) -> str:
    """Return so many significant digits, without an exponent."""
    if value is None:
        return _UNKNOWN
    if not value:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table; the first columns are text, the others numbers."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for at, column in enumerate(columns):
        shown.add_column(column, justify="left" if at < left else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def show_load(result: Result, load: Load) -> None:
    """Print the table of `python -m bench load`."""
    rows = [
        ("clients", f"{result.clients:,}", "connected and joined"),
        ("connects", number(result.connects_per_second), "per second"),
        ("p99 until joined", number(result.wait_p99_ms), "ms"),
        ("server CPU per connection", number(result.handshake_cpu_us), "us"),
        (
            "resident memory",
            number(None if result.rss_bytes_each is None else result.rss_bytes_each / 1024),
            "KiB each",
        ),
    ]
    if load.messages:
        rows += [
            ("published", f"{result.published:,}", f"messages, at most {number(result.publisher_late_ms)} ms late"),
            ("delivered", f"{result.delivered:,}", f"of {result.expected:,}"),
            ("delivered", number(result.delivered_per_second), "per second"),
            ("lost", f"{result.lost:,}", ""),
            ("duplicated", f"{result.duplicated:,}", ""),
            ("reordered", f"{result.reordered:,}", ""),
            ("closed by the server", f"{result.closed:,}", "clients"),
            *((name, number(value), "ms from the intended time") for name, value in (result.latency_ms or {}).items()),
            ("server CPU per delivery", number(result.cpu_us), "us"),
            ("  of it user", number(result.cpu_user_us), "us"),
            ("  of it system", number(result.cpu_system_us), "us"),
            ("Redis CPU per publish", number(result.redis_cpu_us), "us"),
            ("Redis output per publish", number(result.redis_bytes), "bytes"),
        ]
    shown = Table(show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    shown.add_column(style="dim")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def show_path(path: Path) -> None:
    """Say where something was written."""
    console.print(f"written: {path}", soft_wrap=True)
