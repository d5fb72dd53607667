"""The closed cells of a journal, one after another, for whoever wants to see more of them than their verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from watcher.judge.case import Case
from watcher.judge.facts import CellFacts
from watcher.model import CellPlan
from watcher.records import Began, Closed, Planned, Program, Record

MAX_LINES = 200
"""Lines of a program that are kept of one cell, from its beginning."""


@dataclass
class Replayed:
    """A cell's facts, and its program's lines in order."""

    facts: CellFacts
    lines: list[Program] = field(default_factory=list)
    lines_left_out: int = 0

    def take(self, record: Record) -> None:
        self.facts.take(record)
        if isinstance(record, Program):
            if len(self.lines) < MAX_LINES or record.event == "exited":
                self.lines.append(record)
            else:
                self.lines_left_out += 1


def cells(records: Iterable[Record]) -> Iterator[tuple[Case, Replayed, Closed]]:
    """Each cell as it closes; only the open ones are in memory."""
    plans: dict[str, CellPlan] = {}
    open_cells: dict[str, Replayed] = {}
    for record in records:
        if isinstance(record, Planned):
            plans[str(record.plan.id)] = record.plan
        elif record.cell is None:
            continue
        elif isinstance(record, Began) and record.cell in plans:
            open_cells[record.cell] = Replayed(CellFacts(plans[record.cell]))
        elif record.cell in open_cells:
            if isinstance(record, Closed):
                replayed = open_cells.pop(record.cell)
                yield Case(replayed.facts, record.t), replayed, record
            else:
                open_cells[record.cell].take(record)
