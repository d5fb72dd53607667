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
from watcher.report.words import DECIDED, MARKS, Reading, printable, seconds_text


class Change(StrEnum):
    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    NOT_COMPARABLE = "not comparable"


class Turn(StrEnum):
    """What a change is to a user."""

    BETTER = "better"
    WORSE = "worse"
    OTHER = "other"
    """Another way to fail."""


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
    turn: Turn | None = None
    """Of a changed cell."""


@dataclass(frozen=True)
class Versions:
    """What ran under one stack's name; None where the run has no such stack, or does not know."""

    stack: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Difference:
    before: str
    after: str
    """The ids of the runs."""
    cells: tuple[CellDifference, ...]
    versions: tuple[Versions, ...] = ()

    @property
    def changed(self) -> bool:
        return any(cell.change is Change.CHANGED for cell in self.cells)

    def of(self, change: Change) -> list[CellDifference]:
        return [cell for cell in self.cells if cell.change is change]

    def as_json(self) -> dict[str, object]:
        return {"schema_version": 1, "changed": self.changed, **asdict(self)}


def compare(before: Results, after: Results, names: tuple[str | None, str | None] = (None, None)) -> Difference:
    """Every cell of either run, in the order of the first, then what only the second has. ``names`` instead of ids."""
    old, new = before.by_key(), after.by_key()
    keys = [*old, *(key for key in new if key not in old)]
    cells = tuple(_cell(key, old.get(key), new.get(key)) for key in keys)
    first, second = names[0] or before.run.id, names[1] or after.run.id
    return Difference(first, second, cells, tuple(_versions(before, after)))


def _versions(before: Results, after: Results) -> Iterator[Versions]:
    for stack in dict.fromkeys([*before.stacks, *after.stacks]):
        found = (results.stacks.get(stack) for results in (before, after))
        old, new = (f"{known.library} {known.version or ''}".strip() if known else None for known in found)
        yield Versions(stack, old, new)


def _cell(key: tuple[str, str, str], old: CellResult | None, new: CellResult | None) -> CellDifference:
    change, reason = _judge(old, new)
    before, after = (_verdict(cell) if cell else "" for cell in (old, new))
    turn = _turn(old, new) if change is Change.CHANGED else None
    return CellDifference(*key, change=change, before=before, after=after, reason=reason, turn=turn)


def _turn(old: CellResult | None, new: CellResult | None) -> Turn:
    readings = list(Reading)
    was, now = (readings.index(MARKS[cell.verdict].reading) if cell else 0 for cell in (old, new))
    return Turn.OTHER if was == now else Turn.BETTER if now < was else Turn.WORSE


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
