"""What all plots share: type, colours, axes in plain numbers, and the caption that says where they come from.

A server has the same colour in every plot: mux its own, the others that of the language they are written in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.peers.registry import MUX, PEERS

OURS = "#d1345b"
INK = "#1f2933"
FAINT = "#7b8794"
RULE = "#d9e0e6"
LIMIT_COLOUR = "#1f2933"

LANGUAGES = {"Python": "#5b8db8", "Node": "#6aa56f", "C": "#d39a3d"}
"""Colour of the servers written in it."""

_STYLE: Any = {  # its type lists every setting there is
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 10,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 10,
    "svg.hashsalt": "mux",  # the same plot is the same file
    "svg.fonttype": "none",
}

_DOTS_PER_INCH = 110
_CAPTION_INCHES = 0.45
_TITLE_INCHES = 1.0


def colour(server: str) -> str:
    """Return the colour of a server."""
    if server == MUX.name:
        return OURS
    language = next((peer.language for peer in PEERS if peer.name == server), "")
    return LANGUAGES.get(language, FAINT)


@contextmanager
def panels(count: int, *, columns: int, width: float, height: float) -> Iterator[tuple[Any, list[Any]]]:
    """Give a figure and so many panels of it, each of so many inches, in the style of all plots."""
    with plt.rc_context(_STYLE):
        columns = min(columns, count)
        lines = -(-count // columns)
        size = (width * columns, height * lines + _TITLE_INCHES + _CAPTION_INCHES)
        below, above = _CAPTION_INCHES / size[1], 1 - _TITLE_INCHES / size[1]
        layout = ConstrainedLayoutEngine(rect=(0.01, below, 0.98, above - below), w_pad=0.12, h_pad=0.16)
        figure = plt.figure(figsize=size, layout=layout)
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel in axes[count:]:
            panel.set_visible(False)
        yield figure, axes[:count]
        plt.close(figure)


def finish(figure: Any, directory: Path, name: str, *, title: str, subtitle: str, made_with: str) -> list[Path]:
    """Write title and caption, save as PNG and SVG, and return the files."""
    width, height = figure.get_size_inches()
    left = 0.22 / width
    figure.text(left, 1 - 0.22 / height, title, fontsize=19, fontweight="bold", va="top")
    figure.text(left, 1 - 0.60 / height, subtitle, fontsize=11.5, color=FAINT, va="top")
    figure.text(left, 0.16 / height, made_with, fontsize=9, color=FAINT, va="bottom")
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata=metadata)
    return paths


def caption(environment: dict[str, Any]) -> str:
    """Return commit, date, machine and command in a line."""
    return (
        f"mux {environment['versions'].get('mux', '')}, commit {environment['commit']}, {environment['date'][:10]}"
        f"   ·   {environment['cpus']} × {environment['cpu']}, {environment['system']}"
        f"   ·   {environment['command']}"
    )


def plain_numbers(axis: Any, *, between: bool = False) -> None:
    """Label a logarithmic axis with 10, 100, 1k instead of powers; between them 2 and 5, if wanted."""
    axis.set_major_formatter(FuncFormatter(_plainly))
    axis.set_minor_locator(LogLocator(subs=(2, 5)) if between else NullLocator())
    axis.set_minor_formatter(FuncFormatter(_plainly))


def _plainly(value: float, position: int) -> str:
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
