"""The picture of `mux top`: a function of what is known, the size of the terminal and the time.

1. One accent colour for what moves, grey for what explains, red only for trouble; and trouble is a word or a
   sign too, to be seen without colours.
2. Nothing wraps. Columns leave in the order of their importance until the rest fits; processes that do not fit
   are counted ("… and 12 more").
3. A place stays a place: processes stand by their names while all fit, and the busiest first when not.

Pure but for rich: no clock, no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from mux.command.top.stats import Look, Missing, Process
from mux.command.top.text_table import GAP, Column, fitted, paragraph, table
from mux.command.top.trend import Trend
from mux.command.top.units import ASCII_BLOCKS, BLOCKS, count, duration, lag, size, spark

ACCENT = "cyan"
QUIET = "dim"
TROUBLE = "bold red"

MAX_WIDTH = 120
"""On a wider terminal the eye would lose the line between a name and its numbers."""

_CURVES = {
    "connections": "connections",
    "received/s": "received_per_second",
    "delivered/s": "delivered_per_second",
    "published/s": "published_per_second",
}

_PROCESS_COLUMNS = (
    Column("PROCESS", 12, 0),
    Column("UP", 7, 10),
    Column("CLIENTS", 7, 1),
    Column("CHANNELS", 8, 9),
    Column("IN/S", 6, 5),
    Column("OUT/S", 6, 2),
    Column("PENDING", 8, 6),
    Column("MEMORY", 8, 7),
    Column("LAG", 6, 8),
    Column("EVICTED", 7, 3),
    Column("GAPS", 6, 4),
)
_BAR_WIDTH = 20
_CHANNEL_COLUMNS = (
    Column("CHANNEL", 12, 0),
    Column("", _BAR_WIDTH, 3, right=False),
    Column("MESSAGES/S", 10, 1),
    Column("SUBSCRIBERS", 11, 2),
)


@dataclass(frozen=True, slots=True)
class Silence:
    """The server does not answer: for how long, and why."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything a picture shows.

    clock is the time of day of the look; now is the clock of the trend. everything draws all processes and
    channels whatever the height, and neither curves nor keys: for a file or a pipe.
    """

    url: str
    look: Look
    trend: Trend
    now: float
    clock: str
    silence: Silence | None = None
    everything: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw, in the width and height there are."""
        height = None if self.everything else options.height or options.size.height
        picture = _Picture(self, min(options.max_width, MAX_WIDTH), height, plain=options.ascii_only)
        for line in picture.lines():
            line.no_wrap = True
            line.overflow = "crop"
            yield line


