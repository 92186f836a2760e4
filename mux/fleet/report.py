"""The numbers of a process, as it tells them to others, and their sum.

They are those of /metrics, read from the same place, so the two never differ. Beside them stands what a process is
doing just now: how much happens in a second, and how late its event loop is.

Pure: numbers in, numbers out; the time is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from mux.fleet.messages import Process, is_label, read_object, read_process
from mux.metrics.catalogue import Snapshot

Report = dict[str, object]
"""JSON."""

_METRICS = ("connections", "channels", "received", "unheard", "delivered", "published", "pending_bytes", "gaps")
_BY_REASON = ("evicted", "refused")

RATED = ("received", "unheard", "delivered", "published")
"""The numbers that are told per second as well."""

_SUMMED = (*_METRICS, *(f"{name}_per_second" for name in RATED), "gap_seconds", "memory_bytes")
_HIGHEST = ("uptime_seconds", "loop_lag_seconds")

MAX_REASONS = 64
"""How many reasons are read; there are a dozen."""

MAX_NUMBER = 2**53
"""What JSON readers of every language can count to; no counter gets there. The sum over all processes fits into 64
bits, which is what the writer of JSON can count to."""


RATE_SAMPLES = 6
"""Counters are sampled once a second, so a rate is the mean of the last five seconds."""


class Rates:
    """The growth per second of some counters; whoever adds to them knows nothing of it."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=RATE_SAMPLES)

    def sample(self, now: float, counters: Mapping[str, int]) -> None:
        """Take what the counters are now; to be called once a second."""
        self._samples.append((now, counters))

    def per_second(self, now: float, counters: Mapping[str, int]) -> dict[str, float]:
        """Return the growth per second of each until now; 0 before the first sample."""
        then, before = self._samples[0] if self._samples else (now, counters)
        seconds = now - then
        return {
            name: round((count - before[name]) / seconds, 3) if seconds > 0 else 0.0 for name, count in counters.items()
        }


def report(
    snapshot: Snapshot, *, version: str, uptime: float, per_second: Mapping[str, float], lag: float, memory: int
) -> Report:
    """Return what a process says of itself.

    Args:
        snapshot: its metrics.
        version: of mux.
        uptime: seconds since it started.
        per_second: the growth of each number that is RATED.
        lag: how late its event loop was at worst, lately, in seconds.
        memory: bytes resident.
    """
    numbers: Report = {"version": version, "uptime_seconds": round(uptime, 3)}
    numbers |= {name: snapshot[f"mux_{name}"] for name in (*_METRICS, *_BY_REASON)}
    numbers |= {f"{name}_per_second": per_second[name] for name in RATED}
    gap_seconds = snapshot["mux_gap_seconds"]
    assert isinstance(gap_seconds, int | float), "the metric is a number"
    return numbers | {"gap_seconds": round(gap_seconds, 3), "loop_lag_seconds": round(lag, 6), "memory_bytes": memory}


def read_report(body: Mapping[str, object]) -> Report | None:
    """Return what another process says of itself, or None if that cannot be."""
    version = body.get("version")
    if not is_label(version):
        return None
    read: Report = {"version": version}
    for name in (*_HIGHEST, *_SUMMED):
        value = body.get(name)
        if not _is_number(value):
            return None
        read[name] = value
    for name in _BY_REASON:
        reasons = body.get(name)
        if not isinstance(reasons, Mapping) or len(reasons) > MAX_REASONS:
            return None
        if not all(is_label(reason) and _is_number(number) for reason, number in reasons.items()):
            return None
        read[name] = reasons
    return read


def read_reports(answers: Mapping[str, bytes]) -> list[tuple[Process, Report]]:
    """Return what processes say of themselves, in order; what is no report is left out.

    Args:
        answers: what each has said, by the id of the process.
    """
    found: list[tuple[Process, Report]] = []
    for id_, body in answers.items():
        fields = read_object(body)
        process, numbers = read_process(id_, fields), read_report(fields)
        if process is not None and numbers is not None:
            found.append((process, numbers))
    return sorted(found, key=lambda one: in_order(one[0]))


def in_order(process: Process) -> tuple[str, int, str]:
    """Return what processes are sorted by: the host, then the number there."""
    return process.host, process.pid, process.id


def total(reports: Iterable[Report]) -> Report:
    """Return the sum; of how long and how late, the most."""
    reports = list(reports)
    sums: Report = {"processes": len(reports)}
    sums |= {name: _rounded(sum(_number(one[name]) for one in reports)) for name in _SUMMED}
    sums |= {name: max((_number(one[name]) for one in reports), default=0) for name in _HIGHEST}
    for name in _BY_REASON:
        merged: dict[str, float] = {}
        for one in reports:
            reasons = one[name]
            assert isinstance(reasons, Mapping), "read_report() has seen to it"
            for reason, number in reasons.items():
                merged[reason] = merged.get(reason, 0) + number
        sums[name] = merged
    return sums


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER


def _number(value: object) -> float:
    assert isinstance(value, int | float), "read_report() has seen to it"
    return value


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 3)
