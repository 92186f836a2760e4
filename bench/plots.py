"""The pictures, as SVG: a comparison, the curves of scale, the latencies of one run.

A cost spans decades, so axes are logarithmic; and because a bar on such an axis would begin nowhere, each server is a
dot, with the least and the most of the rounds behind it. A server has the same colour in every picture: mux its own,
the others that of the language they are written in.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from bench.compare import LIMIT, Comparison
from bench.loadgen.latencies import Counts, at_percentile
from bench.peers.registry import MUX, PEERS
from bench.report import Row, number, rows
from bench.scale import Curve
from bench.works import CASES, DISJOINT

OURS, INK, FAINT, RULE = "#d1345b", "#1f2933", "#7b8794", "#d9e0e6"
LANGUAGES = {"Python": "#5b8db8", "Node": "#6aa56f", "C": "#d39a3d"}

_MARKED = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)
"""Percentiles with a mark of their own: each further nine gets the same room, as an HDR histogram is read."""

_PANEL_INCHES = (6.4, 4.3)
_STYLE: Any = {  # its type lists every setting there is
    "font.size": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "svg.hashsalt": "mux",  # the same plot is the same file
    "svg.fonttype": "none",
}


def plot_comparison(comparison: Comparison, environment: dict[str, Any], directory: Path) -> Path | None:
    """Draw a panel for each work and return the file; None when there is nothing to draw."""
    cases = [case for case in CASES if any(row.value and row.value.median > 0 for row in rows(comparison, case))]
    subtitle = "Less is better; axes are logarithmic. Dot: median, line: least to most, hollow: lost messages, ×: mux"
    with _figure(directory / "compare.svg", "What the same work costs", subtitle, environment, len(cases)) as panels:
        for case, panel in zip(cases, panels, strict=True):
            if case is DISJOINT:
                _processes(panel, rows(comparison, case))
            else:
                _dots(panel, rows(comparison, case))
                panel.set_xlabel(case.unit.replace("us ", "µs "))
            panel.set_title(textwrap.fill(f"{case.name}: {case.title}", 52), fontsize=11)
    return directory / "compare.svg" if cases else None


def plot_curves(curves: Sequence[Curve], environment: dict[str, Any], directory: Path) -> Path:
    """Draw what was measured, the law fitted to it, and why it bends; return the file."""
    subtitle = "Dots are measured, the dashed line is the law fitted to them; both axes are logarithmic"
    with _figure(directory / "scale.svg", "How cost grows", subtitle, environment, len(curves)) as panels:
        for curve, panel in zip(curves, panels, strict=True):
            _logarithmic(panel, "xy")
            panel.plot(curve.x, [curve.fitted(x) for x in curve.x], "--", color=INK, lw=1.3)
            panel.plot(curve.x, curve.y, "o-", color=OURS, lw=2.5)
            panel.margins(y=0.2)
            for at in {0, len(curve.x) - 1}:
                _note(panel, number(curve.y[at]), curve.x[at], curve.y[at], is_ours=True, above=9)
            why = f"\n{textwrap.fill(f'It bends: {curve.why}.', 60)}" if curve.bends else ""
            panel.set_title(f"{curve.title}\n{curve.law}{why}", fontsize=10)
            panel.set(xlabel=curve.x_label, ylabel=curve.y_label)
    return directory / "scale.svg"


def plot_load(counts: Counts, environment: dict[str, Any], directory: Path, *, what: str) -> Path | None:
    """Draw latencies by percentile and return the file; None when nothing was delivered."""
    if not (total := int(counts.sum())):
        return None
    marked = [percent for percent in _MARKED if total * (100 - percent) / 100 >= 1] or [_MARKED[0]]
    one_in = [1 + 10 ** (at / 20) for at in range(20 * len(str(total)))]
    with _figure(directory / "load.svg", "One run of load", what, environment, 1) as (panel,):
        _logarithmic(panel, "xy")
        panel.plot(one_in, [at_percentile(counts, 100 - 100 / one) / 1e3 for one in one_in], color=OURS, lw=2.5)
        panel.set_xticks([100 / (100 - percent) for percent in marked], [f"{percent:g} %" for percent in marked])
        for percent in marked:
            value = at_percentile(counts, percent) / 1e3
            _note(panel, number(value), 100 / (100 - percent), value, is_ours=False, above=6)
        panel.set(title="Latency: how many were faster", ylabel="ms from the intended time")
        panel.set_xlabel(f"share of {total:,} deliveries")
    return directory / "load.svg"


def _dots(panel: Any, found: list[Row]) -> None:
    limit = next((row.value.median for row in found if row.name == LIMIT and row.value), None)
    servers = [row for row in reversed(found) if row.name != LIMIT]
    _logarithmic(panel, "x")
    for at, row in enumerate(servers):
        if row.value is None:
            panel.text(0.02, at, "failed", transform=panel.get_yaxis_transform(), va="center", style="italic")
            continue
        shade, is_ours = _colour(row.name), row.name == MUX.name
        panel.plot([row.value.least, row.value.most], [at, at], color=shade, lw=4, alpha=0.35)
        panel.plot(row.value.median, at, "o", ms=8, mfc="white" if row.lost else shade, mec=shade, mew=2)
        times = f"  ({number(row.to_mux.median, 2)} ×)" if row.to_mux and not is_ours else ""
        lost = f"  lost {number(row.details.get('lost %'), 2)} %" if row.lost else ""
        _note(panel, number(row.value.median) + times + lost, row.value.most, at, is_ours=is_ours, right=9)
    if limit:
        panel.axvline(limit, color=INK, ls="--", lw=1.2)
    panel.set_yticks(range(len(servers)), [row.name for row in servers])
    panel.margins(x=0.35)


def _processes(panel: Any, found: list[Row]) -> None:
    costs = {row.name: row.value.median for row in found if row.value}
    for name in dict.fromkeys(key.rpartition(" x")[0] for key in costs):
        points = [(n, costs[f"{name} x{n}"]) for n in DISJOINT.processes if f"{name} x{n}" in costs]
        x, y = zip(*points, strict=True)
        panel.plot(x, y, "o-", color=_colour(name), lw=2.5)
        _note(panel, f"{number(y[-1])}\n{name}", x[-1], y[-1], is_ours=name == MUX.name, right=9)
    panel.set(xlabel="processes", ylabel="µs of CPU per message, all processes", xticks=DISJOINT.processes)
    panel.set_xlim(min(DISJOINT.processes) - 0.3, max(DISJOINT.processes) * 1.7)
    panel.set_ylim(0, None)


def _note(panel: Any, text: str, x: float, y: float, *, is_ours: bool, right: int = 0, above: int = 0) -> None:
    note = panel.annotate(
        text, (x, y), xytext=(right, above), textcoords="offset points", va="center" if right else "bottom",
        fontsize=10, color=OURS if is_ours else INK, fontweight="bold" if is_ours else "normal",
    )  # fmt: skip
    note.set_in_layout(False)


def _logarithmic(panel: Any, axes: str) -> None:
    """Label an axis with 10, 100, 1k instead of powers."""
    for name, axis in (("x", panel.xaxis), ("y", panel.yaxis)):
        if name in axes:
            panel.set(**{f"{name}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if name == "y" else (1,), numticks=8))
            axis.set_major_formatter(EngFormatter(sep=""))
            axis.set_minor_locator(NullLocator())


def _colour(server: str) -> str:
    if server == MUX.name:
        return OURS
    language = next((peer.language for peer in PEERS if peer.name == server), "")
    return LANGUAGES.get(language, FAINT)


@contextmanager
def _figure(path: Path, title: str, subtitle: str, made: dict[str, Any], count: int) -> Iterator[list[Any]]:
    """Give so many panels, at most three beside each other, and save them with title and caption."""
    if not count:
        yield []
        return
    columns = min(3, count)
    lines = -(-count // columns)
    with plt.rc_context(_STYLE):
        size = (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * lines + 1)
        figure, found = plt.subplots(lines, columns, squeeze=False, figsize=size, layout="constrained")
        for panel in found.flat[count:]:
            panel.set_visible(False)
        yield list(found.flat[:count])
        machine = f"{made['cpus']} × {made['cpu']}, {made['system']}"
        caption = f"mux {made['versions'].get('mux', '')}, commit {made['commit']}, {made['date'][:10]}, {machine}"
        figure.suptitle(f"{title}\n{subtitle}", x=0.01, ha="left", fontsize=13)
        figure.supxlabel(f"{caption}, {made['command']}", x=0.01, ha="left", fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
