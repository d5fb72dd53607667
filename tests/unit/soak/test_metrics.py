"""The soak's metrics, read as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from watcher.soak.metrics import DELAY_BUCKETS_SECONDS, Metrics
from watcher.totals import Tried, Update

WATCHERS = ("python-urllib3/default", "python-kubernetes/tcp-keepalive")
URLLIB3 = {"stack": "python-urllib3", "profile": "default"}


class Clock:
    seconds = 5000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(WATCHERS, version="1.2", interval_seconds=600, now=clock)


def families(metrics: Metrics) -> Iterable[Metric]:
    return text_string_to_metric_families(metrics.render().decode())


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families(metrics)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


def series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in families(metrics))


def test_everything_is_there_before_anything_happened(metrics: Metrics) -> None:
    """Otherwise the first miss makes a new series at 1, of which `increase` says 0, and nobody is told."""
    for name in ("observed", "misses", "late", "restarts", "reconnects"):
        assert value(metrics, f"watcher_{name}_total", **URLLIB3) == 0
    assert value(metrics, "watcher_observation_delay_seconds_count", **URLLIB3) == 0
    for outcome in Update:
        assert value(metrics, "watcher_touches_total", outcome=outcome.value) == 0
    for tried in Tried:
        assert value(metrics, "watcher_idle_connection_total", outcome=tried.value) == 0
    assert value(metrics, "watcher_failures_pending") == 0


def test_each_happening_counts_where_it_belongs(metrics: Metrics) -> None:
    """Otherwise a dashboard shows another watcher's misses."""
    watcher, other = WATCHERS
    metrics.touched(Update.OK)
    metrics.touched(Update.DENIED)
    metrics.observed(watcher, 0.02)
    metrics.observed(other, 0.02)
    metrics.missed(watcher)
    metrics.late(watcher, 45)
    metrics.restarted(watcher)
    metrics.reconnected(watcher)
    metrics.tried(Tried.SILENT)
    metrics.failures_pending(3)
    for name in ("observed", "misses", "late", "restarts", "reconnects"):
        assert value(metrics, f"watcher_{name}_total", **URLLIB3) == 1, name
    others = {"stack": "python-kubernetes", "profile": "tcp-keepalive"}
    assert value(metrics, "watcher_misses_total", **others) == 0
    assert value(metrics, "watcher_touches_total", outcome="ok") == 1
    assert value(metrics, "watcher_touches_total", outcome="denied") == 1
    assert value(metrics, "watcher_idle_connection_total", outcome="silent") == 1
    assert value(metrics, "watcher_failures_pending") == 3


def test_the_histogram_separates_in_time_from_late(metrics: Metrics) -> None:
    """Otherwise a quantile over the deadline cannot be told from one below it."""
    metrics.observed(WATCHERS[0], 9.9)
    metrics.late(WATCHERS[0], 45)
    name = "watcher_observation_delay_seconds_bucket"
    assert value(metrics, name, le="5.0", **URLLIB3) == 0
    assert value(metrics, name, le="10.0", **URLLIB3) == 1
    assert value(metrics, name, le="60.0", **URLLIB3) == 2
    assert sorted(DELAY_BUCKETS_SECONDS) == list(DELAY_BUCKETS_SECONDS)


def test_ages_grow_by_themselves(metrics: Metrics, clock: Clock) -> None:
    """Otherwise a soak that stands still keeps showing the last good value, and no alert fires."""
    metrics.observed(WATCHERS[0], 0.1)
    metrics.touched(Update.OK)
    metrics.beat()
    clock.seconds += 1300
    assert value(metrics, "watcher_last_observation_age_seconds", **URLLIB3) == 1300
    assert value(metrics, "watcher_last_touch_age_seconds") == 1300
    assert value(metrics, "watcher_last_beat_age_seconds") == 1300
    metrics.touched(Update.AWAY)
    assert value(metrics, "watcher_last_touch_age_seconds") == 0
    metrics.late(WATCHERS[0], 99)
    assert value(metrics, "watcher_last_observation_age_seconds", **URLLIB3) == 0


def test_before_the_first_touch_the_age_counts_from_the_start(metrics: Metrics, clock: Clock) -> None:
    """Otherwise a soak that never touches anything is young for ever."""
    clock.seconds += 1201
    assert value(metrics, "watcher_last_touch_age_seconds") == 1201
    assert value(metrics, "watcher_last_observation_age_seconds", **URLLIB3) == 1201


def test_no_series_is_ever_added(metrics: Metrics) -> None:
    """Otherwise weeks of soaking fill the user's Prometheus: labels must come from closed sets."""
    before = series(metrics)
    for number in range(200):
        for watcher in WATCHERS:
            metrics.observed(watcher, number / 7)
            metrics.missed(watcher)
            metrics.late(watcher, number)
            metrics.restarted(watcher)
            metrics.reconnected(watcher)
        metrics.touched(list(Update)[number % len(Update)])
        metrics.tried(list(Tried)[number % len(Tried)])
    assert series(metrics) == before
    with pytest.raises(KeyError):
        metrics.missed("python-urllib3/other")
    assert series(metrics) == before


def test_two_soaks_in_one_process_do_not_share_counts() -> None:
    """Otherwise the rehearsal, which runs several, shows each one's misses to all."""
    one, two = Metrics(WATCHERS, version="1"), Metrics(WATCHERS, version="1")
    one.missed(WATCHERS[0])
    assert value(two, "watcher_misses_total", **URLLIB3) == 0


def test_names_follow_the_conventions(metrics: Metrics) -> None:
    """Otherwise the user's rules and dashboards, which rely on them, do not fit."""
    for family in families(metrics):
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        assert not any(sample.name.endswith("_created") for sample in family.samples)
        assert family.name.startswith(("watcher_", "process_"))


def test_it_says_which_version_runs(metrics: Metrics) -> None:
    """Otherwise nobody can tell before and after an upgrade apart."""
    (build,) = [family for family in families(metrics) if family.name == "watcher_build_info"]
    assert build.samples[0].labels["version"] == "1.2"
    assert build.samples[0].value == 1
