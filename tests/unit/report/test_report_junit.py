"""JUnit XML of a run: what a CI system's view of tests makes of the matrix."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.unit.report.examples import a_cell, a_full_run, a_run
from watcher.model import Control, Results, Verdict
from watcher.report import junit


def read(results: Results) -> ElementTree.Element:
    return ElementTree.fromstring(junit.render(results))  # noqa: S314  # made here


def kinds(results: Results) -> dict[str, list[str]]:
    return {case.get("name", ""): [child.tag for child in case] for case in read(results).iter("testcase")}


def test_skipped_is_not_failed() -> None:
    """A setting that a library does not have turns somebody's CI red, or a silent failure stays green."""
    cells = [a_cell(verdict, profile=f"p-{verdict.value}", repeats=(verdict,)) for verdict in Verdict]
    found = kinds(a_run(*cells))
    expected = {
        Verdict.OK: [],
        Verdict.DIED: ["system-out"],
        Verdict.LATE: ["failure"],
        Verdict.STUCK: ["failure"],
        Verdict.FLAKY: ["failure"],
        Verdict.FALSE_ABORT: ["failure"],
        Verdict.INVALID: ["skipped"],
        Verdict.UNSUPPORTED: ["skipped"],
        Verdict.NOT_BUILT: ["skipped"],
        Verdict.NOT_RUN: ["skipped"],
    }
    assert {verdict: found[f"p-{verdict.value}/control"] for verdict in Verdict} == expected


def test_counts_add_up() -> None:
    """The summary of a CI system, which reads the counts, says otherwise than its list."""
    root = read(a_full_run())
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases) > 0
        assert int(suite.get("failures", "")) == sum(case.find("failure") is not None for case in cases)
        assert int(suite.get("skipped", "")) == sum(case.find("skipped") is not None for case in cases)
    assert sum(int(suite.get("tests", "")) for suite in root) == 2 * 4 * 9 + 1 + 2 * 9


def test_a_run_that_cannot_be_trusted_is_red() -> None:
    """Cells that were skipped for a broken lab look like a good day."""
    assert kinds(a_run(a_cell()))["the run can be trusted"] == []
    distrusted = a_run(a_cell(), trusted=False, distrust=("the judge saw 1 of 2 records",))
    assert kinds(distrusted)["the run can be trusted"] == ["failure"]


def test_controls() -> None:
    """A deaf control that sees the change means that nothing was tested."""
    good = a_cell(Verdict.STUCK, control=Control.DEAF)
    bad = a_cell(Verdict.OK, control=Control.DEAF)
    assert kinds(a_run(a_cell(), controls=(good,)))["control deaf/control"] == []
    assert kinds(a_run(a_cell(), controls=(bad,)))["control deaf/control"] == ["failure"]


def test_any_text_is_written() -> None:
    """One control character in an error message, and no tool can read the file."""
    reason = "a\x00b\x1b[31m\ud800\ufffe<&\"'>]]>\n"
    results = a_run(a_cell(Verdict.STUCK, reason=reason))
    failure = next(read(results).iter("failure"))
    assert "<&\"'>]]>" in failure.get("message", "")
    junit.render(results).encode()
