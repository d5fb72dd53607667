"""A run, from the user's options to results: plan, stage, journal, judge. Import ``run`` from ``watcher.runner.run``."""
