"""What a proof says of a stage's records, each of them changed or left out."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.judge.stage import Stage
from watcher.judge.case import Case
from watcher.judge.facts import CellFacts
from watcher.judge.proofs import PROOFS, Finding
from watcher.records import Packet, Record

Change = Callable[[Record], Record | None]


def case_of(stage: Stage, change: Change | None = None) -> Case:
    """The case of a stage's records, each changed or (None) left out."""
    facts = CellFacts(stage.plan)
    for record in stage.records:
        changed = record if change is None else change(record)
        if changed is not None:
            facts.take(changed)
    return Case(facts, stage.records[-1].t)


def finding(name: str, stage: Stage, change: Change | None = None) -> Finding:
    return PROOFS[name](case_of(stage, change))


def on(link: str, towards: str, flags: str | None = None) -> Callable[[Record], bool]:
    def matches(record: Record) -> bool:
        same = isinstance(record, Packet) and record.link == link and record.direction == towards
        return same and (flags is None or flags in record.flags)  # type: ignore[union-attr]  # a Packet by now

    return matches


def without(unwanted: Callable[[Record], bool]) -> Change:
    return lambda record: None if unwanted(record) else record


def only(kind: type[Record], **changes: object) -> Change:
    """Each record of that kind with these fields changed."""
    return lambda record: record.model_copy(update=changes) if isinstance(record, kind) else record
