"""The picture of `mux top` in the README: `python -m tests.command.top.picture` writes .github/top.svg.

The fleet is made up, the drawing is the real one.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.screen import Screen

from mux.command.top.screen import View
from mux.command.top.stats import parse_look
from mux.command.top.trend import Trend
from tests.command.top import made_up

PLACE = Path(__file__).parent.parent.parent.parent / ".github" / "top.svg"

# An image must not fetch fonts from elsewhere; every system has a monospace one.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def draw(columns: int = 100, lines: int = 28) -> str:
    """Return the picture as SVG."""
    trend = Trend()
    looks = 90
    for step in range(looks):
        up = made_up.wave(step, 9)
        processes = [
            made_up.process(
                number,
                connections=int((9_000 + 40 * step) * (1 + number / 5)),
                delivered_per_second=23_000 * up * (1 + number / 4),
                received_per_second=1_240 * up,
                published_per_second=310 * made_up.wave(step, 5) * (1 + number / 4),
                evicted={"overflow": 2 + (step == looks - 1)} if number == 2 else {},
            )
            for number in range(6)
        ]
        look = parse_look(made_up.stats(processes, [made_up.missing(6)]), made_up.channels())
        trend.take(look, now=float(step))
    console = Console(record=True, width=columns, height=lines, file=io.StringIO(), force_terminal=True)
    console.print(Screen(View("https://feed.example.com", look, trend, float(looks), "14:03:22")))
    return console.export_svg(title="mux top", code_format=FORMAT, unique_id="top")


if __name__ == "__main__":
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(draw(), encoding="utf-8")
