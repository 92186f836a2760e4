"""The numbers of a process, as it tells them to others, and their sum.

They are read where those of /metrics are, so the two never differ. Beside them stands what a process does at present:
how many messages pass in a second, and how late its event loop is.

Pure: numbers in, numbers out; the time is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

from mux.fleet.messages import is_label
from mux.metrics.catalogue import Snapshot

Report: TypeAlias = dict[str, Any]
"""A JSON object of known keys: numbers, and numbers by reason."""

_METRICS = {
    "connections": "mux_connections",
    "channels": "mux_channels",
    "received": "mux_messages_received",
    "unheard": "mux_messages_unheard",
    "delivered": "mux_messages_delivered",
    "skipped": "mux_messages_skipped",
    "published": "mux_messages_published",
    "pending_bytes": "mux_pending_bytes",
    "gaps": "mux_gaps",
    "healed": "mux_messages_healed",
    "journal_bytes": "mux_journal_bytes",
    "resumes": "mux_resumes",
}
"""Metrics by their names in a report."""
_BY_REASON = {"evicted": "mux_connections_evicted", "refused": "mux_refusals", "resumes_refused": "mux_resumes_refused"}

RATED = ("received", "unheard", "delivered", "published")
"""The counters that are told per second as well."""

_SUMMED = (*_METRICS, *(f"{name}_per_second" for name in RATED), "gap_seconds", "memory_bytes")
_HIGHEST = ("uptime_seconds", "loop_lag_seconds", "journal_seconds")

MAX_REASONS = 64
"""Most reasons in one report; there are a dozen."""

MAX_NUMBER = 2**53
"""A bound for all numbers of a report: JSON readers of every language count so far. The sum over all processes
fits into 64 bits, and the writer of JSON counts so far."""

RATE_SAMPLES = 6
"""Counters are sampled once a second, so a rate is the mean of the last five seconds."""


class Rates:
    """The growth per second of the counters that are RATED."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Snapshot]] = deque(maxlen=RATE_SAMPLES)

    def sample(self, now: float, snapshot: Snapshot) -> None:
        """Record the counters; to be called once a second."""
        self._samples.append((now, {name: snapshot[_METRICS[name]] for name in RATED}))

    def per_second(self, now: float, snapshot: Snapshot) -> Report:
        """Return the growth of each counter since the oldest sample; 0 before the first sample."""
        then, before = self._samples[0] if self._samples else (now, {name: snapshot[_METRICS[name]] for name in RATED})
        seconds = now - then
        rates: Report = {}
        for name in RATED:
            growth: Any = snapshot[_METRICS[name]] - before[name]  # type: ignore[operator]  # counters
            rates[f"{name}_per_second"] = round(growth / seconds, 3) if seconds > 0 else 0.0
        return rates


def report(snapshot: Snapshot, *, version: str, uptime: float, rates: Report, lag: float, memory: int) -> Report:
    """Return what a process says of itself; uptime and the longest lag of its loop in seconds, memory in bytes."""
    numbers: Report = {name: snapshot[metric] for name, metric in (_METRICS | _BY_REASON).items()}
    gap_seconds: Any = snapshot["mux_gap_seconds"]
    numbers["gap_seconds"] = round(gap_seconds, 3)
    times = {"uptime_seconds": round(uptime, 3), "loop_lag_seconds": round(lag, 6)}
    numbers["journal_seconds"] = snapshot["mux_journal_seconds"]
    return {"version": version, **times, **numbers, **rates, "memory_bytes": memory}


def read_report(fields: Mapping[str, object]) -> Report | None:
    """Return what another process says of itself; None when that cannot be."""
    version = fields.get("version")
    if not is_label(version):
        return None
    read: Report = {"version": version}
    for name in (*_HIGHEST, *_SUMMED):
        read[name] = fields.get(name, 0)  # an earlier version does not tell all of them
        if not _is_number(read[name]):
            return None
    for name in _BY_REASON:
        read[name] = reasons = fields.get(name, {})
        if not isinstance(reasons, Mapping) or len(reasons) > MAX_REASONS:
            return None
        if not all(is_label(reason) and _is_number(number) for reason, number in reasons.items()):
            return None
    return read


class Total:
    """The sum of reports; of delays and times of running the highest."""

    def __init__(self) -> None:
        self._sums: Report = {
            "processes": 0,
            **dict.fromkeys((*_SUMMED, *_HIGHEST), 0),
            **{name: {} for name in _BY_REASON},
        }

    def add(self, one: Report) -> None:
        """Add a report that was read."""
        sums = self._sums
        sums["processes"] += 1
        for name in _SUMMED:
            sums[name] += one[name]
        for name in _HIGHEST:
            sums[name] = max(sums[name], one[name])
        for name in _BY_REASON:
            for reason, number in one[name].items():
                sums[name][reason] = sums[name].get(reason, 0) + number

    def report(self) -> Report:
        """Return the sum, rounded to thousandths; the longest delay is told as it is."""
        rounded = {name: round(self._sums[name], 3) for name in _SUMMED if isinstance(self._sums[name], float)}
        return self._sums | rounded


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER
