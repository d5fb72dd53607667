"""Soaks for tests, as a cluster holds them."""

from __future__ import annotations

from typing import Any

from watcher.totals import Export, Totals, Update, WatcherTotals

DAY = 86_400.0


def counted(stack: str = "python-kubernetes", profile: str = "default", **changed: Any) -> WatcherTotals:
    known: dict[str, Any] = {"stack": stack, "profile": profile, "library": "kubernetes", "version": "37.0.2"}
    return WatcherTotals.model_validate(known | changed)


def totals(*watchers: WatcherTotals, **changed: Any) -> Totals:
    known: dict[str, Any] = {
        "instance": "soak",
        "cluster": "aks westeurope",
        "interval": "900",
        "deadline_seconds": 10,
        "began_at": "2026-11-18T00:00:00.000+00:00",
        "last_at": "2026-11-21T00:00:00.000+00:00",
        "running_seconds": 2 * DAY,
        "updates": {Update.OK: max((each.touches for each in watchers), default=0)},
        "sessions": {"a": 3},
        "sessions_ever": 1,
        "watchers": watchers,
    }
    return Totals.model_validate(known | changed)


def export(*of: Totals, cluster: str = "public", **changed: Any) -> Export:
    known: dict[str, Any] = {"cluster": cluster, "exported_at": "2026-11-21T12:00:00+00:00", "totals": of}
    return Export.model_validate(known | changed)


def config_map(name: str, data: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": "2026-11-21T00:00:00Z"}, "data": data}
