"""A mutant of the lab, for whoever has this folder in PYTHONPATH: its proxies wait ten times as long as they should."""

from __future__ import annotations

import sys

if "watcher.runner.inside" in sys.orig_argv:
    from watcher.lab import proxies

    fronts = proxies.fronts
    proxies.fronts = lambda idle: fronts([None if each is None else 10 * each for each in idle])
