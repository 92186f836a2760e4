"""Every metric, once: its name, its meaning, and where its number is read.

Nothing is counted here: the code that does the work adds to plain integers, which are read when Prometheus asks. A
snapshot of them is JSON, so that the processes of a server can add theirs up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Literal, TypeAlias

from mux.broker.broker import Broker
from mux.hub.hub import Hub
from mux.journal.journal import Journal
from mux.metrics.histogram import Histogram, LoopLag

Value: TypeAlias = float | dict[str, int] | list[int]
"""A number; numbers by label; or the counts of a Histogram by bucket, and their total as the last."""

Snapshot: TypeAlias = dict[str, Value]
"""Values by the name of their metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The objects of a process from which metrics are read."""

    hub: Hub
    broker: Broker
    loop_lag: LoopLag
    batch_sizes: Histogram
    fan_out_times: Histogram
    journal: Journal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, in the words of Prometheus.

    Args:
        kind: a gauge is what is now, and ends with its process; the others only ever grow.
        name: ends in its unit, and a counter's not in _total, which is added.
        text: what it says, in a sentence.
        read: returns the value now.
        label: the name of the label, when the value is by label.
        unit: what a histogram's numbers are to be multiplied with, to be in the unit of the name.
        is_highest: of several processes the highest number is told, instead of the sum.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    text: str
    read: Callable[[Sources], Value]
    label: str = ""
    unit: float = 1
    is_highest: bool = False


_counter = partial(Metric, "counter")
_gauge = partial(Metric, "gauge")
_histogram = partial(Metric, "histogram")

METRICS = (
    _gauge(
        "mux_processes",
        "Processes of this server, by state: serving, starting, stalled, or waiting to be started again.",
        lambda of: {"serving": 1},  # alone; where there is a supervisor it says how they are
        label="state",
    ),
    _gauge("mux_connections", "Clients connected.", lambda of: len(of.hub)),
    _gauge("mux_channels", "Channels with a client, summed over processes.", lambda of: len(of.hub.router)),
    _gauge(
        "mux_pending_bytes",
        "Bytes that wait for clients that are behind, and that are kept of what clients have sent.",
        lambda of: of.hub.pending_bytes,
    ),
    _gauge("mux_subscribed", "Processes subscribed to Redis.", lambda of: int(of.broker.is_connected)),
    _counter("mux_messages_received", "Messages that came from Redis.", lambda of: of.hub.router.received),
    _counter("mux_messages_unheard", "Messages received that no client listened to.", lambda of: of.hub.router.unheard),
    _counter(
        "mux_messages_oversized",
        "Messages received that were too large to be delivered.",
        lambda of: of.hub.router.oversized,
    ),
    _counter("mux_gaps", "Times in which messages may have been missed.", lambda of: of.broker.gaps),
    _counter("mux_gap_seconds", "How long these times were together.", lambda of: of.broker.gap_seconds),
    _counter("mux_messages_healed", "Messages missed that another process had.", lambda of: of.journal.healed),
    _gauge("mux_journal_bytes", "Bytes of messages that are kept for clients that resume.", lambda of: of.journal.size),
    _gauge(
        "mux_journal_seconds",
        "How far back the kept messages go; of several processes the longest.",
        lambda of: round(of.journal.seconds(perf_counter()), 3),
        is_highest=True,
    ),
    _counter("mux_resumes", "Clients that resumed at their position.", lambda of: of.journal.resumed),
    _counter(
        "mux_resumes_refused",
        "Clients that could not resume at their position, by reason.",
        lambda of: dict(of.journal.refused),
        label="reason",
    ),
    _gauge(
        "mux_probe_round_trip_seconds",
        "How long Redis took for the last answer to a probe; of several processes the longest.",
        lambda of: of.broker.round_trip_seconds,
        is_highest=True,
    ),
    _counter("mux_messages_delivered", "Messages handed to sockets of clients.", lambda of: of.hub.router.delivered),
    _counter(
        "mux_messages_skipped",
        "Messages left out for clients that did not keep up and had asked for the newest alone.",
        lambda of: of.hub.skipped,
    ),
    _counter(
        "mux_messages_rewritten",
        "Messages that were not JSON, and were made JSON for SDK clients, by what they were.",
        lambda of: dict(of.hub.rewritten),
        label="kind",
    ),
    _counter("mux_messages_published", "Messages that Redis has taken from us.", lambda of: of.broker.outbox.published),
    _counter(
        "mux_refusals",
        "Messages, and requests to join or publish, that were not accepted, by reason.",
        lambda of: dict(of.hub.refused + of.broker.outbox.refused),
        label="reason",
    ),
    _counter(
        "mux_connections_evicted",
        "Connections ended against the client's will, by reason.",
        lambda of: dict(of.hub.evicted),
        label="reason",
    ),
    _counter(
        "mux_reconnects",
        "Connections to Redis made anew, by what ended the one before.",
        lambda of: dict(of.broker.reconnects),
        label="cause",
    ),
    _histogram("mux_batch_messages", "Messages that came from Redis in one read.", lambda of: _counts(of.batch_sizes)),
    _histogram(
        "mux_fan_out_seconds",
        "Time to hand one batch to all its clients.",
        lambda of: _counts(of.fan_out_times),
        unit=1e-6,
    ),
    _histogram(
        "mux_loop_lag_seconds",
        "How late the event loop was, ten times a second.",
        lambda of: _counts(of.loop_lag.lags),
        unit=1e-6,
    ),
    _counter("mux_loop_stalls", "Lags longer than a second.", lambda of: of.loop_lag.stalls),
)


_HIGHEST = frozenset(metric.name for metric in METRICS if metric.is_highest)


def take_snapshot(sources: Sources) -> Snapshot:
    """Return what every metric is now."""
    return {metric.name: metric.read(sources) for metric in METRICS}


def without_gauges(snapshot: Snapshot) -> Snapshot:
    """Return what remains of a process that has ended."""
    return {metric.name: snapshot[metric.name] for metric in METRICS if metric.kind != "gauge"}


def add(one: Snapshot, other: Snapshot) -> Snapshot:
    """Return two snapshots put together; what only one has is taken from there."""
    total = one | other
    for name in one.keys() & other.keys():
        total[name] = _add(one[name], other[name], is_highest=name in _HIGHEST)
    return total


def _add(one: Value, other: Value, *, is_highest: bool) -> Value:
    if isinstance(one, Mapping):
        assert isinstance(other, Mapping), "a metric has one kind of value"
        return {label: one.get(label, 0) + other.get(label, 0) for label in one | other}
    if isinstance(one, list):
        assert isinstance(other, list), "a metric has one kind of value"
        return [a + b for a, b in zip(one, other, strict=True)]
    assert isinstance(other, int | float), "a metric has one kind of value"
    return max(one, other) if is_highest else one + other


def _counts(histogram: Histogram) -> list[int]:
    return [*histogram.counts, histogram.total]
