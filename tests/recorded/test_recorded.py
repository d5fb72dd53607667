"""Runs that were recorded once keep their verdicts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from tests.unit.judge.clients import act, cell_of, controls
from tests.unit.judge.stage import journal
from watcher.judge.results import results_of
from watcher.model import CellResult, Results, Verdict
from watcher.records import RECORD, Record

HERE = Path(__file__).parent
FOLDERS = sorted(folder for folder in HERE.iterdir() if (folder / "expected.json").exists())


class ExpectedCell(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    proof: str | None = None
    reason: str | None = None


class Expected(BaseModel):
    model_config = ConfigDict(extra="forbid")

    trusted: bool
    cells: dict[str, ExpectedCell]
    controls: dict[str, ExpectedCell] = {}


def records_of(folder: Path) -> list[Record]:
    packed = folder / "journal.jsonl.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "journal.jsonl").read_bytes()
    return [RECORD.validate_json(line) for line in data.splitlines()]


def differences(results: Results, expected: Expected) -> list[str]:
    """What the results say otherwise than expected; empty is good."""
    found = []
    if results.run.trusted is not expected.trusted:
        found.append(f"trusted is {results.run.trusted}: {results.run.distrust}")
    for what, cells, wanted in (
        ("cells", results.cells, expected.cells),
        ("controls", results.controls, expected.controls),
    ):
        by_name = {f"{cell.stack}/{cell.profile}/{cell.scenario}": cell for cell in cells}
        if by_name.keys() != wanted.keys() and (what == "cells" or wanted):
            found.append(f"{what} differ: {sorted(by_name.keys() ^ wanted.keys())}")
        for name in by_name.keys() & wanted.keys():
            found += _difference(name, by_name[name], wanted[name])
    return sorted(found)


def _difference(name: str, cell: CellResult, wanted: ExpectedCell) -> list[str]:
    same = (
        cell.verdict is wanted.verdict
        and wanted.proof in (None, cell.proof)
        and cell.reason.startswith(wanted.reason or "")
    )
    return [] if same else [f"{name} is {cell.verdict.value}, proof {cell.proof}: {cell.reason}"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_recorded_run(folder: Path) -> None:
    """A published verdict changes with a new version of the judge, and nobody meant it to."""
    expected = Expected.model_validate_json((folder / "expected.json").read_bytes())
    assert differences(results_of(records_of(folder)), expected) == []


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.jsonl.gz"])
def test_a_recording_is_compared_in_every_word(tmp_path: Path, name: str) -> None:
    """A recording that would pass whatever the judge says protects nobody."""
    records = journal(*(act(each) for each in [*controls("blackhole"), cell_of("blackhole", "default")]))
    lines = b"".join(RECORD.dump_json(record, exclude_none=True) + b"\n" for record in records)
    (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    results = results_of(records_of(tmp_path))
    cell = {"verdict": "stuck", "proof": "happened", "reason": "never saw"}
    good = {"trusted": True, "cells": {"python/default/blackhole": cell}}
    assert differences(results, Expected.model_validate(good)) == []
    for bad in (
        {**good, "trusted": False},
        {**good, "cells": {}},
        {**good, "cells": {"python/default/blackhole": {**cell, "verdict": "ok"}}},
        {**good, "cells": {"python/default/blackhole": {**cell, "proof": "unproven"}}},
        {**good, "cells": {"python/default/blackhole": {**cell, "reason": "saw"}}},
        {**good, "controls": {"deaf/control/blackhole": {"verdict": "ok"}}},
    ):
        assert differences(results, Expected.model_validate_json(json.dumps(bad))), bad
