"""The matrix on terminals of any width and in pipes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.unit.report.examples import SCENARIOS, Cell, Run
from watcher.model import Results, Verdict
from watcher.report import terminal
from watcher.report.words import MARKS, Reading


def printed(results: Results, *, width: int | None = None, **console: object) -> str:
    file = io.StringIO()
    target = Console(file=file, width=width or 80, **console)  # type: ignore[arg-type]
    terminal.show(terminal.report(results, width), target)
    return file.getvalue()


def test_a_pipe_gets_plain_text_with_every_cell_on_its_line(full: Results) -> None:
    """In a CI log the matrix is full of escape codes, or a row is broken over lines and cannot be searched."""
    text = printed(full)
    assert "\x1b" not in text
    assert not any("─" <= char <= "╿" for char in text)
    rows = [line for line in text.splitlines() if line.startswith("  tcp-user-timeout")]
    assert rows == [
        "  tcp-user-timeout ! died  ✗ stuck ± 2/3   ·       -       _       ?       † abort   ✓ 0.0",
        "  tcp-user-timeout ?       † abort ✓ 0.0   ~ 88    ! died  ✗ stuck ± 2/3   ·         -",
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_no_cell_is_lost(full: Results, width: int) -> None:
    """On a narrow terminal the rows wrap into each other, or a scenario is silently missing from the matrix."""
    text = printed(full, width=width)
    lines = text.splitlines()
    assert all(len(line) <= width for line in lines)
    marks = [mark.symbol for mark in MARKS.values()]
    matrix = lines[: next(number for number, line in enumerate(lines) if line.startswith("PASS "))]
    rows = [line for line in matrix if line.startswith(("  default", "  retry", "  tcp-", "  perfect", "  deaf"))]
    shown = sum(sum(line[18:].count(mark) for mark in marks) for line in rows)
    assert shown == len(full.cells) + len(full.controls)


def test_every_scenario_is_named_where_columns_carry_numbers(full: Results) -> None:
    """A reader at 80 columns cannot tell which column is which scenario."""
    lines = printed(full, width=80).splitlines()
    assert [line for line in lines if line.partition(" ")[2] in SCENARIOS] == [
        f"{number} {name}" for number, name in enumerate(SCENARIOS, start=1)
    ]
    assert any(line.split() == [str(number) for number in range(1, 10)] for line in lines)


def test_colour_repeats_the_symbol_and_no_color_removes_it(full: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amber and red are mixed up, or NO_COLOR is ignored and a terminal without colours shows rubbish."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    settings = {"force_terminal": True, "color_system": "256"}
    coloured = printed(full, width=100, **settings)
    assert "\x1b[38;5;214m! died" in coloured
    assert "\x1b[1;31m✗ stuck" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed(full, width=100, **settings)
    assert "✗ stuck" in plain
    assert "\x1b[38" not in plain
    assert ";31m" not in plain
    assert "\x1b[31m" not in plain


def test_no_two_verdicts_look_alike_without_colour() -> None:
    """Two verdicts share a symbol, and a black-and-white print cannot be read."""
    assert set(MARKS) == set(Verdict)
    symbols = [mark.symbol for mark in MARKS.values()]
    assert len(set(symbols)) == len(symbols)
    in_ascii = [symbol.translate(terminal.IN_ASCII) for symbol in symbols]
    assert len(set(in_ascii)) == len(in_ascii)
    assert all(symbol.isascii() for symbol in in_ascii)


def test_the_legend_says_what_passes_and_what_fails(full: Results) -> None:
    """A reader takes `died` for a failure, or `flaky` for a pass."""
    legend = [line.plain for line in terminal.legend(full, None)]
    by_symbol = {}
    reading = ""
    for line in legend:
        reading = line[: len(Reading.PASS_WITH_RESTARTS)].strip() or reading
        by_symbol[line[len(Reading.PASS_WITH_RESTARTS) :].split()[0]] = reading
    assert by_symbol["✓"] == "PASS"
    assert by_symbol["!"] == "PASS with restarts"
    assert {by_symbol[symbol] for symbol in "~✗†±"} == {"FAIL"}
    assert {by_symbol[symbol] for symbol in "?·-_"} == {"not counted"}


def test_each_cell_that_is_not_ok_has_one_line_of_reason(full: Results) -> None:
    """A cell is red and nobody says why, or the list drowns in cells that nobody asked about."""
    lines = printed(full).splitlines()
    silent = {Verdict.OK, Verdict.UNSUPPORTED, Verdict.NOT_BUILT}
    for cell in full.cells:
        found = [line for line in lines if line.endswith(cell.reason)]
        where = f"{cell.stack} / {cell.profile} / {cell.scenario}"
        line = f"{MARKS[cell.verdict].symbol} {where}: {cell.verdict}: {cell.reason}"
        expected = [] if cell.verdict in silent else [line]
        if cell.verdict is Verdict.NOT_BUILT:  # once for all cells of the stack
            expected = [f"{cell.stack}: {cell.reason}"]
        assert found == expected


def test_hostile_text_is_shown_and_not_obeyed(cell: Cell, run: Run) -> None:
    """A library's error message recolours the report, hides lines of it, or moves the cursor of the user's terminal."""
    reason = "[red]boom[/red] :warning: \x1b[2J\x07 two\nlines \u202e"
    text = printed(run(cell(Verdict.DIED, None, reason)), width=200, force_terminal=True)
    assert "[red]boom[/red] :warning: \\x1b[2J\\x07 two lines \\u202e" in text
    assert "\x1b[2J" not in text


def test_output_that_knows_no_unicode_still_gets_a_matrix(cell: Cell, run: Run) -> None:
    """With an ASCII locale the report dies with UnicodeEncodeError after the run's many minutes."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    results = run(cell(Verdict.OK, 0.2), cell(Verdict.STUCK, None, "größer", profile="retry"))
    terminal.show(terminal.report(results, None), Console(file=file, width=80))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "+ 0.2" in text
    assert "x stuck" in text


def test_a_run_that_cannot_be_trusted_says_so_with_its_reasons(cell: Cell, run: Run) -> None:
    """Somebody publishes a matrix whose own controls failed."""
    text = printed(run(cell(), trusted=False, distrust=("the deaf client observed the touch",)))
    assert "This run cannot be trusted:\n- the deaf client observed the touch" in text
    assert "cannot be trusted" not in printed(run(cell()))


def test_the_three_figures_are_printed(full: Results) -> None:
    """Nobody can see that the lab has become slow."""
    text = printed(full)
    decided = sum(MARKS[cell.verdict].reading is not Reading.NOT_COUNTED for cell in full.cells)
    assert f"{decided} of 72 cells decided" in text
    assert "the lab was ready in 1.4 s" in text
    assert "the run took 61 s; its longest cell takes 38 s, starting all programs 16 s, partly meanwhile" in text


def test_an_empty_run_is_no_crash(run: Run) -> None:
    """A run that was interrupted before its first cell ends in a traceback."""
    assert "0 of 0 cells decided" in printed(run(scenarios=("control",)))
    assert printed(run(scenarios=("control",)), width=40)
