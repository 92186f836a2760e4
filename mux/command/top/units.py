"""Numbers for people: never wider than their column, and as exact as anybody reads.

At most three digits, one of them after the point only below 100, so that points stand below each other; then the
next unit. A count is at most 5 characters (999k, 12.3M), a size 8 (1023 MiB), a duration 7 (23h 59m, 99d 23h).
"""

from __future__ import annotations

from collections.abc import Sequence

_THOUSANDS = ("", "k", "M", "G", "T", "P")
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " ._-=+*#@"
"""For terminals that are not UTF-8."""


def count(value: float) -> str:
    """Return a count or a rate: 0, 0.25, 12, 12.5, 1.2k, 98.1k, 3.4M."""
    if 0 < value < 0.995:
        return f"{value:.2f}".rstrip("0").rstrip(".") if value >= 0.005 else "<0.01"
    return _scaled(value, 1000, _THOUSANDS)


def size(value: float) -> str:
    """Return a number of bytes: 0 B, 512 B, 1.2 KiB, 98 MiB."""
    return _scaled(value, 1024, tuple(f" {unit}" for unit in _SIZES))


def duration(seconds: float) -> str:
    """Return how long something has been: 12s, 3m 20s, 4h 12m, 3d 04h, 316d."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    if whole < 8_640_000:
        return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"
    return f"{whole // 86400}d"


def lag(seconds: float) -> str:
    """Return a delay: 0 ms, 0.4 ms, 12 ms, 1.2 s."""
    if seconds >= 0.9995:
        return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:.0f} s"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms" if seconds >= 0.00005 else "0 ms"
    return f"{seconds * 1000:.0f} ms"


def spark(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Return the last values as a curve of so many characters, newest at the right.

    Its height is the range of what is shown, at least a tenth of the peak: what hardly moves is a low, flat line,
    and not a wall. A value that is not 0 is never drawn as nothing.
    """
    shown = list(values)[-width:] if width > 0 else []
    top, lowest = max(shown, default=0), min(shown, default=0)
    span = max(top - lowest, top / 10)
    floor = max(0.0, lowest - span / 4)
    height = max(top - floor, span) or 1
    steps = len(blocks) - 1
    drawn = "".join(
        blocks[max(1, round((value - floor) / height * steps))] if value > 0 else blocks[0] for value in shown
    )
    return drawn.rjust(width)


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    at = 0
    while value >= (999.5 if step == 1000 else 1023.5) and at < len(units) - 1:
        value /= step
        at += 1
    whole = at == 0 and value == int(value)
    digits = 0 if whole or value >= 99.95 else 1
    return f"{value:.{digits}f}{units[at]}"
