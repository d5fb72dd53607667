"""The soak's metrics for Prometheus.

Everything is there from the start, at zero: a counter that appears only with its first miss is a miss that ``increase``
does not see. Labels are the watchers named at the start and closed sets of outcomes, so that no series can grow in
number. What grows old is reported as an age, computed when it is asked for: a frozen process shows a growing age, not
the last good value.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from watcher.totals import Tried, Update

DELAY_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""10 is the default deadline; what is above it is late."""
LONGEST_PAUSE_SECONDS = 86_400.0
_WATCHER = ("stack", "profile")


class Metrics:
    """One soak's metrics, in a registry of their own. Any thread may call anything; nothing blocks.

    A watcher is named ``stack/profile``; one that was not named at the start is a KeyError.
    """

    def __init__(
        self,
        watchers: Iterable[str],
        *,
        version: str,
        interval_seconds: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``interval_seconds`` is the longest pause between two touches that the schedule has; None where that is not
        known, which then counts as a day."""
        # A time beside each counter, which nobody asks for and which doubles the series.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # carries no types
        self.registry = CollectorRegistry()
        self._now = now
        self._started = now()
        self._last_touch = self._last_beat = self._started
        self._last_observation: dict[str, float] = {}
        self._delay = Histogram(
            "watcher_observation_delay_seconds",
            "From the sending of a touch to its observation, late ones included",
            _WATCHER,
            buckets=DELAY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._observed = self._counter("watcher_observed", "Touches observed within the deadline", *_WATCHER)
        self._misses = self._counter("watcher_misses", "Touches not observed within the deadline", *_WATCHER)
        self._late = self._counter("watcher_late", "Of the misses: observed after the deadline", *_WATCHER)
        self._restarts = self._counter(
            "watcher_restarts", "Ends of a watcher's program that nobody asked for", *_WATCHER
        )
        self._reconnects = self._counter("watcher_reconnects", "New watches begun by the same program", *_WATCHER)
        self._observation_age = self._gauge(
            "watcher_last_observation_age_seconds",
            "Since a watcher's last observation; since the start of the soak where there was none",
            *_WATCHER,
        )
        self._touches = self._counter("watcher_touches", "Updates of the trigger by what became of them", "outcome")
        self._idle = self._counter(
            "watcher_idle_connection",
            "What a connection that was idle since the touch before said when it was tried",
            "outcome",
        )
        self._pending = self._gauge("watcher_failures_pending", "Misses that are not in the cluster yet")
        self._gauge(
            "watcher_change_interval_seconds", "The longest pause between two touches that the schedule has"
        ).set(interval_seconds or LONGEST_PAUSE_SECONDS)
        self._gauge(
            "watcher_last_touch_age_seconds", "Since the last touch, whatever became of it; since the start before it"
        ).set_function(lambda: self._now() - self._last_touch)
        self._gauge("watcher_last_beat_age_seconds", "Since the supervisor's last sign of life").set_function(
            lambda: self._now() - self._last_beat
        )
        Info("watcher_build", "What runs here", registry=self.registry).info(
            {"version": version, "python": platform.python_version()}
        )
        ProcessCollector(registry=self.registry)
        for outcome in Update:
            self._touches.labels(outcome.value)
        for tried in Tried:
            self._idle.labels(tried.value)
        self._labels = {watcher: self._begin(watcher) for watcher in watchers}

    def touched(self, outcome: Update) -> None:
        """A touch was decided as an update; watchers are another matter."""
        self._last_touch = self._now()
        self._touches.labels(outcome.value).inc()

    def observed(self, watcher: str, delay_seconds: float) -> None:
        """Within the deadline."""
        labels = self._labels[watcher]
        self._last_observation[watcher] = self._now()
        self._observed.labels(*labels).inc()
        self._delay.labels(*labels).observe(delay_seconds)

    def missed(self, watcher: str) -> None:
        self._misses.labels(*self._labels[watcher]).inc()

    def late(self, watcher: str, delay_seconds: float) -> None:
        """What was reported as ``missed`` before was observed after all."""
        labels = self._labels[watcher]
        self._last_observation[watcher] = self._now()
        self._late.labels(*labels).inc()
        self._delay.labels(*labels).observe(delay_seconds)

    def restarted(self, watcher: str) -> None:
        self._restarts.labels(*self._labels[watcher]).inc()

    def reconnected(self, watcher: str) -> None:
        self._reconnects.labels(*self._labels[watcher]).inc()

    def tried(self, outcome: Tried) -> None:
        self._idle.labels(outcome.value).inc()

    def failures_pending(self, number: int) -> None:
        self._pending.set(number)

    def beat(self) -> None:
        self._last_beat = self._now()

    def render(self) -> bytes:
        """In Prometheus's text format, as ``/metrics`` shows it."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _begin(self, watcher: str) -> tuple[str, str]:
        stack, profile = watcher.split("/")
        for metric in (self._delay, self._observed, self._misses, self._late, self._restarts, self._reconnects):
            metric.labels(stack, profile)
        self._observation_age.labels(stack, profile).set_function(partial(self._age, watcher))
        return stack, profile

    def _age(self, watcher: str) -> float:
        return self._now() - self._last_observation.get(watcher, self._started)
