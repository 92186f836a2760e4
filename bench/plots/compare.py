"""The plots of a comparison: a panel for each work, a line for each server.

A cost spans decades, so axes are logarithmic; and because a bar on such an axis would begin nowhere, each server is
a dot, with the least and the most of the rounds behind it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.compare import LIMIT, Comparison
from bench.disjoint import DISJOINT, DISJOINT_CASE, PROCESSES
from bench.peers.registry import MUX
from bench.plots.style import FAINT, INK, LANGUAGES, LIMIT_COLOUR, OURS, RULE, caption, colour, finish, plain_numbers
from bench.plots.style import panels as new_panels
from bench.screen import number
from bench.summary import ALL_CASES, Row, rows
from bench.works import Case

_TITLES = {
    "burst": "Burst: 1,000 messages back to back to 1,000 clients",
    "steady": "Steady: 100 messages/s to 1,000 clients",
    "many": "5,000 channels, 10,000 messages/s",
    "many-flat-out": "5,000 channels, as fast as it goes",
    "echo": "Publish and echo: 50 clients, 4,000 messages/s",
    "idle": "An idle connection",
    "churn": "Join a channel and leave",
    "storm": "5,000 clients connect at once",
}
_UNITS = {
    "us CPU/delivery": "µs of server CPU per delivery",
    "KiB/connection": "KiB of memory",
    "us CPU/join and leave": "µs of server CPU",
    "s until all are served": "seconds until all are served",
}
_ROOM, _LOST_ROOM = 0.36, 0.52
"""The share of an axis that is for the labels beside the dots."""

_NARROW = 30
"""An axis from one to so many needs more marks than the powers of ten."""


def plot_comparison(comparison: Comparison, environment: dict[str, Any], directory: Path) -> list[Path]:
    """Draw a comparison and return the files; none when there is nothing to draw."""
    cases = [case for case in ALL_CASES if case.name in _TITLES and _drawn(comparison, case)]
    has_disjoint = any(row.value for row in rows(comparison, DISJOINT_CASE))
    count = len(cases) + has_disjoint
    if not count:
        return []
    with new_panels(count, columns=3, width=6.6, height=4.1) as (figure, panels):
        for case, panel in zip(cases, panels, strict=False):
            _dots(panel, comparison, case)
        if has_disjoint:
            _processes(panels[-1], comparison)
        _legend(figure)
        return finish(
            figure,
            directory,
            "compare",
            title="mux beside its peers: what the same work costs",
            subtitle="Less is better; axes are logarithmic. Dot: median of the rounds, line: least to most, "
            "hollow: lost messages, ×: times mux, paired within a round.",
            made_with=caption(environment),
        )


def _drawn(comparison: Comparison, case: Case) -> list[Row]:
    return [row for row in rows(comparison, case) if row.value is not None and row.value.median > 0]


def _dots(panel: Any, comparison: Comparison, case: Case) -> None:
    found = _drawn(comparison, case)
    limit = next((row.value.median for row in found if row.name == LIMIT and row.value), None)
    servers = [row for row in reversed(found) if row.name != LIMIT]
    failed = [row.name for row in rows(comparison, case) if row.value is None]
    least = min(row.value.least for row in found if row.value)
    most = max(row.value.most for row in found if row.value)
    panel.set_xscale("log")
    left, room = least / 1.5, _LOST_ROOM if any(row.lost for row in servers) else _ROOM
    panel.set_xlim(left, most * (most / left) ** (room / (1 - room)))
    for at, row in enumerate(servers, start=len(failed)):
        _dot(panel, at, row)
    for at in range(len(failed)):
        panel.text(least, at, "failed", va="center", fontsize=10, color=FAINT, style="italic")
        panel.axhline(at, color=RULE, lw=0.8, zorder=0)
    names = [*failed, *(row.name for row in servers)]
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(-0.7, len(names) - 0.3 + (0.35 if limit else 0))
    for label in panel.get_yticklabels():
        is_ours = label.get_text() == MUX.name
        label.set(color=OURS if is_ours else INK, fontweight="bold" if is_ours else "normal")
    if limit:
        panel.axvline(limit, color=LIMIT_COLOUR, ls=(0, (3, 2)), lw=1.2, zorder=1)
        panel.text(
            limit, 1.0, " limit: a loop of send()", transform=panel.get_xaxis_transform(), fontsize=9, color=FAINT,
            ha="left", va="top",
        )  # fmt: skip
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.grid(visible=True, axis="x")
    plain_numbers(panel.xaxis, between=most / least < _NARROW)
    panel.set_title(_TITLES[case.name], pad=10)
    panel.set_xlabel(_UNITS.get(case.unit, case.unit))


def _dot(panel: Any, at: int, row: Row) -> None:
    assert row.value is not None, "a server without a value is not drawn"
    shade, is_ours = colour(row.name), row.name == MUX.name
    panel.axhline(at, color=RULE, lw=0.8, zorder=0)
    panel.plot([row.value.least, row.value.most], [at, at], color=shade, lw=4, alpha=0.35, solid_capstyle="round")
    face = "white" if row.lost else shade
    panel.plot(row.value.median, at, "o", ms=10 if is_ours else 8, mfc=face, mec=shade, mew=2, zorder=3)
    text = number(row.value.median)
    if row.to_mux is not None and not is_ours:
        text += f"  ({number(row.to_mux.median, 2)} ×)"
    if row.lost:
        text += f"  lost {number(row.details.get('lost %'), 2)} %"
    panel.annotate(
        text, (row.value.most, at), xytext=(9, 0), textcoords="offset points", va="center", fontsize=10,
        color=OURS if is_ours else INK, fontweight="bold" if is_ours else "normal", zorder=4,
        bbox={"boxstyle": "square,pad=0.12", "fc": "white", "ec": "none"},
    )  # fmt: skip


def _processes(panel: Any, comparison: Comparison) -> None:
    results = {row.name: row for row in rows(comparison, DISJOINT_CASE)}
    most = 0.0
    for name in dict.fromkeys(key.rpartition(" x")[0] for key in comparison.cases[DISJOINT]):
        points = [(n, row.value.median) for n in PROCESSES if (row := results.get(f"{name} x{n}")) and row.value]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        most = max(most, *y)
        is_ours = name == MUX.name
        panel.plot(x, y, "o-", color=colour(name), lw=2.5, ms=8)
        panel.annotate(
            f"{number(y[-1])}  {name.replace(', ', chr(10))}", (x[-1], y[-1]), xytext=(9, 0), va="center",
            textcoords="offset points", color=OURS if is_ours else INK, fontweight="bold" if is_ours else "normal",
        )  # fmt: skip
    panel.set_title("The bad case: more processes", pad=10)
    panel.set_xlabel("processes")
    panel.set_ylabel("µs of CPU per message, all processes")
    panel.set_xticks(PROCESSES)
    panel.set_xlim(min(PROCESSES) - 0.3, max(PROCESSES) * 1.5)
    panel.set_ylim(0, most * 1.25)
    panel.grid(visible=True, axis="y")


def _legend(figure: Any) -> None:
    width, height = figure.get_size_inches()
    marks = [(MUX.name, OURS), *LANGUAGES.items()]
    for at, (name, shade) in enumerate(marks):
        x = 1 - (0.3 + 0.85 * (len(marks) - at)) / width
        figure.text(x, 1 - 0.3 / height, "●", color=shade, fontsize=14, va="center")
        figure.text(x + 0.2 / width, 1 - 0.3 / height, name, fontsize=11, va="center")
