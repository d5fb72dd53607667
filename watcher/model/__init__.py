"""The words of the project as frozen data: settings, paths, scenarios, client programs, plans, verdicts, results.

Everything here is a value. Nothing here touches a file, a clock or a process, so every layer may use it.
Durations carry their unit in their name. In the catalog they are *true* seconds, as documentation states them;
in a plan they are *real* seconds of this run, that is: true seconds divided by the scale.
"""

from __future__ import annotations

from watcher.model.cells import CellId, CellPlan, Control, Outcome, Skip, Timing, Touch, Verdict
from watcher.model.clients import COMMAND_PLACES, Build, Client, Coming, LockFile, Stack, Timer
from watcher.model.introductions import Introduction
from watcher.model.networks import Backend, Balancer, Ending, Evidence, InvalidPackets, Path, Scenario, ServerKeepalive
from watcher.model.results import (
    CellResult,
    RepeatResult,
    Results,
    RunResult,
    ScenarioResult,
    SettingsResult,
    StackResult,
)
from watcher.model.settings import Profile, Settings
from watcher.model.values import SCHEMA_VERSION, Name, PositiveSeconds, Seconds, Value

__all__ = [
    "COMMAND_PLACES",
    "SCHEMA_VERSION",
    "Backend",
    "Balancer",
    "Build",
    "CellId",
    "CellPlan",
    "CellResult",
    "Client",
    "Coming",
    "Control",
    "Ending",
    "Evidence",
    "Introduction",
    "InvalidPackets",
    "LockFile",
    "Name",
    "Outcome",
    "Path",
    "PositiveSeconds",
    "Profile",
    "RepeatResult",
    "Results",
    "RunResult",
    "Scenario",
    "ScenarioResult",
    "Seconds",
    "ServerKeepalive",
    "Settings",
    "SettingsResult",
    "Skip",
    "Stack",
    "StackResult",
    "Timer",
    "Timing",
    "Touch",
    "Value",
    "Verdict",
]
