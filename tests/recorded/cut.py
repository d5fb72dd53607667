"""Makes a recorded journal of some cells of a run: ``python -m tests.recorded.cut RUN NAME STACK/PROFILE/SCENARIO …``.

RUN is a run's folder, or a published one; NAME becomes a folder here; cells are globs. With the cells come the controls
of their scenarios, so that the judge reads it as a run of these cells alone. Names of the machine are taken out as
`watcher publish` does it. ``expected.json`` has what the judge says today: hold it against what it should say.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from watcher import journal
from watcher.judge.results import results_of
from watcher.model import CellResult
from watcher.publish.redaction import Redaction
from watcher.records import RECORD, Planned, Record, RunEnded, RunStarted

HERE = Path(__file__).parent


def cut(records: Sequence[Record], globs: Sequence[str], name: str) -> Iterator[Record]:
    """The records of the cells that match, and of the controls of their scenarios. A figure of the whole run is none
    of the part's."""
    plans = {str(each.plan.id): each.plan for each in records if isinstance(each, Planned)}
    chosen = {
        cell
        for cell, plan in plans.items()
        if plan.control is None and any(fnmatchcase(cell.rpartition("#")[0], glob) for glob in globs)
    }
    scenarios = {plans[cell].id.scenario for cell in chosen}
    stacks = {plans[cell].id.stack for cell in chosen}
    chosen |= {cell for cell, plan in plans.items() if plan.control is not None and plan.id.scenario in scenarios}
    for record in records:
        match record:
            case RunStarted():
                kept = {name: stack for name, stack in record.stacks.items() if name in stacks}
                told = {name: scenario for name, scenario in record.scenarios.items() if name in scenarios}
                yield record.model_copy(update={"run": name, "stacks": kept, "scenarios": told})
            case RunEnded():
                yield record.model_copy(update={"figures": {}})
            case _ if record.cell is None or record.cell in chosen:
                yield record


def expected(records: Sequence[Record]) -> dict[str, Any]:
    """What ``expected.json`` is made of: a cell's reason is left to whoever knows how it must begin."""
    results = results_of(records)

    def of(cells: Sequence[CellResult]) -> dict[str, dict[str, str]]:
        return {
            f"{cell.stack}/{cell.profile}/{cell.scenario}": {"verdict": cell.verdict.value, "proof": cell.proof}
            for cell in cells
        }

    return {"trusted": results.run.trusted, "cells": of(results.cells), "controls": of(results.controls)}


def main() -> None:
    run, name, *globs = sys.argv[1:]
    redaction = Redaction.of_this_machine(Path(run))
    lines = [
        redaction.line(RECORD.dump_json(record, exclude_none=True) + b"\n")
        for record in cut(list(journal.read(Path(run))), globs, name)
    ]
    if len(lines) < 3:
        raise SystemExit(f"no cell of {run} is called {' or '.join(globs)}")
    folder = HERE / name
    folder.mkdir()
    # Without a time of its making: equal input gives equal octets.
    (folder / "journal.jsonl.gz").write_bytes(gzip.compress(b"".join(lines), mtime=0))
    said = expected([RECORD.validate_json(line) for line in lines])
    (folder / "expected.json").write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
