"""Draw the picture of `mux top` in rich's tables: a function of what is known, the size of the terminal and the time.

1. One accent colour for what moves, grey for what explains, red only for trouble; and trouble is a word or a
   sign too, to be seen without colours.
2. Nothing wraps. A column is there from the width on that it needs; processes that do not fit are counted
   ("… and 12 more").
3. Processes stand in the order of their names while all fit, and the busiest first when not.
4. Whatever a server says is a Text: rich reads no markup in one.

Pure but for rich: no clock, no terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
"""Most columns that are used; on a wider terminal the eye would lose the line between a name and its numbers."""

CURVES_FROM = 18
"""Fewest lines of a terminal that shows curves; a smaller one shows their last points."""

_CURVES = {
    "connections": "connections",
    "received/s": "received_per_second",
    "delivered/s": "delivered_per_second",
    "published/s": "published_per_second",
}

Columns = Sequence[tuple[str, int, int]]
"""Title, width, and how wide a terminal has to be to show it; the first column takes the width that is left."""

_PROCESS_COLUMNS: Columns = (
    ("PROCESS", 0, 0),
    ("UP", 8, 106),
    ("CLIENTS", 7, 23),
    ("CHANNELS", 8, 96),
    ("IN/S", 6, 56),
    ("OUT/S", 6, 31),
    ("PENDING", 8, 66),
    ("MEMORY", 8, 76),
    ("LAG", 7, 86),
    ("EVICTED", 7, 40),
    ("GAPS", 6, 48),
)
_BAR_WIDTH = 20
_CHANNEL_COLUMNS: Columns = (
    ("CHANNEL", 0, 0),
    ("", _BAR_WIDTH, 61),
    ("MESSAGES/S", 10, 26),
    ("SUBSCRIBERS", 11, 39),
)


@dataclass(frozen=True, slots=True)
class View:
    """Everything a picture shows.

    clock is the time of day of the look; now is the clock of the trend. trouble says why there is no newer look, and is
    empty while the server answers. everything draws all processes and channels whatever the height, and neither curves
    nor keys: for a file or a pipe.
    """

    url: str
    look: Look
    trend: Trend
    now: float
    clock: str
    trouble: str = ""
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
            below = 2 if height >= CURVES_FROM else 1 if height >= 8 else 0
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
        """Yield the parts above the tables; a height of None has no curves, and room for all else."""
        yield self._header()
        yield self._line(self._view.trouble, TROUBLE)
        has_curves = height is not None and height >= CURVES_FROM
        if has_curves:
            yield from (self._curves(), Text())
        if height is None or height >= 10:
            yield from (*_paragraph(self._facts(totals=not has_curves), self._width), Text())

    def tables(self, lines: int | None) -> RenderableType:
        """Return both tables, in so many lines; None is as many as they need."""
        processes, channels = len(self._look.processes) + len(self._look.missing), len(self._look.channels)
        lines = processes + channels + 3 if lines is None else lines
        for_processes, for_channels = share(lines - 3, processes, channels)
        if for_channels < 1:
            return Group(*self._processes(lines - 1))
        return Group(*self._processes(for_processes), Text(), self._channels(for_channels))

    def _processes(self, lines: int) -> Iterator[RenderableType]:
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

    def _channels(self, lines: int) -> RenderableType:
        """Return the busiest channels."""
        channels = self._look.channels[:lines]
        most = max((channel.messages_per_second for channel in channels), default=0) or 1
        return self._table(_CHANNEL_COLUMNS, [_channel_cells(channel, most) for channel in channels], titles=True)

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
        has_peak = self._width >= 58
        width = self._width - (35 if has_peak else 21)
        blocks = ASCII_BLOCKS if self._plain else BLOCKS
        curves = Table.grid(padding=(0, 2, 0, 0))
        for justify, fixed in (("left", 12), ("right", 5), ("left", width), ("right", 12))[: 4 if has_peak else 3]:
            curves.add_column(width=fixed, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # a Literal
        for title, name in _CURVES.items():
            values = list(self._view.trend.curves[name])
            cells = [
                Text(title, QUIET),
                Text(amount(getattr(self._look.total, name)), "bold"),
                Text(spark(values, width, blocks), ACCENT),
                Text(f"peak {amount(max(values[-max(width, 1) :], default=0))}", QUIET),
            ]
            curves.add_row(*cells[: 4 if has_peak else 3])
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
        most = sorted(total.evicted.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{name} {amount(number)}" for name, number in most if number)
        evicted = _fact("evicted", amount(sum(total.evicted.values())), growth.evicted)
        yield evicted.append(f" ({reasons})" if reasons else "", QUIET)
        gaps = _fact("gaps", amount(total.gaps), growth.gaps)
        yield gaps.append(f" (healed {amount(total.healed)})" if total.healed else "", QUIET)
        yield _fact("journal", f"{amount(total.journal_bytes, BYTES)} {amount(total.journal_seconds, SECONDS)}")
        refused = sum(total.resumes_refused.values())
        resumed = _fact("resumed", amount(total.resumes))
        yield resumed.append(f" (refused {amount(refused)})" if refused else "", QUIET)

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

    def _table(self, columns: Columns, rows: Sequence[Sequence[RenderableType]], *, titles: bool) -> Table:
        table = Table(box=None, expand=True, padding=(0, 0, 0, 2), pad_edge=False, header_style=QUIET)
        table.show_header = titles
        shown = [at for at, (_, _, from_width) in enumerate(columns) if self._width + 2 >= from_width]
        for at in shown:
            title, width, _ = columns[at]
            table.add_column(
                title,
                width=width or None,
                ratio=None if width else 1,
                justify="right" if width else "left",
                no_wrap=True,
                overflow=self._overflow,
            )
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


def _channel_cells(channel: Channel, most: float) -> list[RenderableType]:
    rate = channel.messages_per_second
    return [
        Text(channel.name),
        ProgressBar(most, rate, _BAR_WIDTH, complete_style=ACCENT, finished_style=ACCENT),
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
