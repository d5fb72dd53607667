"""How findings name flows and moments."""

from __future__ import annotations

from collections.abc import Iterable

from watcher.judge.case import Case
from watcher.judge.flows import Flow

NO_FAULT = "no fault was applied"
NOTHING_FOUND = "the client had no established flow at the fault"


def when(case: Case, t: float) -> str:
    return f"{t - case.touch.sent:+.3f} s from the touch"


def since_fault(case: Case, t: float) -> str:
    """Of something that the fault did: its record may come a little later."""
    assert case.applied is not None
    return f"{t - case.applied.t:+.3f} s from the fault"


def ports(flows: Iterable[Flow]) -> str:
    numbers = [str(flow.port) for flow in flows]
    if not numbers:
        return "any flow"
    return f"port {numbers[0]}" if len(numbers) == 1 else f"ports {', '.join(numbers)}"


def longest_silence(case: Case) -> str:
    """How quiet the client's flows were at most."""
    if not case.open_at_touch:
        return "none was open at the touch"
    return f"longest silence {case.longest_silence():.1f} s"
