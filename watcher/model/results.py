"""``results.json``."""

from __future__ import annotations

from typing import Literal

from watcher.model.cells import Control, Verdict
from watcher.model.clients import Timer
from watcher.model.settings import Settings
from watcher.model.values import Value


class StackResult(Value):
    protocol: str
    language: str
    library: str
    version: str | None = None
    runtime: str | None = None
    timers: tuple[Timer, ...] = ()
    measured_keepalive: str | None = None
    """What packets showed on a quiet flow, per profile: for example ``default: none; tcp-keepalive: every 30 s``."""


class ScenarioResult(Value):
    description: str
    path: str
    fault: str
    source: str
    threads: tuple[str, ...] = ()


class SettingsResult(Value):
    asked: Settings
    effective: Settings


class RepeatResult(Value):
    verdict: Verdict
    delay_seconds: float | None = None
    reason: str


class CellResult(Value):
    stack: str
    profile: str
    scenario: str
    verdict: Verdict
    delay_seconds: float | None = None
    reason: str
    proof: str
    settings: SettingsResult
    repeats: tuple[RepeatResult, ...]
    evidence: dict[str, object]
    control: Control | None = None


class RunResult(Value):
    id: str
    started_at: str
    started_monotonic: float = 0.0
    """``started_at`` on the clock of the journal's ``t``."""
    scale: float
    deadline_seconds: float
    control_plane: str
    trusted: bool
    distrust: tuple[str, ...] = ()
    """Why the run cannot be trusted; empty when it can."""
    figures: dict[str, float] = {}  # noqa: RUF012 - pydantic gives every instance its own
    """Measured: ``setup_seconds``, ``start_seconds``, ``wall_seconds``, ``longest_cell_seconds``, ``wall_ratio``."""


class Results(Value):
    """``results.json``. ``cells`` are keyed by (stack, profile, scenario); controls are in ``controls``."""

    schema_version: Literal[1] = 1
    run: RunResult
    stacks: dict[str, StackResult]
    scenarios: dict[str, ScenarioResult]
    cells: tuple[CellResult, ...]
    controls: tuple[CellResult, ...] = ()

    def by_key(self) -> dict[tuple[str, str, str], CellResult]:
        return {(cell.stack, cell.profile, cell.scenario): cell for cell in self.cells}
