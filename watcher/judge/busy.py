"""Touches in quick succession: each must be seen in time, itself or by a later one's nonce, which is newer still."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from watcher.judge.case import Case
from watcher.records import Touched

ENOUGH = 0.9
"""By this share of its planned touches a busy cell was busy: a slow machine leaves some out."""


class Awaited(NamedTuple):
    """A touch, and when the program showed that it knew this state or a newer one; None where it never did."""

    touched: Touched
    seen: float | None
    since: float
    """From when on its delay is counted."""

    @property
    def delay_seconds(self) -> float | None:
        return None if self.seen is None else self.seen - self.since


def awaited(case: Case) -> tuple[Awaited, ...]:
    """The touches after the control touch, in order; in a scenario that is not busy there is one."""
    found: list[Awaited] = []
    earliest: float | None = None
    for touched in reversed(case.touches):
        seen = case.facts.observed(touched)
        if seen is not None and (earliest is None or seen < earliest):
            earliest = seen
        found.append(Awaited(touched, earliest, case.delayed_since(touched)))
    return tuple(reversed(found))


def missing(case: Case) -> str | None:
    """Why a scenario that was to be busy was not; None where it was, or was not to be."""
    timing = case.plan.timing
    if case.facts.too_many_touches:
        return "more touches than can be judged"
    if timing.busy_interval_seconds is None:
        return None
    planned = timing.touch_after_seconds / timing.busy_interval_seconds - 1
    made = len(case.touches) - 1
    return None if made >= ENOUGH * planned else f"{made} busy touches instead of {planned:.0f}"


def figures(case: Case) -> dict[str, object]:
    """How many touches there were, and the delays of those that were seen, in seconds."""
    waits = awaited(case)
    delays = [wait.delay_seconds for wait in waits if wait.delay_seconds is not None]
    return {
        "count": len(waits),
        "unseen": len(waits) - len(delays),
        "worst": round(max(delays), 3) if delays else None,
        "median": round(median(delays), 3) if delays else None,
    }
