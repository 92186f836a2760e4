"""Write numbers for people, and draw curves: what rich has no widget for.

A number has at most three digits, one of them after the point only below 100, and the largest unit of which there is
one: 999k, 12.3M, 1023 MiB, 59.9 min.
"""

from __future__ import annotations

from collections.abc import Sequence

Units = Sequence[tuple[float, str]]
"""Sizes and names of units, the largest first."""

COUNT: Units = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
BYTES: Units = ((2**50, " PiB"), (2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B"))
SECONDS: Units = ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (0.001, " ms"))

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " ._-=+*#@"
"""Heights of a curve in a terminal that is not UTF-8."""


def amount(value: float, units: Units = COUNT) -> str:
    """Return a number with its unit: 0.25, 12, 98.1k, 512 B, 1.2 KiB, 3.2 d, 0.4 ms."""
    # A number that rounds up to a whole unit has that unit: 999.5 is 1k.
    size, unit = next((one for one in units if value >= one[0] * 0.9995), units[-1])
    number = value / size
    digits = 0 if number >= 99.95 else 1 if number >= 0.995 else 2
    shown = f"{number:.{digits}f}"
    return (shown.rstrip("0").rstrip(".") if digits else shown) + unit


def spark(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Return the last values as a curve of so many characters, newest at the right.

    Its height is the range of what is shown, at least a tenth of the peak: values that hardly move are a low, flat
    line. A value that is not 0 is never drawn as nothing.
    """
    shown = list(values)[-width:] if width > 0 else []
    top, lowest = max(shown, default=0), min(shown, default=0)
    span = max(top - lowest, top / 10)
    floor = max(0.0, lowest - span / 4)
    height = max(top - floor, span) or 1
    steps = len(blocks) - 1
    drawn = [blocks[max(1, round((value - floor) / height * steps))] if value > 0 else blocks[0] for value in shown]
    return "".join(drawn).rjust(width)
