"""A comparison as text: on the screen, and in the README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from bench import screen
from bench.compare import LIMIT, Comparison
from bench.disjoint import DISJOINT, PROCESSES, unheard_us
from bench.peers.registry import MUX
from bench.screen import number
from bench.summary import ALL_CASES, Row, Spread, rows
from bench.works import Case

_EXTRA = {
    "burst": ("delivered/s", "p99 ms"),
    "steady": ("p50 ms", "p99 ms", "p99.9 ms"),
    "many": ("p50 ms", "p99 ms", "p99.9 ms"),
    "many-flat-out": ("delivered/s",),
    "echo": ("p50 ms", "p99 ms", "us Redis CPU/publish"),
    "churn": ("Redis commands", "us Redis CPU", "p99 ms", "p99.9 ms"),
    "storm": ("connects/s", "us CPU/connection"),
    DISJOINT: ("Redis bytes/message", "us Redis CPU/message", "p99 ms"),
}

_CELL = 60
"""Characters of a reason in a table; the whole of it follows below on the screen, and is in the results file."""


def show(comparison: Comparison) -> None:
    """Print a table for each case, and who was not there."""
    for case in ALL_CASES:
        found = rows(comparison, case)
        if found:
            cells = [_cells(case, row) for row in found]
            screen.table(f"{case.name}: {case.title}", _columns(case), cells)
    for name, about in comparison.peers.items():
        if "skipped" in about:
            screen.console.print(f"skipped {name}: {about['skipped']}; {about['install']}", soft_wrap=True)
    for what, reason in comparison.failures.items():
        screen.console.print(f"failed {what}: {reason}", soft_wrap=True)


def markdown(comparison: Comparison) -> Iterator[str]:
    """Give the lines of the README's table: a row for each server, a column for each case."""
    cases = [case for case in ALL_CASES if case.name != DISJOINT and comparison.cases.get(case.name)]
    yield "| | " + " | ".join(_heading(case) for case in cases) + " |"
    yield "|---|" + "---:|" * len(cases)
    names = [LIMIT, *(name for name, about in comparison.peers.items() if "skipped" not in about)]
    tables = {case.name: {row.name: row for row in rows(comparison, case)} for case in cases}
    for name in names:
        shown = f"**{name}**" if name == MUX.name else name
        yield f"| {shown} | " + " | ".join(_cell(tables[case.name].get(name), name) for case in cases) + " |"


def markdown_disjoint(comparison: Comparison) -> Iterator[str]:
    """Give the lines of the table of the case that is bad for us."""
    results = comparison.cases.get(DISJOINT)
    if not results:
        return
    found = {row.name: row for row in rows(comparison, ALL_CASES[-1])}
    yield "| processes | " + " | ".join(map(str, PROCESSES)) + " | each further process |"
    yield "|---|" + "---:|" * (len(PROCESSES) + 1)
    for name in dict.fromkeys(key.rpartition(" x")[0] for key in results):
        ordered = [found.get(f"{name} x{processes}") for processes in PROCESSES]
        if any(row is None or row.value is None for row in ordered):
            continue
        is_whole = not any(row.lost for row in ordered if row)
        cpu = [row.value.median for row in ordered if row and row.value]
        more = unheard_us({n: {"us CPU/message": value} for n, value in zip(PROCESSES, cpu, strict=True)})
        cells = " | ".join(f"{number(row.value.median)}{_dagger(row)}" for row in ordered if row and row.value)
        # What was lost was not paid for, so a difference says nothing.
        yield f"| {name}, CPU µs a message | {cells} | {number(more) if is_whole else ''} |"
        out = [row.details["Redis bytes/message"] for row in ordered if row]
        more = (out[-1] - out[0]) / (PROCESSES[-1] - 1)
        yield f"| {name}, Redis output bytes a message | {' | '.join(map(number, out))} | {number(more)} |"


def _heading(case: Case) -> str:
    unit = case.unit.replace("us ", "µs ")
    return f"{case.name}<br>{unit}"


def _cell(row: Row | None, name: str) -> str:
    if row is None:
        return ""
    if row.value is None:
        return _failed(row)
    text = number(row.value.median)
    if name == MUX.name and row.to_limit is not None:
        text = f"**{text}** ({number(row.to_limit.median, 2)} x limit)"
    elif row.to_mux is not None and name != MUX.name:
        text += f" ({number(row.to_mux.median, 2)} x)"
    return text + _dagger(row)


def _dagger(row: Row) -> str:
    return " †" if row.lost else ""


def _failed(row: Row) -> str:
    """Return why there is no figure, as long as a cell may be."""
    if not row.why_failed:
        return "failed"
    return f"failed: {textwrap.shorten(row.why_failed.replace('|', '/'), _CELL, placeholder=' …')}"


def _columns(case: Case) -> list[str]:
    limit = ["x limit"] if case.has_limit else []
    return ["server", case.unit, "least to most", "x mux", *limit, *_EXTRA.get(case.name, ()), "lost"]


def _cells(case: Case, row: Row) -> list[str]:
    cells = [row.name, number(row.value.median) if row.value else _failed(row), _range(row.value), _times(row.to_mux)]
    if case.has_limit:
        cells.append(_times(row.to_limit))
    cells += [number(row.details.get(key)) for key in _EXTRA.get(case.name, ())]
    return [*cells, f"{row.lost:,.0f}" if row.details else ""]


def _range(value: Spread | None) -> str:
    return f"{number(value.least)} to {number(value.most)}" if value else ""


def _times(value: Spread | None) -> str:
    return f"{number(value.median)} ({number(value.least)} to {number(value.most)})" if value else ""
