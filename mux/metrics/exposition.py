"""Snapshots in the formats of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from mux.metrics.catalogue import METRICS, Metric, Snapshot, Value
from mux.metrics.histogram import upper_bounds


class _Of(Collector):
    """Gives one snapshot to prometheus-client."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _family(metric, self._snapshot[metric.name])


def expose(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Return a snapshot as Prometheus reads it, and the content type of that.

    Args:
        snapshot: has every metric.
        accept: the Accept header of who asks; text or OpenMetrics.
    """
    registry = CollectorRegistry()
    registry.register(_Of(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _family(metric: Metric, value: Value) -> Family:
    if isinstance(value, list):
        *counts, total = value
        # Nine digits, for 0.000001 cannot be had exactly and its multiples show it.
        bounds = (
            "+Inf" if bound is None else str(float(f"{bound * metric.unit:.9g}")) for bound in upper_bounds(len(counts))
        )
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        return HistogramMetricFamily(metric.name, metric.text, buckets=buckets, sum_value=total * metric.unit)
    if isinstance(value, dict):
        family = CounterMetricFamily(metric.name, metric.text, labels=[metric.label])
        for label, number in sorted(value.items()):
            family.add_metric([label], number)
        return family
    kind = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
    return kind(metric.name, metric.text, value=value)
