"""Reports of figures: medians, spread, ratios paired within a round, where mux is not first; as tables and prose.

The same rows are on the screen, in the plots, and in the two documents whose sections are written from the results
files and never by hand: the whole in bench/README.md, three sentences of it in README.md.

Which works mux is not first in comes from the figures; the reasons are written in reasons.toml, by work and by the
language of the server that is ahead. Where there is none yet, none is made up: the sentence says that it is not
explained, and a test of the committed results fails.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.compare import LIMIT, Comparison, Rounds
from bench.peers.registry import MUX, PEERS, PER_CHANNEL
from bench.works import BURST, CASES, DISJOINT, IDLE, LONGEST_BURST_SECONDS, LONGEST_SECONDS, Case, unheard_us

BEGIN = "<!-- bench: begin -->"
END = "<!-- bench: end -->"

UNEXPLAINED = "not explained yet"

_REASONS = tomllib.loads((Path(__file__).parent / "reasons.toml").read_text())

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 140  # a file or a pipe has no width; rich would take 80


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.least)} to {number(self.most)})"


@dataclass(frozen=True, slots=True)
class Row:
    """A server in a case."""

    name: str
    value: Spread | None
    """None when it failed in every round."""
    to_mux: Spread | None
    """The figure divided by that of mux."""
    to_limit: Spread | None
    details: dict[str, float]
    """Medians of all other figures."""

    @property
    def lost(self) -> float:
        """Deliveries lost."""
        return self.details.get("lost", 0.0)


def rows(comparison: Comparison, case: Case) -> list[Row]:
    """Return the servers of a case, the best first; those that failed come last."""
    results = comparison.cases.get(case.name, {})
    ours = f"{MUX.name} x1" if case.processes else MUX.name
    found = summarised(results, case.unit, ours)
    return sorted(found, key=lambda row: (row.value is None, row.value.median if row.value else 0.0))


def summarised(results: dict[str, Rounds], unit: str, ours: str = MUX.name) -> list[Row]:
    """Return a row for each server, in the order of the results."""
    found = []
    for name, rounds in results.items():
        done = [figures for figures in rounds if figures is not None]
        others = {key for figures in done for key in figures if key != unit}
        found.append(
            Row(
                name,
                _spread([figures[unit] for figures in done]),
                None if name == LIMIT else _paired(rounds, results.get(ours), unit),
                None if name == LIMIT else _paired(rounds, results.get(LIMIT), unit),
                {key: median(figures.get(key, 0.0) for figures in done) for key in others},
            )
        )
    return found


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def _paired(ours: Rounds, theirs: Rounds | None, unit: str) -> Spread | None:
    pairs = [(one, other) for one, other in zip(ours, theirs or (), strict=False) if one is not None and other]
    return _spread([one[unit] / other[unit] for one, other in pairs if other[unit]])


def losses(comparison: Comparison) -> Iterator[str]:
    """Give a line for each work in which mux is not first, as ratios paired within a round say it, with the reasons.

    A server that lost messages did not do the work, and is not ahead.
    """
    for case in CASES:
        found = [(row.to_mux.median, row) for row in rows(comparison, case) if row.to_mux and not row.lost]
        ahead = sorted(((ratio, row) for ratio, row in found if ratio < 1), key=lambda pair: pair[0])
        reasons: dict[str, list[str]] = {}
        for ratio, row in ahead:
            why = _REASONS.get(case.name, {}).get(_language(row), UNEXPLAINED)
            reasons.setdefault(why, []).append(f"{row.name} ({number(ratio, 2)} ×)")
        parts = [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
        if parts and not case.processes:
            yield f"**{case.name}**: {'. '.join(parts)}."


def _language(row: Row) -> str:
    return next((peer.language for peer in PEERS if peer.name == row.name), "")


def show(comparison: Comparison) -> None:
    """Print a table for each case, and which servers were not there."""
    for case in CASES:
        if found := rows(comparison, case):
            limit = ["x limit"] if case.has_limit else []
            columns = ["server", case.unit, "x mux", *limit, *case.extra, "lost"]
            table(f"{case.name}: {case.title}", columns, [_cells(case, row) for row in found])
    for name, about in comparison.peers.items():
        if "skipped" in about:
            console.print(f"skipped {name}: {about['skipped']}; {about['install']}", soft_wrap=True)
    for what, reason in comparison.failures.items():
        console.print(f"failed {what}: {reason}", soft_wrap=True)


def _cells(case: Case, row: Row) -> list[str]:
    limit = [str(row.to_limit or "")] if case.has_limit else []
    extra = [number(row.details.get(key)) for key in case.extra]
    return [row.name, str(row.value or "failed"), str(row.to_mux or ""), *limit, *extra, f"{row.lost:,.0f}"]


def table(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table; the first columns are text, the others numbers."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for at, column in enumerate(columns):
        shown.add_column(column, justify="left" if at < left else "right", overflow="fold")
    for row in cells:
        shown.add_row(*row)
    console.print(shown)


def number(value: float | None, digits: int = 3) -> str:
    """Return so many significant digits, without an exponent."""
    if value is None:
        return "-"
    if not value:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:#.{digits}g}".rstrip(".")


def write_documents(root: Path, results: Path, *, check: bool) -> list[Path]:
    """Put the sections between the markers of both documents; return those that had to be changed.

    Args:
        root: the directory of README.md and bench/README.md.
        results: the directory with compare.json and scale.json.
        check: write nothing.

    Raises:
        ValueError: a document has not both markers.
        OSError: a file cannot be read or written.
    """
    content = json.loads((results / "compare.json").read_text())
    scale = json.loads((results / "scale.json").read_text()) if (results / "scale.json").exists() else None
    comparison = Comparison.from_json(content)
    changed = []
    sections = {"README.md": sentences(comparison), "bench/README.md": section(content, comparison, scale)}
    for name, lines in sections.items():
        path = root / name
        text = path.read_text()
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{path} needs the lines {BEGIN} and {END}")
        wanted = "\n".join([before + BEGIN, "", *lines, "", END + after])
        if wanted != text:
            changed.append(path)
            if not check:
                path.write_text(wanted)
    return changed


def sentences(comparison: Comparison) -> Iterator[str]:
    """Give the three figures of the README: the best, the cheapest, and the case that is bad for us."""
    burst, idle = ({row.name: row for row in rows(comparison, case)} for case in (BURST, IDLE))
    bad = {row.name: row.value.median for row in rows(comparison, DISJOINT) if row.value}
    for found, text in (
        (burst, "- In a burst to 1,000 clients of one channel a delivery costs mux {} µs of CPU,"),
        (idle, "- An idle connection takes {} KiB of mux' memory,"),
    ):
        ours, theirs = found.get(MUX.name), found.get(PER_CHANNEL.name)
        if ours and ours.value and theirs and theirs.to_mux:
            times = number(theirs.to_mux.median, 2)
            mux = text.format(number(ours.value.median))
            yield f"{mux} and Sanic with one PubSub per channel {times} times as much."
    costs = {name: [bad.get(f"{name} x{n}") for n in DISJOINT.processes] for name in (MUX.name, PER_CHANNEL.name)}
    adds = [
        number(unheard_us({n: cost for n, cost in zip(DISJOINT.processes, found, strict=True) if cost is not None}))
        for found in costs.values()
        if None not in found
    ]
    if len(adds) == len(costs):
        yield (
            f"- The case that is bad for us: when every channel is on one process only, each further process adds"
            f" {adds[0]} µs of CPU to every message, and {adds[1]} µs with one PubSub per channel."
        )


def section(content: dict[str, Any], comparison: Comparison, scale: dict[str, Any] | None) -> Iterator[str]:
    """Give the lines of bench/README.md that come from the results."""
    yield from markdown(comparison)
    yield ""
    yield (
        "Medians; in brackets how many times mux' cost it is, or for mux how many times the limit's, paired within"
        " each round. The limit is a loop of `send()` of ready bytes. † lost messages, or did not deliver them within"
        f" {LONGEST_SECONDS:g} s of the last ({LONGEST_BURST_SECONDS:g} s where all are due at once). A server that"
        " lost a tenth was not asked again in the next round."
    )
    if lost := list(losses(comparison)):
        yield from ("", "**Where mux is not first, and why**, with how many times mux' cost theirs is:", "")
        yield from (f"- {one}" for one in lost)
    if bad := list(markdown_disjoint(comparison)):
        yield ""
        yield (
            "The case that is bad for us, channels spread over several processes: every process hears every message,"
            " and Redis sends it to each."
        )
        yield from ("", *bad)
    yield from ("", "![What the same work costs](results/compare.svg)")
    if scale is not None:
        made = scale["environment"]
        yield from ("", f"How cost grows (`{made['command']}`, commit {made['commit']}):", "")
        yield from ("| | law fitted | |", "|---|---|---|")
        for curve in scale["curves"]:
            bend = f"bends: {curve['why']}" if curve["bends"] else ""
            yield f"| {curve['title']}, {curve['y_label']} | {curve['law']} | {bend} |"
        yield from ("", "![How cost grows](results/scale.svg)")
    yield from ("", _made_with(content, comparison))


def markdown(comparison: Comparison) -> Iterator[str]:
    """Give the lines of a table with a row for each server and a column for each case."""
    cases = [case for case in CASES if not case.processes and comparison.cases.get(case.name)]
    yield "| | " + " | ".join(f"{case.name}<br>{case.unit.replace('us ', 'µs ')}" for case in cases) + " |"
    yield "|---|" + "---:|" * len(cases)
    found = [{row.name: row for row in rows(comparison, case)} for case in cases]
    for name in [LIMIT, *(name for name, about in comparison.peers.items() if "skipped" not in about)]:
        shown = f"**{name}**" if name == MUX.name else name
        yield f"| {shown} | " + " | ".join(_cell(servers.get(name)) for servers in found) + " |"


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return "failed" if row else ""
    text = number(row.value.median)
    if row.name == MUX.name:
        text = f"**{text}** ({number(row.to_limit.median, 2)} x limit)" if row.to_limit else text
    elif row.to_mux is not None:
        text += f" ({number(row.to_mux.median, 2)} x)"
    return f"{text} †" if row.lost else text


def markdown_disjoint(comparison: Comparison) -> Iterator[str]:
    """Give the lines of the table of the case that is bad for us."""
    found = {row.name: row for row in rows(comparison, DISJOINT)}
    numbers = DISJOINT.processes
    if not found:
        return
    yield "| processes | " + " | ".join(map(str, DISJOINT.processes)) + " | each further process |"
    yield "|---|" + "---:|" * (len(DISJOINT.processes) + 1)
    for name in dict.fromkeys(key.rpartition(" x")[0] for key in found):
        servers = [found[key] for n in DISJOINT.processes if (key := f"{name} x{n}") in found and found[key].value]
        if len(servers) < len(DISJOINT.processes):
            continue
        cpu = [row.value.median for row in servers if row.value]
        cells = " | ".join(f"{number(value)}{' †' * bool(row.lost)}" for value, row in zip(cpu, servers, strict=True))
        # Messages that were lost were not paid for, so a difference says nothing.
        more = "" if any(row.lost for row in servers) else number(unheard_us(dict(zip(numbers, cpu, strict=True))))
        yield f"| {name}, CPU µs a message | {cells} | {more} |"
        out = [row.details["Redis bytes/message"] for row in servers]
        more = number(unheard_us(dict(zip(numbers, out, strict=True))))
        yield f"| {name}, Redis output bytes a message | {' | '.join(map(number, out))} | {more} |"


def _made_with(content: dict[str, Any], comparison: Comparison) -> str:
    made: dict[str, Any] = content["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    others = "; ".join(about["version"] for about in comparison.peers.values() if about.get("version"))
    rounds = "1 round: no spread" if content["rounds"] == 1 else f"{content['rounds']} rounds"
    return (
        f"`{made['command']}`, commit {made['commit']}, {made['date'][:10]}, {rounds}, {made['cpu']}, {made['cpus']}"
        f" CPUs, {made['system']}, Python {made['python']}: {versions}. Peers: {others}."
    )
