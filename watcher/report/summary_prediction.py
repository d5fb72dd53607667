"""What the lab says of the same client on the path that a cluster is said to have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from watcher.model import CellResult, Results, Value, Verdict
from watcher.report.summary_groups import Group
from watcher.report.words import DECIDED, MARKS, Reading, cell_text

IDLE = "idle-expiry"
"""The fault that a soak waits for: it meets what idleness does. With a path that forgets nothing it is held against the
control."""
CONTROL = "none"


@dataclass(frozen=True)
class LabRun:
    """One run of the lab, by the name of its folder."""

    name: str
    results: Results

    @cached_property
    def cells(self) -> dict[tuple[str, str, str], CellResult]:
        return self.results.by_key()


class Predicted(Value):
    """The lab's word for one scenario."""

    scenario: str
    reading: str
    """PASS, PASS with restarts, FAIL; or the verdict where it counts as none of them."""
    verdict: Verdict | None
    text: str
    note: str = ""
    """Where the lab's version was another."""
    run: str = ""
    """Which run says so, where it is not the newest one."""


def newest_first(runs: Iterable[LabRun]) -> list[LabRun]:
    return sorted(runs, key=lambda run: (datetime.fromisoformat(run.results.run.started_at), run.name), reverse=True)


def relevant(runs: Sequence[LabRun], paths: Iterable[str]) -> list[LabRun]:
    """Those that know one of the paths; where none does, the first, so that the table can say whose silence it is."""
    known = set(paths)
    found = [run for run in runs if any(each.path in known for each in run.results.scenarios.values())]
    return found or list(runs[:1])


def predicted(
    runs: Sequence[LabRun], path: str | None, key: tuple[str, str], group: Group | None
) -> tuple[Predicted, ...]:
    """Of each scenario with this path the newest run's word that decides something, else the newest word. ``runs`` come
    newest first. Nothing where nobody says what path it is, or no run has it."""
    fitting = [] if path is None else _fitting(runs, path)
    told = [each for scenario in fitting if (each := _told(runs, scenario, key, group)) is not None]
    if told or not fitting:
        return tuple(told)
    silence = "not in this run" if len(runs) == 1 else "in no run"
    scenario = path if path is not None and path in fitting else fitting[0]
    return (Predicted(scenario=scenario, reading=silence, verdict=None, text=""),)


def _fitting(runs: Sequence[LabRun], path: str) -> list[str]:
    scenarios: dict[str, str] = {}
    for run in runs:
        for name, each in run.results.scenarios.items():
            if each.path == path:
                scenarios.setdefault(name, each.fault)
    idle = [name for name, fault in scenarios.items() if fault == IDLE]
    return idle or [name for name, fault in scenarios.items() if fault == CONTROL]


def _told(runs: Sequence[LabRun], scenario: str, key: tuple[str, str], group: Group | None) -> Predicted | None:
    found = [(run, cell) for run in runs if (cell := run.cells.get((*key, scenario))) is not None]
    decided = [(run, cell) for run, cell in found if cell.verdict in DECIDED]
    for run, cell in (decided or found)[:1]:
        said = _predicted(run.results, cell, key[0], group)
        return said if run is runs[0] else said.model_copy(update={"run": run.name})
    return None


def _predicted(results: Results, cell: CellResult, stack: str, group: Group | None) -> Predicted:
    mark = MARKS[cell.verdict]
    reading = cell.verdict.value if mark.reading is Reading.NOT_COUNTED else mark.reading.value
    known = results.stacks.get(stack)
    version = known.version if known else None
    ran = group.plain_versions if group else ()
    differs = bool(version and ran and version not in ran)
    return Predicted(
        scenario=cell.scenario,
        reading=reading,
        verdict=cell.verdict,
        text=cell_text(cell),
        note=f"with {known.library} {version}" if known and differs else "",
    )
