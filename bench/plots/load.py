"""The plots of one run of load: how late messages were, and how it went over time.

Latencies stand against percentiles the way an HDR histogram is read: the axis gives each further nine the same
room, so that the one message in ten thousand can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import StrMethodFormatter

from bench.loadgen.course import Moment
from bench.loadgen.latencies import Counts, percentiles
from bench.plots.style import FAINT, INK, OURS, caption, finish, panels, plain_numbers
from bench.screen import number

_MARKED = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)


def plot_load(
    counts: Counts, moments: Sequence[Moment], environment: dict[str, Any], directory: Path, *, what: str
) -> list[Path]:
    """Draw a run and return the files; none when nothing was delivered."""
    if not counts.sum():
        return []
    with panels(3 if len(moments) > 1 else 1, columns=3, width=6.2, height=4.4) as (figure, found):
        _latencies(found[0], counts)
        if len(moments) > 1:
            seconds = [moment.seconds for moment in moments]
            _over_time(found[1], seconds, [moment.delivered_per_second for moment in moments])
            found[1].set(title="Delivered a second", ylabel="deliveries/s")
            _over_time(found[2], seconds, [moment.p99_us / 1e3 for moment in moments])
            found[2].set(title="p99 of the moment", ylabel="ms from the intended time")
        return finish(
            figure,
            directory,
            "load",
            title="One run of load",
            subtitle=what,
            made_with=caption(environment),
        )


def _latencies(panel: Any, counts: Counts) -> None:
    total = int(counts.sum())
    marked = [percent for percent in _MARKED if total * (100 - percent) / 100 >= 1] or [_MARKED[0]]
    share, values = percentiles(counts)
    # The last one has nobody above it: it stands where half a message would.
    above = (1 - share).clip(0.5 / total)
    panel.plot(1 / above, values.clip(1) / 1e3, color=OURS, lw=2.5, drawstyle="steps-pre")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlim(0.6, 2 * total)
    panel.set_xticks([100 / (100 - percent) for percent in marked], [f"{percent:g} %" for percent in marked])
    panel.set_xticks([], minor=True)
    plain_numbers(panel.yaxis, between=True)
    for percent in marked:
        value = float(values[share.searchsorted(percent / 100).clip(0, len(values) - 1)]) / 1e3
        panel.annotate(
            number(value), (100 / (100 - percent), value), xytext=(-4, 6), textcoords="offset points", ha="right",
            fontweight="bold", color=INK,
        )  # fmt: skip
        panel.plot(100 / (100 - percent), value, "o", color=OURS, ms=6)
    panel.set_title("Latency: how many were faster", pad=10)
    panel.set_ylabel("ms from the intended time")
    panel.set_xlabel(f"share of {total:,} deliveries")
    panel.grid(visible=True, which="major")


def _over_time(panel: Any, seconds: Sequence[float], values: Sequence[float]) -> None:
    panel.plot(seconds, values, color=OURS, lw=2.5)
    panel.fill_between(seconds, values, color=OURS, alpha=0.1, lw=0)
    panel.set_ylim(0, max(values) * 1.15 or 1)
    panel.set_xlim(0, seconds[-1])
    panel.set_xlabel("seconds", color=FAINT)
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    panel.grid(visible=True)
    panel.title.set_position((0, 1.02))
