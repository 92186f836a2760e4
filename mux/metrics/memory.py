"""How much memory this process has."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of macOS and of the others


def resident_bytes() -> int:
    """Return what is resident in memory now; where the system does not say, the most there ever was."""
    try:
        pages = int(_STATM.read_bytes().split()[1])  # proc(5)
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    return pages * resource.getpagesize()
