"""A run, from the user's options to results: plan, stage, journal, judge. It begins in ``watcher.runner.run``."""
