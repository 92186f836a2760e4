"""The share of the machine that this process may have: memory, which it gives back after use, and descriptors.

It may use, of the machine's, what its control groups and its limits leave it. A container is a control group. Its
limit stands in the group itself or in one above it, in one of two hierarchies of files (cgroups(7)); the smallest limit
holds. What cannot be read limits nothing.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")

UNKNOWN_BYTES = 1 << 30
"""A machine that does not say how much memory it has is taken to have a GiB."""


GIVE_BACK_BYTES = 32 * 1024 * 1024
"""Memory is given back to the system when this many bytes that waited for clients wait no more."""


class Freed:
    """Tells when much memory has become free: clients were evicted, have left, or have taken what waited for them."""

    __slots__ = ("_evicted", "_most")

    def __init__(self) -> None:
        self._most = self._evicted = 0

    def is_much(self, waiting: int, evicted: int) -> bool:
        """Tell whether memory is to be given back now; to be asked now and then.

        Args:
            waiting: the bytes that wait for all clients.
            evicted: the bytes that waited for all clients that were ever evicted, which may not have waited for long.
        """
        self._most = max(self._most + evicted - self._evicted, waiting)
        self._evicted = evicted
        if self._most - waiting < GIVE_BACK_BYTES:
            return False
        self._most = waiting
        return True


def memory_limit() -> int:
    """Return how many bytes of memory this process may use."""
    limits = [*_of_machine(), *_of_address_space(), *_of_control_groups(OWN_GROUPS, CONTROL_GROUPS)]
    return min(limits, default=UNKNOWN_BYTES)


def give_back_memory() -> None:
    """Have the allocator give free memory back to the system, which it does by itself only where nothing is above it.

    It takes 0.1 ms for each MB that is given back, and nobody is served meanwhile. Only glibc can (malloc_trim(3)).
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _of_machine() -> Iterator[int]:
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):  # ValueError: this system has no such name
        return


def _of_address_space() -> Iterator[int]:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft


def _of_control_groups(own_groups: Path, root: Path) -> Iterator[int]:
    """Yield every limit of the groups a process is in, and of the groups above them.

    Args:
        own_groups: a file as /proc/self/cgroup, with lines of number:controllers:path.
        root: where the hierarchies are mounted.
    """
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            hierarchies, name = (root, root / "unified"), "memory.max"
        elif "memory" in controllers.split(","):
            hierarchies, name = (root / controllers, root / "memory"), "memory.limit_in_bytes"
        else:
            continue
        for hierarchy in hierarchies:
            # In a container the path may be one of the machine outside; then the group itself is the root here.
            group = hierarchy / path.strip("/")
            for folder in (group, *group.parents):
                yield from _limit(folder / name)
                if folder == hierarchy:
                    break


def _limit(file: Path) -> Iterator[int]:
    try:
        yield int(file.read_text())
    except (OSError, ValueError):  # ValueError: "max", which is none
        return


def descriptor_limit() -> int:
    """Return the soft limit; 0 when there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one, which needs no privilege; processes started from here inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS refuses what it calls infinity
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


_STATM = Path("/proc/self/statm")
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of macOS and of the others


def resident_bytes() -> int:
    """Return what is resident in memory now; where the system does not say, the most there ever was."""
    try:
        pages = int(_STATM.read_bytes().split()[1])  # proc(5)
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    return pages * resource.getpagesize()
