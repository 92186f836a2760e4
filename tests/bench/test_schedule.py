"""When messages are due, and that nothing makes them due later."""

from __future__ import annotations

import numpy as np

from bench.loadgen.dialect import PLAIN
from bench.loadgen.frames import Frames
from bench.loadgen.latencies import Latencies, at_percentile
from bench.loadgen.load import Schedule
from bench.loadgen.stamp import message, now_us
from tests.bench.lying_server import frame


def test_every_message_is_due_by_the_rate() -> None:
    """Message k is due k/rate after the start."""
    schedule = Schedule(channels=1, messages=4, rate=1000, start_us=5_000_000)
    assert [schedule.due_us(k) for k in range(4)] == [5_000_000, 5_001_000, 5_002_000, 5_003_000]
    assert [schedule.due_by(now) for now in (4_999_999, 5_000_000, 5_000_999, 5_001_000, 9_000_000)] == [0, 1, 1, 2, 4]


def test_burst_is_due_at_once() -> None:
    """At rate 0 everything is due at the start."""
    schedule = Schedule(channels=2, messages=5, rate=0, start_us=7)
    assert [schedule.due_us(k) for k in range(5)] == [7] * 5
    assert (schedule.due_by(6), schedule.due_by(7)) == (0, 5)


def test_channels_take_turns() -> None:
    """What is left over goes to the first channels."""
    schedule = Schedule(channels=3, messages=8, rate=1)
    assert [schedule.published(channel) for channel in range(3)] == [3, 3, 2]


def test_a_stall_is_charged_to_all_that_was_due_in_it() -> None:
    """No coordinated omission: of 100 messages due during a stall of 100 ms, half waited for 50 ms and more."""
    start = now_us() - 100_000
    schedule = Schedule(channels=1, messages=100, rate=1000, start_us=start)
    # All that is sent after the stall carries when it should have been.
    frames = Frames(PLAIN, 64, [0])
    due = schedule.due_by(now_us())
    assert due == 100
    frames.take(0, b"".join(frame(message(0, k, schedule.due_us(k), 64)) for k in range(due)))
    counts = frames.latencies.counts()
    assert int(counts.sum()) == 100
    assert at_percentile(counts, 50) >= 49_000
    assert at_percentile(counts, 100) >= 99_000


def test_latencies_keep_three_digits() -> None:
    """One by one or many at a time, a percentile is off by less than a thousandth."""
    latencies = Latencies()
    values = np.arange(1, 100_001, dtype=np.int64) * 37
    latencies.add_many(values[:50_000])
    for value in values[50_000:].tolist():
        latencies.add(value)
    counts = latencies.counts()
    assert int(counts.sum()) == 100_000
    for percent in (50.0, 90.0, 99.0, 99.9):
        exact = 100_000 * percent / 100 * 37
        assert abs(at_percentile(counts, percent) - exact) < exact * 0.002
