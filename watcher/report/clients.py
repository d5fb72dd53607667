"""The short form, for documentation: *Client | Has keepalive? | a column for each scenario*, as libraries come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from watcher.model import CellResult, Coming, Results, Verdict
from watcher.report.markdown import escape, header, line
from watcher.report.matrix import heading
from watcher.report.words import MARKS, Reading, failed_repeats

NAME = "clients.md"
DEFAULT = "default"
TO_COME = "to come"

_READINGS = """\
PASS: saw the change in time. PASS with restarts: ended with an error before it saw it, and a supervisor restarts it.
FAIL: saw it too late or never. *Has keepalive?* is what packets showed on a quiet connection.
"""


def render(results: Results) -> str:
    """A whole document; ends with a newline."""
    return "\n".join(["# Clients", "", escape(heading(results)), "", *rows(results), "", _READINGS])


def rows(results: Results, coming: Sequence[Coming] = ()) -> Iterator[str]:
    """The table alone, one line after another; below it the places that are kept for ``coming``."""
    cells = {(cell.stack, cell.scenario): cell for cell in results.cells if cell.profile == DEFAULT}
    scenarios = [name for name in results.scenarios if any(scenario == name for _, scenario in cells)]
    yield from header(["Client", "Has keepalive?", *scenarios])
    for stack in dict.fromkeys(stack for stack, _ in cells):
        known = results.stacks.get(stack)
        library = f"{known.library} {known.version or ''}".strip() if known else ""
        keepalive = _keepalive(known.measured_keepalive if known else None)
        readings = (_reading(cells.get((stack, scenario))) for scenario in scenarios)
        yield line([f"{escape(stack)} ({escape(library)})", escape(keepalive), *map(escape, readings)])
    for each in coming:
        yield line([f"{escape(each.language)} ({escape(each.library)})", TO_COME, *("" for _ in scenarios)])


def _keepalive(measured: str | None) -> str:
    """As packets showed it for the default profile, whatever a library says of itself."""
    for part in (measured or "").split("; "):
        profile, _, seen = part.partition(": ")
        if profile == DEFAULT and seen:
            return f"{'no' if seen.startswith('none') else 'yes'} ({seen})"
    return "not measured"


def _reading(cell: CellResult | None) -> str:
    if cell is None:
        return ""
    reading = MARKS[cell.verdict].reading
    if reading is Reading.NOT_COUNTED:
        return cell.verdict.value
    if cell.verdict is Verdict.FLAKY:
        failed, counted = failed_repeats(cell)
        return f"{reading} ({failed} of {counted})"
    return reading.value