class _Picture:
    """One drawing; height None has room for everything."""

    def __init__(self, view: View, width: int, height: int | None, *, plain: bool) -> None:
        self._view = view
        self._look = view.look
        self._width = width - 2  # a margin on each side
        self._height = height
        self._plain = plain
        self._ellipsis = "..." if plain else "…"

    def lines(self) -> Iterator[Text]:
        """Yield the lines of the picture, from the top."""
        tall = self._height is not None and self._height >= 18
        above = [self._header(), self._silence()]
        if tall:
            above += [*self._curves(), Text()]
        if self._height is None or self._height >= 10:
            above += [*paragraph(list(self._facts(totals=not tall)), self._width), Text()]
        below = [] if self._height is None or self._height < 8 else [Text("q quits", QUIET)]
        if tall:
            below.insert(0, Text())
        room = None if self._height is None else max(0, self._height - len(above) - len(below))
        tables = self._tables(room)
        space = [Text()] * (room - len(tables)) if room is not None else []
        for line in [*above, *tables, *space, *below]:
            yield Text(" ").append_text(line)

    def _header(self) -> Text:
        name = Text.assemble(("mux top", f"bold {ACCENT}"))
        number = len(self._look.processes)
        right = Text(f"{number} process{'' if number == 1 else 'es'}")
        if self._look.missing:
            right.append(f", {len(self._look.missing)} missing", TROUBLE)
        clock = Text(f"   {self._view.clock}", QUIET)
        if name.cell_len + GAP + right.cell_len + clock.cell_len <= self._width:
            right.append_text(clock)
        rest = self._width - right.cell_len - GAP
        if rest < name.cell_len:
            return fitted(name, self._width, ellipsis=not self._plain)
        if rest >= name.cell_len + GAP + 12:  # less of a URL says nothing
            name.append(" " * GAP).append(self._view.url, QUIET)
        return fitted(name, rest, ellipsis=not self._plain).append(" " * GAP).append_text(right)

    def _silence(self) -> Text:
        silence = self._view.silence
        if silence is None:
            return Text()
        said = Text(f"no answer for {silence.seconds:.0f} s: {silence.reason}", TROUBLE)
        return fitted(said, self._width, ellipsis=not self._plain)

    def _curves(self) -> Iterator[Text]:
        with_peak = self._width >= 58
        for title, name in _CURVES.items():
            curve = self._view.trend.curves[name]
            line = Text.assemble(
                (f"{title:<12}", QUIET), (f"{count(getattr(self._look.total, name)):>6}", "bold"), "  "
            )
            width = self._width - line.cell_len - (14 if with_peak else 0)
            line.append(spark(curve, width, ASCII_BLOCKS if self._plain else BLOCKS), ACCENT)
            if with_peak:
                line.append(f"  {'peak ' + count(max(list(curve)[-width:], default=0)):>12}", QUIET)
            yield line

    def _facts(self, *, totals: bool) -> Iterator[Text]:
        total = self._look.total
        growth = self._view.trend.total_growth(self._view.now)
        if totals:
            for title, name in _CURVES.items():
                yield _fact(title, count(getattr(total, name)))
        yield _fact("channels", count(total.channels))
        yield _fact("unheard/s", count(total.unheard_per_second))
        yield _fact("pending", size(total.pending_bytes))
        yield _fact("memory", size(total.memory_bytes))
        yield _fact("loop lag", lag(total.loop_lag_seconds))
        yield _fact("refused", count(sum(total.refused.values())))
        yield _fact("evicted", count(sum(total.evicted.values())), growth.evicted).append(
            _by_reason(total.evicted), QUIET
        )
        yield _fact("gaps", count(total.gaps), growth.gaps)

    def _tables(self, room: int | None) -> list[Text]:
        processes, channels = self._process_rows(), self._channel_rows()
        if room is None:
            room = len(processes) + len(channels) + 3
        for_processes, for_channels = share(room - 3, len(processes), len(channels))
        if for_channels < 1:
            for_processes = room - 1
        if len(processes) > for_processes:
            processes = self._busiest(for_processes)
        lines = list(table(_PROCESS_COLUMNS, processes, self._width, ellipsis=not self._plain))
        if for_channels >= 1:
            shown = channels[:for_channels]
            lines += [Text(), *table(_CHANNEL_COLUMNS, shown, self._width, ellipsis=not self._plain)]
        return lines[: max(room, 0)]

    def _process_rows(self) -> list[list[Text] | Text]:
        by_name = sorted(self._look.processes, key=lambda one: (one.host, one.pid))
        return [*map(_missing_row, self._look.missing), *map(self._process_row, by_name)]

    def _busiest(self, lines: int) -> list[list[Text] | Text]:
        busiest = sorted(self._look.processes, key=_busy_first)
        rows: list[list[Text] | Text] = [*map(_missing_row, self._look.missing), *map(self._process_row, busiest)]
        kept = max(lines - 1, 0)
        return [*rows[:kept], Text(f"{self._ellipsis} and {len(rows) - kept} more", QUIET)]

    def _process_row(self, process: Process) -> list[Text]:
        numbers = process.numbers
        growth = self._view.trend.growth(process.id, self._view.now)
        return [
            Text(f"{process.host}:{process.pid}"),
            Text(duration(numbers.uptime_seconds), QUIET),
            Text(count(numbers.connections)),
            Text(count(numbers.channels)),
            Text(count(numbers.received_per_second)),
            Text(count(numbers.delivered_per_second), ACCENT),
            Text(size(numbers.pending_bytes)),
            Text(size(numbers.memory_bytes)),
            Text(lag(numbers.loop_lag_seconds)),
            _counter(sum(numbers.evicted.values()), growth.evicted, 7),
            _counter(numbers.gaps, growth.gaps, 6),
        ]

    def _channel_rows(self) -> list[list[Text] | Text]:
        top = max((channel.messages_per_second for channel in self._look.channels), default=0)
        return [
            [
                Text(channel.name),
                Text(("=" if self._plain else "━") * _bar(channel.messages_per_second, top), ACCENT),
                Text(count(channel.messages_per_second), ACCENT),
                Text(count(channel.subscribers)),
            ]
            for channel in self._look.channels
        ]


def _busy_first(process: Process) -> tuple[float, float, str, int]:
    numbers = process.numbers
    return -numbers.delivered_per_second, -numbers.connections, process.host, process.pid


def share(lines: int, processes: int, channels: int) -> tuple[int, int]:
    """Return how many lines of a screen processes and channels get: all, else channels at least a third."""
    if processes + channels <= lines:
        return processes, channels
    for_channels = max(0, min(channels, max(lines - processes, lines // 3)))
    return lines - for_channels, for_channels


def _bar(value: float, top: float) -> int:
    return max(1, round(value / top * _BAR_WIDTH)) if value > 0 else 0


def _missing_row(missing: Missing) -> Text:
    return Text(f"{missing.host}:{missing.pid}  missing, silent for {duration(missing.silent_seconds)}", TROUBLE)


def _fact(title: str, value: str, growth: float = 0) -> Text:
    grown = f" +{count(growth)}" if growth else ""
    return Text.assemble((f"{title} ", QUIET), (value + grown, TROUBLE if growth else ""))


def _counter(value: float, growth: float, width: int) -> Text:
    if not growth:
        return Text(count(value), "" if value else QUIET)
    both = f"{count(value)} +{count(growth)}"
    return Text(both if len(both) <= width else f"+{count(growth)}", TROUBLE)


def _by_reason(counts: Mapping[str, float]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{name} {count(number)}" for name, number in most if number)
    return f" ({told})" if told else ""
