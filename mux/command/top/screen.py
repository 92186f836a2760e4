"""The picture of `mux top`, in rich's tables: a function of what is known, the size of the terminal and the time.

1. One accent colour for what moves, grey for what explains, red only for trouble; and trouble is a word or a
   sign too, to be seen without colours.
2. Nothing wraps. A column is there from the width on that it needs; processes that do not fit are counted
   ("… and 12 more").
3. A place stays a place: processes stand by their names while all fit, and the busiest first when not.
4. Whatever a server says is a Text: rich reads no markup in one.

Pure but for rich: no clock, no terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, OverflowMethod, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.layout import Layout
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mux.command.top.stats import Channel, Look, Process
from mux.command.top.trend import Trend
from mux.command.top.units import ASCII_BLOCKS, BLOCKS, BYTES, SECONDS, amount, spark

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


@dataclass(frozen=True, slots=True)
class Column:
    """A column, shown on a terminal of at least from_width characters; the first one takes the width that is left."""

    title: str
    width: int = 0
    from_width: int = 0


_PROCESS_COLUMNS = (
    Column("PROCESS"),
    Column("UP", 8, 106),
    Column("CLIENTS", 7, 23),
    Column("CHANNELS", 8, 96),
    Column("IN/S", 6, 56),
    Column("OUT/S", 6, 31),
    Column("PENDING", 8, 66),
    Column("MEMORY", 8, 76),
    Column("LAG", 7, 86),
    Column("EVICTED", 7, 40),
    Column("GAPS", 6, 48),
)
_BAR_WIDTH = 20
_CHANNEL_COLUMNS = (
    Column("CHANNEL"),
    Column("", _BAR_WIDTH, 61),
    Column("MESSAGES/S", 10, 26),
    Column("SUBSCRIBERS", 11, 39),
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
        width = min(options.max_width, MAX_WIDTH) - 2  # a margin on each side
        picture = _Picture(self, width, plain=options.ascii_only)
        if self.everything:
            drawn: RenderableType = Group(*picture.above(None), picture.tables(None))
        else:
            height = options.height or options.size.height
            above = Group(*picture.above(height))
            used = len(console.render_lines(above, options.update(width=width, height=None), pad=False))
            below = 2 if height >= 18 else 1 if height >= 8 else 0
            drawn = Layout()
            drawn.split_column(
                Layout(Group(above, picture.tables(max(0, height - used - below)))),
                Layout(Text("\n" * (below - 1) + "q quits", QUIET), size=below or 1, visible=below > 0),
            )
        yield Constrain(Padding(drawn, (0, 1)), MAX_WIDTH)


class _Picture:
    """The parts of a drawing of this width; plain is for a terminal that is not UTF-8."""

    def __init__(self, view: View, width: int, *, plain: bool) -> None:
        self._view = view
        self._look = view.look
        self._width = width
        self._plain = plain
        self._overflow: OverflowMethod = "crop" if plain else "ellipsis"

    def above(self, height: int | None) -> Iterator[RenderableType]:
        """Yield what stands above the tables; a height of None has no curves, and room for all else."""
        yield self._header()
        silence = self._view.silence
        yield self._line(f"no answer for {silence.seconds:.0f} s: {silence.reason}" if silence else "", TROUBLE)
        tall = height is not None and height >= 18
        if tall:
            yield from (self._curves(), Text())
        if height is None or height >= 10:
            yield from (*_paragraph(self._facts(totals=not tall), self._width), Text())

    def processes(self, lines: int) -> Iterator[RenderableType]:
        """Yield the processes, the busiest and a count of the others when there are fewer lines."""
        shown, missing = sorted(self._look.processes, key=lambda one: (one.host, one.pid)), self._look.missing
        more = 0
        if len(missing) + len(shown) > lines:
            kept = max(lines - 1, 0)
            more = len(missing) + len(shown) - kept
            missing = missing[:kept]
            shown = sorted(shown, key=_busy_first)[: kept - len(missing)]
        yield self._table(_PROCESS_COLUMNS, [], titles=True)
        for one in missing:
            silence = amount(one.silent_seconds, SECONDS)
            yield self._line(f"{one.host}:{one.pid}  missing, silent for {silence}", TROUBLE)
        yield self._table(_PROCESS_COLUMNS, [self._process_cells(one) for one in shown], titles=False)
        if more:
            yield self._line(f"{'...' if self._plain else '…'} and {more} more", QUIET)

    def channels(self, lines: int) -> Iterator[RenderableType]:
        """Yield the busiest channels."""
        channels = self._look.channels[:lines]
        top = max((channel.messages_per_second for channel in channels), default=0)
        yield Text()
        yield self._table(_CHANNEL_COLUMNS, [_channel_cells(channel, top or 1) for channel in channels], titles=True)

    def tables(self, room: int | None) -> RenderableType:
        """Return both tables, in so many lines; None is as many as they need."""
        processes, channels = len(self._look.processes) + len(self._look.missing), len(self._look.channels)
        room = processes + channels + 3 if room is None else room
        for_processes, for_channels = share(room - 3, processes, channels)
        if for_channels < 1:
            return Group(*self.processes(room - 1))
        return Group(*self.processes(for_processes), *self.channels(for_channels))

    def _header(self) -> RenderableType:
        number = len(self._look.processes)
        right = Text(f"{number} process{'' if number == 1 else 'es'}")
        if self._look.missing:
            right.append(f", {len(self._look.missing)} missing", TROUBLE)
        if self._width >= 38:
            right.append(f"   {self._view.clock}", QUIET)
        name = Text.assemble(("mux top", f"bold {ACCENT}"))
        if self._width >= 58:  # less of a URL says nothing
            name.append(f"  {self._view.url}", QUIET)
        header = Table.grid(padding=(0, 2, 0, 0), expand=True)
        header.add_column(ratio=1, no_wrap=True, overflow=self._overflow)
        header.add_column(no_wrap=True)
        fits = self._width >= len("mux top  ") + right.cell_len
        header.add_row(name, *([right] if fits else []))
        return header

    def _curves(self) -> RenderableType:
        with_peak = self._width >= 58
        width = self._width - (35 if with_peak else 21)
        curves = Table.grid(padding=(0, 2, 0, 0))
        columns = ((False, 12), (True, 5), (False, width), (True, 12))
        for right, fixed in columns if with_peak else columns[:3]:
            curves.add_column(width=fixed, justify="right" if right else "left", no_wrap=True)
        for title, name in _CURVES.items():
            values = self._view.trend.curves[name]
            cells = [
                Text(title, QUIET),
                Text(amount(getattr(self._look.total, name)), "bold"),
                Text(spark(values, width, ASCII_BLOCKS if self._plain else BLOCKS), ACCENT),
                Text(f"peak {amount(max(list(values)[-max(width, 1) :], default=0))}", QUIET),
            ]
            curves.add_row(*(cells if with_peak else cells[:3]))
        return curves

    def _facts(self, *, totals: bool) -> Iterator[Text]:
        total = self._look.total
        growth = self._view.trend.total_growth(self._view.now)
        if totals:
            for title, name in _CURVES.items():
                yield _fact(title, amount(getattr(total, name)))
        yield _fact("channels", amount(total.channels))
        yield _fact("unheard/s", amount(total.unheard_per_second))
        yield _fact("pending", amount(total.pending_bytes, BYTES))
        yield _fact("memory", amount(total.memory_bytes, BYTES))
        yield _fact("loop lag", amount(total.loop_lag_seconds, SECONDS))
        yield _fact("refused", amount(sum(total.refused.values())))
        evicted = _fact("evicted", amount(sum(total.evicted.values())), growth.evicted)
        yield evicted.append(_by_reason(total.evicted), QUIET)
        yield _fact("gaps", amount(total.gaps), growth.gaps)

    def _process_cells(self, process: Process) -> list[RenderableType]:
        numbers = process.numbers
        growth = self._view.trend.growth(process.id, self._view.now)
        return [
            Text(f"{process.host}:{process.pid}"),
            Text(amount(numbers.uptime_seconds, SECONDS), QUIET),
            Text(amount(numbers.connections)),
            Text(amount(numbers.channels)),
            Text(amount(numbers.received_per_second)),
            Text(amount(numbers.delivered_per_second), ACCENT),
            Text(amount(numbers.pending_bytes, BYTES)),
            Text(amount(numbers.memory_bytes, BYTES)),
            Text(amount(numbers.loop_lag_seconds, SECONDS)),
            _counter(sum(numbers.evicted.values()), growth.evicted, 7),
            _counter(numbers.gaps, growth.gaps, 6),
        ]

    def _table(self, columns: Sequence[Column], rows: Sequence[Sequence[RenderableType]], *, titles: bool) -> Table:
        shown = [at for at, column in enumerate(columns) if self._width + 2 >= column.from_width]
        table = Table(box=None, expand=True, padding=(0, 0, 0, 2), pad_edge=False, header_style=QUIET)
        table.show_header = titles
        table.add_column(columns[0].title, ratio=1, no_wrap=True, overflow=self._overflow)
        for at in shown[1:]:
            width = columns[at].width
            table.add_column(columns[at].title, width=width, justify="right", no_wrap=True, overflow=self._overflow)
        for row in rows:
            table.add_row(*(row[at] for at in shown))
        return table

    def _line(self, text: str, style: str) -> Text:
        return Text(text, style, no_wrap=True, overflow=self._overflow)


def _busy_first(process: Process) -> tuple[float, float, str, int]:
    numbers = process.numbers
    return -numbers.delivered_per_second, -numbers.connections, process.host, process.pid


def share(lines: int, processes: int, channels: int) -> tuple[int, int]:
    """Return how many lines of a screen processes and channels get: all, else channels at least a third."""
    if processes + channels <= lines:
        return processes, channels
    for_channels = max(0, min(channels, max(lines - processes, lines // 3)))
    return lines - for_channels, for_channels


def _channel_cells(channel: Channel, top: float) -> list[RenderableType]:
    rate = channel.messages_per_second
    return [
        Text(channel.name),
        ProgressBar(top, rate, _BAR_WIDTH, complete_style=ACCENT, finished_style=ACCENT),
        Text(amount(rate), ACCENT),
        Text(amount(channel.subscribers)),
    ]


def _paragraph(facts: Iterable[Text], width: int) -> list[Text]:
    """Return lines of facts, three spaces apart; a fact is never divided."""
    lines: list[Text] = []
    for fact in facts:
        if lines and lines[-1].cell_len + 3 + fact.cell_len <= width:
            lines[-1].append("   ").append_text(fact)
        else:
            lines.append(fact)
            fact.no_wrap = True
    return lines


def _fact(title: str, value: str, growth: float = 0) -> Text:
    grown = f" +{amount(growth)}" if growth else ""
    return Text.assemble((f"{title} ", QUIET), (value + grown, TROUBLE if growth else ""))


def _counter(value: float, growth: float, width: int) -> Text:
    if not growth:
        return Text(amount(value), "" if value else QUIET)
    both = f"{amount(value)} +{amount(growth)}"
    return Text(both if len(both) <= width else f"+{amount(growth)}", TROUBLE)


def _by_reason(counts: Mapping[str, float]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{name} {amount(number)}" for name, number in most if number)
    return f" ({told})" if told else ""
