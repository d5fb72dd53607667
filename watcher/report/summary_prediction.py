"""What the lab says of the same client on the path that a cluster is said to have. Pure."""

from __future__ import annotations

from watcher.model import CellResult, Results, Value, Verdict
from watcher.report.summary_groups import Group
from watcher.report.words import MARKS, Reading, cell_text

UNFIT = ("none", "blackhole")
"""Faults that a soak does not wait for: it meets what idleness does."""


class Predicted(Value):
    """The lab's word for one scenario."""

    scenario: str
    reading: str
    """PASS, PASS with restarts, FAIL; or the verdict where it counts as none of them."""
    verdict: Verdict | None
    text: str
    note: str = ""
    """Where the lab's version was another."""


def predicted(
    results: Results | None, path: str | None, key: tuple[str, str], group: Group | None
) -> tuple[Predicted, ...]:
    """Of each scenario with this path; nothing where nobody says what path it is."""
    if results is None or path is None:
        return ()
    cells = results.by_key()
    scenarios = [name for name, each in results.scenarios.items() if each.path == path]
    # With a path that forgets nothing, its control is what a soak can be held against.
    fitting = [name for name in scenarios if results.scenarios[name].fault not in UNFIT] or [
        name for name in scenarios if results.scenarios[name].fault == "none"
    ]
    return tuple(_predicted(results, name, cells.get((*key, name)), key[0], group) for name in fitting)


def _predicted(results: Results, scenario: str, cell: CellResult | None, stack: str, group: Group | None) -> Predicted:
    if cell is None:
        return Predicted(scenario=scenario, reading="not in this run", verdict=None, text="")
    mark = MARKS[cell.verdict]
    reading = cell.verdict.value if mark.reading is Reading.NOT_COUNTED else mark.reading.value
    known = results.stacks.get(stack)
    version = known.version if known else None
    ran = group.plain_versions if group else ()
    differs = bool(version and ran and version not in ran)
    return Predicted(
        scenario=scenario,
        reading=reading,
        verdict=cell.verdict,
        text=cell_text(cell),
        note=f"with {known.library} {version}" if known and differs else "",
    )
