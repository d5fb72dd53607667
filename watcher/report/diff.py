"""Two runs, cell by cell.

Compared is what both runs decide; a verdict that says nothing about the client (invalid, not run, unsupported), or a
cell that one of them does not have, is listed with its reason and is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from rich.text import Text

from watcher.model import CellResult, Results
from watcher.report.words import DECIDED, printable, seconds_text


class Change(StrEnum):
    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class CellDifference:
    """One cell in two runs; ``before`` and ``after`` are the verdicts with their seconds, empty where there is none."""

    stack: str
    profile: str
    scenario: str
    change: Change
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Difference:
    before: str
    after: str
    """The ids of the runs."""
    cells: tuple[CellDifference, ...]

    @property
    def changed(self) -> bool:
        return any(cell.change is Change.CHANGED for cell in self.cells)

    def of(self, change: Change) -> list[CellDifference]:
        return [cell for cell in self.cells if cell.change is change]

    def as_json(self) -> dict[str, object]:
        return {"schema_version": 1, "changed": self.changed, **asdict(self)}


def compare(before: Results, after: Results) -> Difference:
    """Every cell of either run, in the order of the first, then what only the second has."""
    old, new = before.by_key(), after.by_key()
    keys = [*old, *(key for key in new if key not in old)]
    return Difference(before.run.id, after.run.id, tuple(_cell(key, old.get(key), new.get(key)) for key in keys))


def _cell(key: tuple[str, str, str], old: CellResult | None, new: CellResult | None) -> CellDifference:
    change, reason = _judge(old, new)
    before, after = (_verdict(cell) if cell else "" for cell in (old, new))
    return CellDifference(*key, change=change, before=before, after=after, reason=reason)


def _verdict(cell: CellResult) -> str:
    seconds = "" if cell.delay_seconds is None else f" {seconds_text(cell.delay_seconds)} s"
    return f"{cell.verdict}{seconds}"


def _judge(old: CellResult | None, new: CellResult | None) -> tuple[Change, str]:
    if old is None:
        return Change.ADDED, "only in the second run"
    if new is None:
        return Change.REMOVED, "only in the first run"
    undecided = [
        f"{which}: {cell.verdict}: {cell.reason}"
        for which, cell in (("first run", old), ("second run", new))
        if cell.verdict not in DECIDED
    ]
    if undecided:
        return Change.NOT_COMPARABLE, "; ".join(undecided)
    if old.verdict is new.verdict:
        return Change.SAME, ""
    return Change.CHANGED, new.reason


def lines(difference: Difference) -> Iterator[Text]:
    """What changed first, then what could not be compared, then the count; one line each."""
    for change in (Change.CHANGED, Change.ADDED, Change.REMOVED, Change.NOT_COMPARABLE):
        for cell in difference.of(change):
            yield _line(cell)
    counts = ", ".join(f"{len(difference.of(change))} {change}" for change in Change)
    yield Text(printable(f"{difference.before} and {difference.after}: {counts}"))
    yield Text("the runs differ" if difference.changed else "no difference in what both runs decide", style="bold")


def _line(cell: CellDifference) -> Text:
    where = f"{cell.stack} / {cell.profile} / {cell.scenario}"
    moved = f": {cell.before} -> {cell.after}" if cell.change is Change.CHANGED else ""
    reason = f": {cell.reason}" if cell.reason else ""
    line = Text(printable(f"{cell.change}: {where}{moved}{reason}"))
    line.stylize("bold red" if cell.change is Change.CHANGED else "dim", 0, len(cell.change))
    return line
