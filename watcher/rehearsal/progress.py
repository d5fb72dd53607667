"""What a stage says, in a line for the user. Pure."""

from __future__ import annotations

from collections import Counter

from watcher.rehearsal.order import Ended, Progress, Ready, Said
from watcher.totals import Totals


def words(what: Said) -> str:
    """One line; an end with problems has one more for each."""
    if isinstance(what, Ready):
        return f"{what.control_plane} is ready after {what.seconds:.1f} s, the soak has been started"
    if isinstance(what, Progress):
        return f"{_minutes(what.seconds)}: {counted(what.totals)}"
    if isinstance(what, Ended):
        audit = "" if what.audit is None else f"; the audit log has {what.audit.answered} answered touches"
        line = f"ended after {_minutes(what.seconds)}: {counted(what.totals)}; {what.failures} failures written{audit}"
        measured = (f"the path, measured: {what.measured}",) if what.measured else ()
        return "\n  ".join((line, *measured, *what.problems, *what.disagreements))
    return what.message


def counted(totals: tuple[Totals, ...]) -> str:
    """All instances added up, and each watcher that has not seen everything."""
    updates: Counter[str] = Counter()
    for each in totals:
        updates.update({str(update): count for update, count in each.updates.items()})
    parts = [f"touches: {', '.join(f'{count} {update}' for update, count in updates.items() if count) or 'none yet'}"]
    for watcher in (watcher for each in totals for watcher in each.watchers):
        if watcher.missed or watcher.restarts:
            said = f"{watcher.stack}/{watcher.profile} missed {watcher.missed} of {watcher.touches}"
            parts.append(f"{said}, {watcher.restarts} restarts" if watcher.restarts else said)
    return "; ".join(parts)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
