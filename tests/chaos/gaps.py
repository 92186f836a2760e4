"""The gaps a server tells of in its log.

One WARNING line each:

    gap 3: messages may have been missed from 1700000000.123 to 1700000001.456 (1.333 s): REASON

Both times are seconds of Unix time: the last moment known to be good, and the moment it is good again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import mktime, strptime

from tests.chaos.ledger import Gap

_GAP = re.compile(r"\bgap \d+: messages may have been missed from (\d+\.\d{3}) to (\d+\.\d{3}) \(")

# TODO: delete from here when the broker tells of gaps.
_TIME = r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) \w+ +mux\.broker\[(\d+)\] "
_LOST = re.compile(_TIME + "lost Redis at ")
_BACK = re.compile(_TIME + "connected to Redis at .* again, after ")
_LATENCY_SECONDS = 1.0


def _derived(log: str) -> Iterator[tuple[float, float]]:
    lost: dict[str, float] = {}
    for line in log.splitlines():
        for pattern in (_LOST, _BACK):
            if (found := pattern.match(line)) is None:
                continue
            at = mktime(strptime(found[1], "%Y-%m-%d %H:%M:%S")) + int(found[2]) / 1000
            if pattern is _LOST:
                lost[found[3]] = at - _LATENCY_SECONDS
            else:
                yield lost.pop(found[3], 0.0), at


def gaps_told(log: str, server: str) -> list[Gap]:
    """Return the gaps in the log of a server."""
    told = [Gap(server, float(found[1]), float(found[2])) for found in _GAP.finditer(log)]
    return told or [Gap(server, *derived) for derived in _derived(log)]
