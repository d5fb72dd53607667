"""The newest published run in the README, and the index of them all."""

from __future__ import annotations

import pytest

from tests.unit.report.examples import Cell, Run
from tests.unit.report.test_report_markdown import rows
from watcher.errors import FileError
from watcher.model import Coming, Control, Results, StackResult, Verdict
from watcher.report import index, readme
from watcher.report.index import Published
from watcher.report.markdown import escape


def published(results: Results, name: str = "2026-11-21-0123abcd", kernel: str = "6.18.1") -> Published:
    return Published(name, results, {"kernel": kernel})


def block(results: Results, **changes: str) -> str:
    return readme.block(published(results, **changes), "results/2026-11-21-0123abcd/matrix.md")


def in_true_time(results: Results) -> Results:
    return results.model_copy(update={"run": results.run.model_copy(update={"scale": 1, "deadline_seconds": 10})})


def measured(results: Results, keepalive: str | None) -> Results:
    stacks = {
        name: stack.model_copy(update={"measured_keepalive": keepalive}) for name, stack in results.stacks.items()
    }
    return results.model_copy(update={"stacks": stacks})


def test_it_says_which_run_it_is(cell: Cell, run: Run) -> None:
    """A reader cannot tell where a number comes from."""
    results = in_true_time(run(cell(repeats=(Verdict.OK, Verdict.OK))))
    first = block(results).splitlines()[0]
    assert first == (
        "Run [2026-11-21-0123abcd](results/2026-11-21-0123abcd/matrix.md) of 21 November 2026: true time,"
        " embedded control plane, Linux 6.18.1, each cell twice, deadline 10 s."
    )


def test_a_run_that_proves_nothing_says_so(cell: Cell, run: Run) -> None:
    """A hurried or untrusted run stands in the README like any other."""
    assert "scale 20, cannot be trusted" in block(run(cell(), trusted=False))


def test_the_run_with_the_most_stacks_is_shown(cell: Cell, run: Run) -> None:
    """A reader looks for their library, and finds the two that somebody sent through every scenario last night."""
    newest = published(run(cell()), "2026-11-23-0123abcd")
    wide = published(run(cell(), cell(stack="other")), "2026-11-22-0123abcd")
    older = published(run(cell(), cell(stack="other")), "2026-11-21-0123abcd")
    assert readme.shown([newest, wide, older]) is wide


def test_the_matrix_is_grouped(cell: Cell, run: Run) -> None:
    """Somebody looks for a setting that works with a library, and reads another library's row."""
    results = run(
        cell(Verdict.OK, 0.04, repeats=(Verdict.OK,)),
        cell(Verdict.LATE, 14.2, profile="retry", repeats=(Verdict.OK, Verdict.OK, Verdict.LATE)),
        cell(Verdict.UNSUPPORTED, profile="http2-ping"),
        cell(Verdict.STUCK, stack="other", scenario="aws-nlb", repeats=(Verdict.OK,)),
        controls=(cell(Verdict.OK, 0.0, stack="perfect", profile="control", control=Control.PERFECT),),
    )
    text = block(results)
    assert rows(text)[:6] == [
        ["stack", "profile", "control", "aws-nlb"],
        ["---"] * 4,
        ["**python-kubernetes**", "default", "✓ 0.0", ""],
        ["", "retry", "\\~ 14", ""],
        ["**other**", "default", "", "✗ stuck"],
        ["*control*", "*perfect*", "✓ 0.0", ""],
    ]
    assert "each cell once, where they disagreed 3 times" in text
    assert "no such setting: python-kubernetes http2-ping" in text
    assert "an empty cell was not part of the run" in text


def test_the_short_form_is_about_the_defaults(cell: Cell, run: Run) -> None:
    """A user of a library as it comes is promised what only another setting does."""
    flaky = cell(Verdict.FLAKY, scenario="d", repeats=(Verdict.OK, Verdict.STUCK, Verdict.STUCK))
    results = run(
        cell(Verdict.OK, 0.1, scenario="a"),
        cell(Verdict.DIED, scenario="b"),
        cell(Verdict.STUCK, scenario="c"),
        flaky,
        cell(Verdict.INVALID, scenario="e"),
        cell(Verdict.OK, 0.1, scenario="c", profile="retry"),
        cell(Verdict.OK, 0.1, scenario="f", profile="retry"),
    )
    seeds = rows(block(measured(results, "default: none in 600 s; retry: every 30 s")))[-3:]
    assert seeds == [
        ["Client", "Has keepalive?", "a", "b", "c", "d", "e"],
        ["---"] * 7,
        [
            "python-kubernetes (kubernetes 37.0.2)", "no \\(none in 600 s\\)",
            "PASS", "PASS with restarts", "FAIL", "FAIL \\(2 of 3\\)", "invalid",
        ],
    ]  # fmt: skip


