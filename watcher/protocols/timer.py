"""A server says the time by its own clock, every 5 or every 600 s; a touch is a line out of turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from watcher.lab.addresses import API_ADDRESS
from watcher.lab.served import Served
from watcher.model import Path, Scenario, Stack
from watcher.protocols import Stage, check_variant, unfit_beside
from watcher.protocols._lines import LineService, too_fast

PERIODS_SECONDS = {"5s": (8005, 5.0), "600s": (8600, 600.0)}
"""Port and period by variant, as the server has them by itself."""


@asynccontextmanager
async def start(stage: Stage) -> AsyncIterator[LineService]:
    port, period_seconds = PERIODS_SECONDS[stage.variant]
    arguments = (
        "timer",
        "--address",
        API_ADDRESS,
        "--proxy",
        API_ADDRESS,
        "--port",
        f"{port}={period_seconds / stage.scale:g}",
    )
    name = f"timer-{stage.variant}"
    async with Served.start(
        name, arguments, namespace=stage.cluster, folder=stage.folder, scratch=stage.scratch
    ) as served:
        yield LineService(served, port)


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:
    check_variant(stack, PERIODS_SECONDS)
    _, period_seconds = PERIODS_SECONDS[stack.variant or ""]
    return unfit_beside(scenario, path) or too_fast(period_seconds, scale)
