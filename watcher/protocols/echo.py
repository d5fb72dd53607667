"""Clients send a line every 5 s over one connection, and each answer carries the current nonce."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from watcher.model import Path, Scenario, Stack
from watcher.protocols import Stage, check_variant, unfit_beside
from watcher.protocols._lines import LineService, Speech, speaking, too_fast
from watcher.servers.echo import PORT

INTERVAL_SECONDS = 5.0


def start(stage: Stage) -> AbstractAsyncContextManager[LineService]:
    speech = Speech(
        name="echo",
        port=PORT,
        arguments=("echo", "--port", str(PORT)),
        probe=b"probe\n",
        variables={"WATCHER_INTERVAL_SECONDS": f"{INTERVAL_SECONDS / stage.scale:g}"},
    )
    return speaking(stage, speech)


def missing() -> str | None:
    return None


def unfit(stack: Stack, scenario: Scenario, path: Path, scale: float) -> str | None:
    check_variant(stack)
    return unfit_beside(scenario, path, own=True) or too_fast(INTERVAL_SECONDS, scale)