def test_what_is_to_come_keeps_its_place(cell: Cell, run: Run) -> None:
    """A user of .NET finds nothing, and takes it for "nothing to report"."""
    coming = Coming(language="<.NET>", library="KubernetesClient")
    table = rows(readme.block(published(run(cell(), cell(scenario="aws-nlb"))), "link", [coming]))
    name = escape("<.NET>")
    assert name != "<.NET>"
    assert [f"**{name}** (KubernetesClient)", "to come", "", ""] in table
    assert table[-1] == [f"{name} (KubernetesClient)", "to come", "", ""]
    there = coming.model_copy(update={"language": "python"})
    other = coming.model_copy(update={"protocol": "nats"})
    assert "to come" not in readme.block(published(run(cell())), "link", [there, other])


@pytest.mark.parametrize(
    ("keepalive", "shown"),
    [
        ("retry: none in 240 s; default: every 30.7 s", "yes (every 30.7 s)"),
        ("retry: every 30.7 s", "not measured"),
        (None, "not measured"),
    ],
)
def test_keepalive_is_what_was_measured(cell: Cell, run: Run, keepalive: str | None, shown: str) -> None:
    """The table says no keepalive of a library that has one, or the other way round."""
    row = rows(block(measured(run(cell()), keepalive)))[-1]
    assert row[1].replace("\\", "") == shown


def test_hostile_names_stay_text(cell: Cell, run: Run) -> None:
    """A results file from elsewhere adds columns, links or HTML to the project's first page."""
    bad = "a|b<img src=x>\n[x](javascript:y) <!-- /results -->"
    results = run(cell(stack=bad, profile="default", scenario=bad))
    results = results.model_copy(
        update={
            "run": results.run.model_copy(update={"control_plane": bad}),
            "stacks": {
                bad: StackResult(
                    protocol="watch", language="x", library=bad, version=bad, measured_keepalive=f"default: {bad}"
                )
            },
        }
    )
    for text in (block(results, kernel=bad), index.render([published(results, kernel=bad)])):
        assert "<img" not in text
        assert "<!--" not in text
        assert "[x](" not in text
    table = rows(block(results))
    assert {len(row) for row in table} == {3}


def test_only_what_is_between_the_markers_changes() -> None:
    """Publishing a run takes text away that somebody wrote."""
    text = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"
    once = readme.replaced(text, "new\n", "README.md")
    assert once == "before\n<!-- results -->\nnew\n<!-- /results -->\nafter\n"
    assert readme.replaced(once, "new\n", "README.md") == once


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- results -->",
        "<!-- /results -->\n<!-- results -->",
        "<!-- results --><!-- results --><!-- /results -->",
    ],
)
def test_a_page_without_markers_is_an_error(text: str) -> None:
    """The table is nowhere to be seen, or half of the page is gone."""
    with pytest.raises(FileError, match="needs one <!-- results -->"):
        readme.replaced(text, "new\n", "README.md")


def test_the_index_is_newest_first(cell: Cell, run: Run) -> None:
    """A reader takes an old run for the state of things."""
    results = run(cell(Verdict.OK), cell(Verdict.STUCK, profile="retry"))
    later = results.model_copy(
        update={"run": results.run.model_copy(update={"started_at": "2027-01-02T03:04:05+00:00"})}
    )
    text = index.render([published(results, "2026-11-21-ffffffff"), published(later, "2027-01-02-00000000")])
    table = rows(text)
    assert [row[0] for row in table[2:]] == [
        "[2027-01-02-00000000](2027-01-02-00000000/matrix.md)",
        "[2026-11-21-ffffffff](2026-11-21-ffffffff/matrix.md)",
    ]
    assert table[2][1:] == ["2027-01-02 03:04", "scale 20", "embedded", "Linux 6.18.1", "2", "1 ok, 1 stuck"]
    assert "none yet" in index.render([])
