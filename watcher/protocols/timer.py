"""A server says the time by its own clock, every 5 or every 600 s; a touch is a line out of turn."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from watcher.model import Path, Scenario, Stack
from watcher.protocols import Stage, check_variant, unfit_beside
from watcher.protocols._lines import LineService, Speech, speaking, too_fast

PERIODS_SECONDS = {"5s": (8005, 5.0), "600s": (8600, 600.0)}
"""Port and period by variant, as the server has them by itself."""


def start(stage: Stage) -> AbstractAsyncContextManager[LineService]:
    port, period_seconds = PERIODS_SECONDS[stage.variant]
    arguments = ("timer", "--port", f"{port}={period_seconds / stage.scale:g}")
    return speaking(stage, Speech(name=f"timer-{stage.variant}", port=port, arguments=arguments))


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:
    check_variant(stack, PERIODS_SECONDS)
    _, period_seconds = PERIODS_SECONDS[stack.variant or ""]
    return unfit_beside(scenario, path, own=True) or too_fast(period_seconds, scale)
