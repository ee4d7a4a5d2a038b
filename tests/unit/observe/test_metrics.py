"""Counting, and the page for Prometheus, read by Prometheus' own parser."""

from __future__ import annotations

import math
import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from uploaderd.observe.counters import BUCKETS_S, Counters, added, labelled, series
from uploaderd.observe.metrics import METRICS, render


def page(counters: Counters) -> str:
    counts, gauges = counters.told()
    return render(
        {labelled(k, service="s", instance="1"): v for k, v in {**counts, **gauges}.items()}
    )


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=30))
def test_a_histogram_is_cumulative_and_ends_with_its_count(durations: list[float]) -> None:
    counters = Counters()
    for seconds in durations:
        counters.observe("message_seconds", seconds, outcome="done")
    (family,) = text_string_to_metric_families(page(counters))
    assert (family.name, family.type) == ("uploaderd_message_seconds", "histogram")
    buckets = {
        float(each.labels["le"]): each.value for each in family.samples if "le" in each.labels
    }
    assert list(buckets) == [*BUCKETS_S, math.inf]
    for bound, count in buckets.items():
        assert count == sum(seconds <= bound for seconds in durations)
    values = {each.name.rpartition("_")[2]: each.value for each in family.samples}
    assert values["count"] == len(durations)
    assert math.isclose(values["sum"], sum(durations))
    assert all(each.labels["service"] == "s" for each in family.samples)


@given(st.text(max_size=20))
def test_any_text_can_be_a_label(text: str) -> None:
    counters = Counters()
    counters.add("retries_total", code=text)
    (family,) = text_string_to_metric_families(page(counters))
    assert [each.labels["code"] for each in family.samples] == [text]


def test_metrics_are_named_as_prometheus_asks_and_have_help_and_type() -> None:
    for name, (kind, text) in METRICS.items():
        assert kind in ("gauge", "counter", "histogram")
        assert (kind == "counter") == name.endswith("_total"), name
        assert text
        assert "\n" not in text
    counters = Counters()
    counters.add("files_fetched_total", 3)
    counters.set("messages_in_flight", 2)
    text = page(counters)
    assert "# TYPE uploaderd_files_fetched_total counter\n" in text
    assert text.count("# HELP") == text.count("# TYPE") == 2
    counters.set("messages_in_flight", None)
    assert "in_flight" not in page(counters)


def test_counts_of_a_dead_worker_and_of_its_successor_add_up() -> None:
    first, second = Counters(), Counters()
    for counters, times in ((first, 3), (second, 2)):
        for _ in range(times):
            counters.add("retries_total", code="unreachable")
            counters.observe("message_seconds", 0.2, outcome="failed")
    both = added(first.told()[0], second.told()[0])
    assert both[series("retries_total", code="unreachable")] == 5
    assert both['message_seconds_bucket{outcome="failed",le="0.25"}'] == 5
    assert both['message_seconds_bucket{outcome="failed",le="0.1"}'] == 0


def test_threads_count_together() -> None:
    counters = Counters()

    def work() -> None:
        for _ in range(1000):
            counters.add("spectra_total")
            counters.observe("message_seconds", 1.0, outcome="done")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts, _ = counters.told()
    assert counts["spectra_total"] == 4000
    assert counts['message_seconds_count{outcome="done"}'] == 4000
