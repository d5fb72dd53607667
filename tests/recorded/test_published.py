"""What is published keeps its word: judged again it says the same, and each scenario is there for a reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

from watcher import journal
from watcher.catalog import Catalog
from watcher.judge.results import results_of
from watcher.model import CellResult, Results, Verdict
from watcher.report.files import RESULTS
from watcher.report.words import DECIDED

ROOT = Path(__file__).parents[2]
RUNS = sorted(file.parent for file in (ROOT / "results").glob(f"*/{RESULTS}"))
SCENARIOS = ROOT / "watcher" / "scenarios"
OFFICIAL = frozenset({"client-go-informer", "python-kubernetes"})
CONTROL = "control"
TOUCHES = ("# Touches nobody: ", "# Touches neither official client: ")
"""How a scenario's file begins the line that says why it turns no outcome."""


@cache
def published(run: Path) -> Results:
    return Results.model_validate_json((run / RESULTS).read_bytes())


def told(results: Results) -> dict[tuple[str, ...], tuple[Verdict, str | None, float | None]]:
    """What a run says of each cell, but for the words."""
    return {
        (cell.control or "", *key(cell)): (cell.verdict, cell.proof, cell.delay_seconds)
        for cell in (*results.cells, *results.controls)
    }


def key(cell: CellResult) -> tuple[str, str, str]:
    return cell.stack, cell.profile, cell.scenario


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_published_run_is_judged_the_same_again(run: Path) -> None:
    """Whoever contests a cell judges its journal again, and gets another verdict than the page shows."""
    again = results_of(journal.read(run))
    assert told(again) == told(published(run))
    assert again.run.trusted is published(run).run.trusted


def test_another_verdict_would_be_seen() -> None:
    """The mutant of the above: a comparison of nothing."""
    results = published(RUNS[0])
    first = results.cells[0]
    for changed in (
        {"verdict": next(each for each in Verdict if each is not first.verdict)},
        {"proof": "another"},
        {"delay_seconds": 99.0},
    ):
        other = results.model_copy(update={"cells": (first.model_copy(update=changed), *results.cells[1:])})
        assert told(other) != told(results)
    assert len(told(results)) == len(results.cells) + len(results.controls)


def official() -> Results:
    """The newest published run of both official clients over the most scenarios."""
    runs = [published(run) for run in RUNS]
    of_both = [results for results in runs if {cell.stack for cell in results.cells} >= OFFICIAL]
    return max(of_both, key=lambda results: (len(results.scenarios), results.run.started_at))


def turned(cells: Iterable[CellResult]) -> frozenset[str]:
    """Scenarios in which an official client's outcome is another than where nothing goes wrong."""
    by_key = {key(cell): cell for cell in cells if cell.stack in OFFICIAL and cell.verdict in DECIDED}
    return frozenset(
        cell.scenario
        for (stack, profile, _), cell in by_key.items()
        if (quiet := by_key.get((stack, profile, CONTROL))) is not None and cell.verdict is not quiet.verdict
    )


def untold(found: frozenset[str], texts: Mapping[str, str]) -> list[str]:
    """Scenarios that turn nothing and do not say why, and those that say why and do turn something."""
    wrong = []
    for name, text in sorted(texts.items()):
        reasons = [line for line in text.splitlines() if line.startswith(TOUCHES)]
        harms = tomllib.loads(text)["fault"] != "none"
        if harms and name not in found and not reasons:
            wrong.append(f"{name} touches neither client, and its file does not say why")
        if reasons and name in found:
            wrong.append(f"{name} touches a client, and its file says: {reasons[0]}")
    return wrong


def texts() -> dict[str, str]:
    """The files of the scenarios that were in the run; one that is newer waits for the next."""
    return {name: (SCENARIOS / f"{name}.toml").read_text() for name in official().scenarios if name in own()}


def own() -> frozenset[str]:
    return frozenset(Catalog.load().scenarios)


def test_each_scenario_turns_an_outcome_or_says_why_not() -> None:
    """A column in which nobody ever fails, and the reader is left to guess whether the lab did anything."""
    assert len(texts()) > 40
    assert untold(turned(official().cells), texts()) == []


def test_a_reason_that_is_missing_or_untrue_is_found() -> None:
    """The mutants of the test above."""
    found, files = turned(official().cells), texts()
    silent = "azure-slb-server-180s"
    assert silent not in found
    without = "\n".join(line for line in files[silent].splitlines() if not line.startswith(TOUCHES))
    assert untold(found, {**files, silent: without}) == [
        f"{silent} touches neither client, and its file does not say why"
    ]
    assert "blackhole" in found
    [wrong] = untold(found, {**files, "blackhole": f"{TOUCHES[0]}it is harmless.\n{files['blackhole']}"})
    assert wrong.startswith("blackhole touches a client")
    assert untold(found - {"blackhole"}, files) == ["blackhole touches neither client, and its file does not say why"]
