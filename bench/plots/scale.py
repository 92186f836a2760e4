"""The plots of the scale curves: what was measured, the law fitted to it, and why it bends."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.curve import Curve
from bench.plots.style import FAINT, INK, OURS, caption, finish, panels, plain_numbers
from bench.screen import number

_FEW = 10
"""Up to so many on the x axis every step has its own mark."""


def plot_curves(curves: Sequence[Curve], environment: dict[str, Any], directory: Path) -> list[Path]:
    """Draw scale curves and return the files."""
    with panels(len(curves), columns=3, width=6.0, height=4.4) as (figure, found):
        for curve, panel in zip(curves, found, strict=True):
            _curve(panel, curve)
        return finish(
            figure,
            directory,
            "scale",
            title="How cost grows",
            subtitle="Dots are measured, the dashed line is the law fitted to them; both axes are logarithmic.",
            made_with=caption(environment),
        )


def _curve(panel: Any, curve: Curve) -> None:
    panel.loglog(curve.x, [curve.fitted(x) for x in curve.x], ls=(0, (4, 2)), color=INK, lw=1.3)
    panel.loglog(curve.x, curve.y, "o-", color=OURS, lw=2.5, ms=7)
    least, most = min(curve.y), max(curve.y)
    room = (most / least) ** 0.45 * 1.5
    panel.set_ylim(least / 1.5, most * room)
    panel.set_xlim(curve.x[0] / 1.3, curve.x[-1] * 1.3)
    plain_numbers(panel.xaxis)
    plain_numbers(panel.yaxis, between=most / least < 100)
    if curve.x[-1] < _FEW:
        panel.set_xticks(curve.x, [f"{x:g}" for x in curve.x])
    for at in (0, -1):
        panel.annotate(
            number(curve.y[at]), (curve.x[at], curve.y[at]), xytext=(0, 9), textcoords="offset points",
            ha="left" if at == 0 else "right", color=OURS, fontweight="bold",
        )  # fmt: skip
    panel.set_title(curve.title, pad=10)
    panel.set_xlabel(curve.x_label)
    panel.set_ylabel(curve.y_label)
    panel.grid(visible=True, which="major")
    panel.text(0.03, 0.97, curve.law, transform=panel.transAxes, va="top", fontsize=11, fontweight="bold")
    if curve.bends:
        why = textwrap.fill(f"It bends: {curve.why}.", 62)
        panel.text(0.03, 0.90, why, transform=panel.transAxes, va="top", fontsize=9.5, color=FAINT)
