"""Snapshots in the formats of Prometheus.

To write one takes milliseconds, and an operator's program may ask a thousand times in one read. So the text is
remembered for a moment.

There are two formats, and the Accept header only decides whether it is OpenMetrics: prometheus-client would take any
version that it finds there for a number, and send it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from time import monotonic

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mux.metrics.catalogue import METRICS, Metric, Snapshot, Value
from mux.metrics.histogram import upper_bounds
from mux.wire.http.content import accepts_explicitly


class _Of(Collector):
    """Gives one snapshot to prometheus-client."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _family(metric, self._snapshot[metric.name])


_OPENMETRICS = "application/openmetrics-text"

REMEMBERED_SECONDS = 0.1
"""Seconds for which one text answers all requests."""


class Exposition:
    """The numbers as Prometheus reads them.

    Args:
        snapshot: returns every metric.
        clock: returns seconds, and does not go back.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Callable[[], float] = monotonic) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._written: dict[bool, tuple[bytes, str]] = {}
        self._good_until = float("-inf")

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the numbers as the Accept header of a request asks for them, and their content type."""
        if self._clock() >= self._good_until:
            self._written.clear()
            self._good_until = self._clock() + REMEMBERED_SECONDS
        is_open = accepts_explicitly(accept, _OPENMETRICS)
        if is_open not in self._written:
            registry = CollectorRegistry()
            registry.register(_Of(self._snapshot()))
            encode, content_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if is_open else "")
            self._written[is_open] = encode(registry), content_type
        return self._written[is_open]


def _family(metric: Metric, value: Value) -> Family:
    if isinstance(value, list):
        *counts, total = value
        # Nine digits, for 0.000001 cannot be had exactly and its multiples show it.
        bounds = (
            "+Inf" if bound is None else str(float(f"{bound * metric.unit:.9g}")) for bound in upper_bounds(len(counts))
        )
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        return HistogramMetricFamily(metric.name, metric.text, buckets=buckets, sum_value=total * metric.unit)
    kind = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
    if not isinstance(value, dict):
        return kind(metric.name, metric.text, value=value)
    family = kind(metric.name, metric.text, labels=[metric.label])
    for label, number in sorted(value.items()):
        family.add_metric([label], number)
    return family
