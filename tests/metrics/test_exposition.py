from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mux.metrics.catalogue import METRICS, Snapshot
from mux.metrics.exposition import REMEMBERED_SECONDS, Exposition

SNAPSHOT: Snapshot = {
    metric.name: [3, 2, 1, 700] if metric.kind == "histogram" else {"b": 2, "a": 1} if metric.label else 7
    for metric in METRICS
}


def test_every_metric_is_exposed_with_its_kind_and_meaning() -> None:
    """Prometheus' own parser reads it."""
    body, content_type = Exposition(lambda: SNAPSHOT).expose("")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert content_type.startswith("text/plain; version=")
    assert families.keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        assert families[metric.name].type == metric.kind
        assert families[metric.name].documentation == metric.text


def test_a_histogram_is_cumulative_and_in_the_unit_of_its_name() -> None:
    """Microseconds are counted, seconds are shown."""
    lines = Exposition(lambda: SNAPSHOT).expose("")[0].decode().splitlines()
    assert [line for line in lines if line.startswith("mux_fan_out_seconds")] == [
        'mux_fan_out_seconds_bucket{le="1e-06"} 3.0',
        'mux_fan_out_seconds_bucket{le="2e-06"} 5.0',
        'mux_fan_out_seconds_bucket{le="+Inf"} 6.0',
        "mux_fan_out_seconds_count 6.0",
        "mux_fan_out_seconds_sum 0.0007",
    ]
    assert 'mux_batch_messages_bucket{le="2.0"} 5.0' in lines


def test_labels_are_in_order_and_counters_end_in_total() -> None:
    """So that two scrapes can be compared by eye."""
    lines = Exposition(lambda: SNAPSHOT).expose("")[0].decode().splitlines()
    assert [line for line in lines if line.startswith("mux_refusals_total")] == [
        'mux_refusals_total{reason="a"} 1.0',
        'mux_refusals_total{reason="b"} 2.0',
    ]
    assert "mux_messages_received_total 7.0" in lines
    assert "mux_connections 7.0" in lines


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    """Newer Prometheus servers do."""
    body, content_type = Exposition(lambda: SNAPSHOT).expose("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
def test_a_version_that_is_asked_for_is_neither_judged_nor_sent_back(kind: str) -> None:
    """Some ended in a traceback; others came back in the content type, and each of them was written anew."""
    snapshots = [SNAPSHOT]
    exposition = Exposition(snapshots.pop, lambda: 100.0)
    expected = exposition.expose(kind)
    assert expected[1].startswith(f"{kind}; version=")
    for version in ("x", "1.", "..", "1.0.x", "\xb2.0", "2.0.0", "1.0." + "7" * 6000):
        assert exposition.expose(f"{kind}; version={version}") == expected
        assert exposition.expose(f"{kind};version={version};escaping=dots;q=0.5") == expected


def test_what_was_written_is_remembered_for_a_moment() -> None:
    """256 KiB of pipelined requests held the loop for five seconds; each format is written once in that time."""
    times, snapshots = [100.0], []

    def snapshot() -> Snapshot:
        snapshots.append(1)
        return SNAPSHOT | {"mux_connections": len(snapshots)}

    exposition = Exposition(snapshot, lambda: times[0])
    openmetrics = "application/openmetrics-text; version=1.0.0"
    for accept in ("", openmetrics, "nonsense") * 50:
        body, content_type = exposition.expose(accept)
        assert content_type.startswith(accept[:28] if accept == openmetrics else "text/plain")
    assert len(snapshots) == 2
    times[0] += REMEMBERED_SECONDS
    body, _ = exposition.expose("")
    assert b"mux_connections 3.0" in body
