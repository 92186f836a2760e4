"""How many descriptors this process may have (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import resource
from contextlib import suppress


def descriptor_limit() -> int:
    """Return the soft limit; 0 when there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one, which needs no privilege; processes started from here inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS refuses what it calls infinity
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
