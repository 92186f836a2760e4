"""Plots, as PNG and SVG, fit for a slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from bench.compare import DISJOINT, LIMIT, Comparison
from bench.disjoint import PROCESSES
from bench.peers.registry import MUX
from bench.screen import number
from bench.summary import ALL_CASES, rows

OURS = "#d1495b"
OTHERS = "#9fb1bd"
BOUND = "#2f3e46"

_STYLE: Any = {  # its type lists every setting there is
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "mux",  # the same plot is the same file
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}
_TITLES = {
    "burst": "Burst: 1,000 messages to 1,000 clients",
    "steady": "Steady: 100 messages/s to 1,000 clients",
    "many": "Many channels: 5,000, 10,000 messages/s",
    "many-flat-out": "Many channels, flat out",
    "echo": "Publish and echo: 4,000/s",
    "idle": "Idle connection",
    "churn": "Join and leave",
    "storm": "5,000 clients connect at once",
}


def plot_comparison(comparison: Comparison, directory: Path) -> list[Path]:
    """Draw a comparison and return the files."""
    cases = [case for case in ALL_CASES if case.name in _TITLES and rows(comparison, case)]
    has_disjoint = bool(comparison.cases.get(DISJOINT))
    count = len(cases) + has_disjoint
    if not count:
        return []
    with plt.rc_context(_STYLE):
        columns = min(3, count)
        lines = -(-count // columns)
        figure, axes = plt.subplots(lines, columns, figsize=(6.2 * columns, 3.4 * lines), squeeze=False)
        panels = list(axes.flat)
        for case, panel in zip(cases, panels, strict=False):
            _bars(panel, comparison, case)
        if has_disjoint:
            _processes(panels[len(cases)], comparison)
        for panel in panels[count:]:
            panel.set_visible(False)
        figure.suptitle("mux beside its peers: less is better, each axis logarithmic", fontsize=15, fontweight="bold")
        return _saved(figure, directory, "compare")


def plot_curves(curves: Sequence[Any], directory: Path) -> list[Path]:
    """Draw scale curves and return the files."""
    with plt.rc_context(_STYLE):
        columns = min(3, len(curves))
        lines = -(-len(curves) // columns)
        figure, axes = plt.subplots(lines, columns, figsize=(5.6 * columns, 3.7 * lines), squeeze=False)
        panels = list(axes.flat)
        for curve, panel in zip(curves, panels, strict=False):
            panel.loglog(curve.x, curve.y, "o-", color=OURS, lw=2)
            panel.loglog(curve.x, [curve.fitted(x) for x in curve.x], "--", color=BOUND, lw=1.2, label=curve.law)
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(_plainly)
                axis.set_minor_formatter(_between if axis is panel.yaxis else NullFormatter())
            panel.set_ylim(min(curve.y) / 1.5, max(curve.y) * 1.8)
            if curve.x[-1] < 10:
                panel.set_xticks(curve.x, [f"{x:g}" for x in curve.x])
            panel.set_title(curve.title)
            panel.set_xlabel(curve.x_label)
            panel.set_ylabel(curve.y_label)
            panel.legend(frameon=False, fontsize=9)
            panel.grid(visible=True, which="major", alpha=0.25)
        for panel in panels[len(curves) :]:
            panel.set_visible(False)
        figure.suptitle("How cost grows", fontsize=15, fontweight="bold")
        return _saved(figure, directory, "scale")


def _bars(panel: Any, comparison: Comparison, case: Any) -> None:
    found = [row for row in rows(comparison, case) if row.value is not None]
    bars = [row for row in reversed(found) if row.name != LIMIT]
    values = [row.value.median for row in bars if row.value]
    low = [row.value.median - row.value.least for row in bars if row.value]
    high = [row.value.most - row.value.median for row in bars if row.value]
    colors = [OURS if row.name == MUX.name else OTHERS for row in bars]
    names = [row.name + (" †" if row.lost else "") for row in bars]
    panel.barh(names, values, color=colors, xerr=[low, high], error_kw={"lw": 1, "ecolor": BOUND})
    for at, (row, value) in enumerate(zip(bars, values, strict=True)):
        most = row.value.most if row.value else value
        panel.text(most * 1.08, at, number(value), va="center", fontsize=9)
    limit = next((row.value.median for row in found if row.name == LIMIT and row.value), None)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(_plainly)
    panel.xaxis.set_minor_formatter(NullFormatter())
    least = min([*values, *([limit] if limit else [])])
    panel.set_xlim(least / 2, max(values) * 5)
    if limit:
        panel.axvline(limit, color=BOUND, ls="--", lw=1)
        panel.text(limit, len(bars) - 0.4, " limit", fontsize=9, color=BOUND, ha="left", va="bottom")
    panel.set_title(_TITLES[case.name], pad=14)
    panel.set_xlabel(case.unit.replace("us ", "µs "))
    panel.tick_params(axis="y", length=0)
    for label in panel.get_yticklabels():
        if label.get_text() == MUX.name:
            label.set_fontweight("bold")


def _plainly(value: float, position: int) -> str:
    for unit, name in ((1_000_000, "M"), (10_000, "k")):
        if value >= unit:
            return f"{value / (unit if name == 'M' else 1000):g}{name}"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _between(value: float, position: int) -> str:
    # Between the powers of ten, two and five are enough.
    return _plainly(value, position) if f"{value:e}"[0] in "25" else ""


def _processes(panel: Any, comparison: Comparison) -> None:
    results = {row.name: row for row in rows(comparison, ALL_CASES[-1])}
    for name in dict.fromkeys(key.rpartition(" x")[0] for key in comparison.cases[DISJOINT]):
        points = [(n, row.value.median) for n in PROCESSES if (row := results.get(f"{name} x{n}")) and row.value]
        color = OURS if name == MUX.name else "#5b7f95"
        panel.plot([n for n, _ in points], [value for _, value in points], "o-", color=color, lw=2, label=name)
    panel.set_title("The bad case: more processes", pad=14)
    panel.set_xlabel("processes")
    panel.set_ylabel("µs CPU/message, all processes")
    panel.set_xticks(PROCESSES)
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False)
    panel.grid(visible=True, alpha=0.25)


def _saved(figure: Any, directory: Path, name: str) -> list[Path]:
    paths = [directory / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return paths
