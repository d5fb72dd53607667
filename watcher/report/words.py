"""How a verdict is shown and said: one symbol, one style, one sentence each, the same in every kind of report.

The symbol carries the meaning; the colour only repeats it, so that a report survives a pipe, NO_COLOR and
colour-blind readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watcher.model import CellResult, Verdict


class Reading(StrEnum):
    """What a verdict means to somebody who only wants to know whether it works."""

    PASS = "PASS"  # noqa: S105  # not a password
    PASS_WITH_RESTARTS = "PASS with restarts"  # noqa: S105
    FAIL = "FAIL"
    NOT_COUNTED = "not counted"


@dataclass(frozen=True)
class Mark:
    """``word`` stands in a cell that has no seconds to show; empty where the symbol says enough."""

    symbol: str
    word: str
    style: str
    reading: Reading
    meaning: str


MARKS = {
    Verdict.OK: Mark("✓", "ok", "green", Reading.PASS, "saw the change in time; the number is the seconds it took"),
    Verdict.DIED: Mark(
        "!",
        "died",
        "orange1",
        Reading.PASS_WITH_RESTARTS,
        "ended before it saw the change: failed loudly, a supervisor would restart it",
    ),
    Verdict.LATE: Mark(
        "~", "late", "yellow", Reading.FAIL, "saw the change, but after the deadline; the number is the seconds it took"
    ),
    Verdict.STUCK: Mark(
        "✗", "stuck", "bold red", Reading.FAIL, "saw nothing and said nothing until the window closed: failed silently"
    ),
    Verdict.FALSE_ABORT: Mark(
        "†", "abort", "magenta", Reading.FAIL, "false-abort: ended a healthy watch that nobody had asked it to end"
    ),
    Verdict.FLAKY: Mark("±", "flaky", "cyan", Reading.FAIL, "flaky: repeats differ; n/m failed"),
    Verdict.INVALID: Mark(
        "?", "", "dim", Reading.NOT_COUNTED, "invalid: the run cannot know, and the client is not charged"
    ),
    Verdict.UNSUPPORTED: Mark("·", "", "dim", Reading.NOT_COUNTED, "unsupported: the library has no such setting"),
    Verdict.NOT_BUILT: Mark("-", "", "dim", Reading.NOT_COUNTED, "not-built: its programs are not there"),
    Verdict.NOT_RUN: Mark("_", "", "dim", Reading.NOT_COUNTED, "not-run: planned, but the run ended before"),
}

DECIDED = frozenset(verdict for verdict, mark in MARKS.items() if mark.reading is not Reading.NOT_COUNTED)
"""The verdicts that say something about the client."""

NEEDS_NO_REASON = frozenset({Verdict.OK, Verdict.UNSUPPORTED, Verdict.NOT_BUILT})


def cell_text(cell: CellResult | None, *, words: bool = True) -> str:
    """What stands in a cell: symbol, then seconds or failed repeats or (with ``words``) a word."""
    if cell is None:
        return ""
    mark = MARKS[cell.verdict]
    if cell.verdict is Verdict.FLAKY:
        failed, counted = failed_repeats(cell)
        return f"{mark.symbol} {failed}/{counted}"
    if cell.delay_seconds is not None:
        return f"{mark.symbol} {seconds_text(cell.delay_seconds)}"
    return f"{mark.symbol} {mark.word}" if words and mark.word else mark.symbol


def failed_repeats(cell: CellResult) -> tuple[int, int]:
    """How many repeats of the cell failed, of how many that count."""
    counted = [repeat.verdict for repeat in cell.repeats if repeat.verdict in DECIDED]
    return sum(MARKS[verdict].reading is Reading.FAIL for verdict in counted), len(counted)


def seconds_text(seconds: float) -> str:
    """Seconds for a narrow column: tenths below ten, whole ones above."""
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"


def printable(text: str) -> str:
    """``text`` on one line and harmless to a terminal: a program's message may carry escape sequences."""
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def _visible(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode()
