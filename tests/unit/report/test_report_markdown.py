"""The matrix as GitHub Markdown."""

from __future__ import annotations

import re

from tests.unit.report.examples import SCENARIOS, Cell, Run
from watcher.model import Results, Verdict
from watcher.report import markdown
from watcher.report.files import derived

UNESCAPED_BAR = re.compile(r"(?<!\\)\|")


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows, as a Markdown parser splits them."""
    return [
        [part.strip() for part in UNESCAPED_BAR.split(line)[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]


def test_every_row_has_every_scenario(full: Results) -> None:
    """GitHub drops cells of a row that is longer than its header: a verdict vanishes from a published page."""
    table = rows(markdown.render(full))
    header = ["stack", "profile", *SCENARIOS]
    assert table[0] == header
    matrix = table[: 2 + 8 + 2]
    assert {len(row) for row in matrix} == {len(header)}
    assert matrix[5] == [
        "python-kubernetes", "tcp-user-timeout",
        "\\! died", "✗ stuck", "± 2/3", "·", "-", "\\_", "?", "† abort", "✓ 0.0",
    ]  # fmt: skip


def test_hostile_text_stays_text(cell: Cell, run: Run) -> None:
    """A library's error message adds columns, links or HTML to a published page."""
    reason = "a | b <img src=x onerror=alert(1)> [x](javascript:y) `c` **d** \\| $e$\n| f |"
    text = markdown.render(run(cell(Verdict.DIED, None, reason)))
    line = next(line for line in text.splitlines() if "died" in line and line.startswith("- "))
    assert "<img" not in text
    assert "\\[x\\]\\(javascript:y\\)" in line
    assert "a \\| b &lt;img src=x" in line
    assert "\\`c\\` \\*\\*d\\*\\* \\\\\\| \\$e\\$ \\| f \\|" in line
    assert "\n| f |" not in text


def test_names_from_a_results_file_cannot_break_the_table(cell: Cell, run: Run) -> None:
    """A results.json from elsewhere rewrites the page it is shown on."""
    text = markdown.render(run(cell(stack="a|b<i>", profile="c\nd", scenario="e|f")))
    assert rows(text)[2] == ["a\\|b&lt;i&gt;", "c d", "✓ ok"]


def test_threads_are_links_only_where_they_are_addresses(cell: Cell, run: Run) -> None:
    """A scenario of somebody's own smuggles markup into the page by its list of threads."""
    results = run(cell())
    scenario = results.scenarios["control"].model_copy(
        update={"threads": ("https://example.org/1", "javascript:alert(1)", "https://example.org/> | <b>")}
    )
    text = markdown.render(results.model_copy(update={"scenarios": {"control": scenario}}))
    assert "<https://example.org/1>" in text
    assert "javascript" not in text
    assert "<b>" not in text


def test_the_same_is_said_as_on_the_terminal(full: Results) -> None:
    """Reasons or figures are missing from what goes into a pull request."""
    text = markdown.render(full)
    silent = {Verdict.OK, Verdict.UNSUPPORTED}
    for cell in full.cells:
        said = any(line.endswith(f": {cell.reason}") for line in text.splitlines())
        assert said is (cell.verdict not in silent)
    assert "the lab was ready in 1.4 s" in text


def test_a_run_that_cannot_be_trusted_says_so_before_the_matrix(cell: Cell, run: Run) -> None:
    """Somebody reads verdicts before learning that they mean nothing."""
    text = markdown.render(run(cell(), trusted=False, distrust=("too many | invalid",)))
    assert text.index("cannot be trusted") < text.index("| stack |")
    assert "- too many \\| invalid" in text


def test_derived_files_read_back(full: Results) -> None:
    """results.json cannot be read by the next version of the command that wrote it."""
    files = derived(full)
    assert set(files) == {"results.json", "matrix.md"}
    assert Results.model_validate_json(files["results.json"]) == full
