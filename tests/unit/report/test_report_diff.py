"""Two runs, cell by cell."""

from __future__ import annotations

import json

import pytest

from tests.unit.report.examples import Cell, Run
from watcher.model import Verdict
from watcher.report.diff import Change, compare, lines

DECIDED = (Verdict.OK, Verdict.LATE, Verdict.DIED, Verdict.STUCK, Verdict.FALSE_ABORT, Verdict.FLAKY)
UNDECIDED = (Verdict.INVALID, Verdict.NOT_RUN, Verdict.UNSUPPORTED, Verdict.NOT_BUILT)


@pytest.mark.parametrize("verdict", DECIDED)
def test_another_verdict_is_a_difference(cell: Cell, run: Run, verdict: Verdict) -> None:
    """A library's regression passes the comparison that should have stopped it."""
    other = Verdict.STUCK if verdict is Verdict.OK else Verdict.OK
    assert compare(run(cell(verdict)), run(cell(other))).changed
    assert not compare(run(cell(verdict)), run(cell(verdict))).changed


@pytest.mark.parametrize("verdict", UNDECIDED)
def test_what_one_run_does_not_decide_is_listed_and_no_difference(cell: Cell, run: Run, verdict: Verdict) -> None:
    """A scaled run can never be compared with one in true time: every cell that the scale forbids would be an alarm."""
    undecided = run(cell(verdict, None, "because of that"))
    for pair in ((undecided, run(cell())), (run(cell()), undecided)):
        difference = compare(*pair)
        assert not difference.changed
        (only,) = difference.of(Change.NOT_COMPARABLE)
        assert f"{verdict}: because of that" in only.reason


def test_cells_of_only_one_run_are_added_or_removed(cell: Cell, run: Run) -> None:
    """A run of a part cannot be compared with a run of the whole."""
    small, large = run(cell()), run(cell(), cell(Verdict.STUCK, profile="retry"))
    grown, shrunk = compare(small, large), compare(large, small)
    assert [c.profile for c in grown.of(Change.ADDED)] == ["retry"]
    assert [c.profile for c in shrunk.of(Change.REMOVED)] == ["retry"]
    assert not grown.changed
    assert not shrunk.changed


def test_cells_are_matched_by_name_and_not_by_place(cell: Cell, run: Run) -> None:
    """Two runs whose cells come in another order look different, or, worse, the same."""
    first, second = cell(Verdict.OK, scenario="a"), cell(Verdict.STUCK, scenario="b")
    assert not compare(run(first, second), run(second, first)).changed
    swapped = run(cell(Verdict.STUCK, scenario="a"), cell(Verdict.OK, scenario="b"))
    assert len(compare(run(first, second), swapped).of(Change.CHANGED)) == 2


def test_other_seconds_under_the_same_verdict_are_no_difference(cell: Cell, run: Run) -> None:
    """No two runs ever compare equal."""
    assert not compare(run(cell(Verdict.OK, 0.1)), run(cell(Verdict.OK, 0.9))).changed


def test_lines_say_what_moved_and_stay_single_lines(cell: Cell, run: Run) -> None:
    """The reader of a red CI job does not learn which cell it was."""
    before = run(cell(Verdict.OK, 0.1), cell(profile="retry"), id="before")
    after = run(cell(Verdict.STUCK, None, "no event [bold]\nsince"), cell(profile="retry"), id="after")
    text = [line.plain for line in lines(compare(before, after))]
    assert text[0] == "changed: python-kubernetes / default / control: ok 0.1 s -> stuck: no event [bold] since"
    assert text[1] == "before and after: 1 same, 1 changed, 0 added, 0 removed, 0 not comparable"
    assert text[2] == "the runs differ"


def test_json_carries_every_cell(cell: Cell, run: Run) -> None:
    """A script cannot use the comparison."""
    value = json.loads(json.dumps(compare(run(cell()), run(cell(Verdict.LATE, 12.0))).as_json()))
    assert value["changed"] is True
    assert value["cells"] == [
        {
            "stack": "python-kubernetes",
            "profile": "default",
            "scenario": "control",
            "change": "changed",
            "before": "ok",
            "after": "late 12 s",
            "reason": "",
            "turn": "worse",
        }
    ]
