"""A mutant of the lab, for whoever has this folder in PYTHONPATH: its proxies wait ten times as long as they should."""

from __future__ import annotations

import sys

if "watcher.runner.inside" in sys.orig_argv:
    from dataclasses import replace

    from watcher.lab import proxies

    fronts = proxies.fronts
    proxies.fronts = lambda ways: fronts(
        [replace(way, idle_seconds=None if way.idle_seconds is None else 10 * way.idle_seconds) for way in ways]
    )
