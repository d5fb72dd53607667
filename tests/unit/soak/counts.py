"""Totals for tests."""

from __future__ import annotations

from typing import Any

from watcher.totals import Totals, WatcherTotals


def counted(stack: str = "python-kubernetes", profile: str = "default", **changed: Any) -> WatcherTotals:
    return WatcherTotals.model_validate({"stack": stack, "profile": profile} | changed)


def totals(*watchers: WatcherTotals, **changed: Any) -> Totals:
    known: dict[str, Any] = {
        "instance": "soak",
        "cluster": "aks public",
        "interval": "600",
        "deadline_seconds": 10,
        "began_at": "2026-11-20T00:00:00.000+00:00",
        "last_at": "2026-11-21T00:00:00.000+00:00",
        "watchers": watchers,
    }
    return Totals.model_validate(known | changed)
