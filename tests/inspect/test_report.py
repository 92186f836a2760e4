from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet.census import MAX_PROCESSES
from mux.fleet.round import MAX_STRANGERS
from mux.inspect.report import MAX_NUMBER, MAX_REASONS, RATE_SAMPLES, Rates, Report, Total, read_report, report
from mux.metrics.catalogue import Snapshot

SNAPSHOT: Snapshot = {
    "mux_connections": 3,
    "mux_channels": 2,
    "mux_messages_received": 10,
    "mux_messages_unheard": 1,
    "mux_messages_delivered": 20,
    "mux_messages_skipped": 3,
    "mux_messages_published": 5,
    "mux_pending_bytes": 7,
    "mux_gaps": 1,
    "mux_gap_seconds": 0.5,
    "mux_messages_healed": 4,
    "mux_journal_bytes": 900,
    "mux_journal_seconds": 60.5,
    "mux_resumes": 6,
    "mux_resumes_refused": {"too_old": 1},
    "mux_connections_evicted": {"overflow": 1},
    "mux_refusals": {"channel": 2},
}
RATES: Report = {
    "received_per_second": 1.0,
    "unheard_per_second": 0.0,
    "delivered_per_second": 2.0,
    "published_per_second": 0.5,
}


def total(reports: list[Report]) -> Report:
    """Return the sum of reports."""
    sums = Total()
    for each in reports:
        sums.add(each)
    return sums.report()


def one(**changes: Any) -> Report:
    """Return what a process says of itself."""
    numbers = report(SNAPSHOT, version="1", uptime=4.0, rates=RATES, lag=0.01, memory=100)
    return numbers | changes


def test_a_report_has_the_numbers_of_the_metrics() -> None:
    """And what only a look at the moment tells; another process reads the same."""
    expected = {
        "version": "1",
        "uptime_seconds": 4.0,
        "connections": 3,
        "channels": 2,
        "received": 10,
        "unheard": 1,
        "delivered": 20,
        "skipped": 3,
        "published": 5,
        "received_per_second": 1.0,
        "unheard_per_second": 0.0,
        "delivered_per_second": 2.0,
        "published_per_second": 0.5,
        "pending_bytes": 7,
        "evicted": {"overflow": 1},
        "refused": {"channel": 2},
        "gaps": 1,
        "gap_seconds": 0.5,
        "healed": 4,
        "journal_bytes": 900,
        "journal_seconds": 60.5,
        "resumes": 6,
        "resumes_refused": {"too_old": 1},
        "loop_lag_seconds": 0.01,
        "memory_bytes": 100,
    }
    assert one() == expected
    assert read_report(one() | {"more": "ignored"}) == expected


def test_the_total_is_the_sum_and_of_lag_and_uptime_the_most() -> None:
    """Reasons are put together."""
    summed = total([one(), one(uptime_seconds=9.0, loop_lag_seconds=0.001, evicted={"silent": 1, "overflow": 2})])
    assert summed["processes"] == 2
    assert summed["connections"] == 6
    assert summed["delivered_per_second"] == 4.0
    assert summed["evicted"] == {"overflow": 3, "silent": 1}
    assert (summed["uptime_seconds"], summed["loop_lag_seconds"]) == (9.0, 0.01)
    assert one().keys() - summed.keys() == {"version"}


def test_the_total_of_a_forged_fleet_can_be_told() -> None:
    """As many processes as can answer at most, with the largest numbers that are read: JSON counts to 64 bits."""
    most = one(gaps=MAX_NUMBER - 1, evicted={"overflow": MAX_NUMBER - 1})
    assert read_report(most) is not None
    summed = total([most] * (1 + MAX_PROCESSES + MAX_STRANGERS))
    assert orjson.loads(orjson.dumps(summed)) == summed


def test_the_total_of_nobody_is_nothing() -> None:
    """No process answered in time."""
    assert total([])["connections"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": "v" * 256},
        {"version": "\x1b[2J"},
        {"connections": "3"},
        {"connections": -1},
        {"connections": True},
        {"memory_bytes": None},
        {"memory_bytes": float("inf")},
        {"evicted": []},
        {"evicted": {str(number): 1 for number in range(MAX_REASONS + 1)}},
        {"refused": {"a": "b"}},
        {"refused": {"a" * 256: 1}},
        {"refused": {"a\nb": 1}},
        {"gaps": MAX_NUMBER},
        {"gaps": 10**400},
    ],
)
def test_a_report_that_cannot_be_is_none(changes: dict[str, Any]) -> None:
    """It may be forged."""
    assert read_report(one(**changes)) is None


@given(st.dictionaries(st.sampled_from(list(one())), st.none() | st.floats() | st.text() | st.lists(st.integers())))
def test_a_forged_report_never_raises(forged: dict[str, Any]) -> None:
    """And what is read of it can be summed."""
    read = read_report(one() | forged)
    if read is not None:
        total([read, one()])


def counters(**numbers: int) -> Snapshot:
    """Return metrics in which the other counters stand still."""
    return SNAPSHOT | {f"mux_messages_{name}": number for name, number in numbers.items()}


def test_no_rate_is_known_before_the_first_sample() -> None:
    """Nor in the moment of it."""
    rates, still = Rates(), dict.fromkeys(RATES, 0.0)
    assert rates.per_second(1.0, counters()) == still
    rates.sample(1.0, counters())
    assert rates.per_second(1.0, counters()) == still


def test_growth_per_second() -> None:
    """Since the oldest sample, until now."""
    rates = Rates()
    rates.sample(1.0, counters(received=0, delivered=100))
    rates.sample(2.0, counters(received=10, delivered=100))
    found = rates.per_second(3.0, counters(received=30, delivered=101))
    assert (found["received_per_second"], found["delivered_per_second"]) == (15.0, 0.5)


def test_only_the_last_seconds_count() -> None:
    """What was long ago is forgotten."""
    rates = Rates()
    rates.sample(0.0, counters(received=0))
    for second in range(1, RATE_SAMPLES + 1):
        rates.sample(float(second), counters(received=1_000_000))
    assert rates.per_second(RATE_SAMPLES + 1.0, counters(received=1_000_000))["received_per_second"] == 0.0
