"""The page's words for readers who do not know ours: one for each verdict, the same wherever the page names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from watcher.model import Introduction, Results, Verdict
from watcher.report.page.cures import Cure
from watcher.report.page.findings import Finding
from watcher.report.words import MARKS, Reading, seconds_text

PLAIN = {
    Verdict.OK: "sees it",
    Verdict.DIED: "fails loudly",
    Verdict.LATE: "too late",
    Verdict.STUCK: "fails silently",
    Verdict.FALSE_ABORT: "drops a healthy watch",
    Verdict.FLAKY: "repeats differ",
    Verdict.INVALID: "the lab cannot know",
    Verdict.UNSUPPORTED: "no such setting",
    Verdict.NOT_BUILT: "its program is not there",
    Verdict.NOT_RUN: "the run ended before",
}
"""What a verdict means for the client, in as few words as a chip holds."""

LEFT = {
    Verdict.DIED: "died: still fails loudly",
    Verdict.LATE: "late, but recovers",
    Verdict.FLAKY: "flaky: not reliably",
    Verdict.FALSE_ABORT: "false-abort: drops a healthy watch",
    Verdict.STUCK: "stuck: no recovery",
}
"""What a setting that cures nobody leaves everybody with."""

MOST_NAMED = 6
"""Of libraries, networks and silent stacks; the rest is one click away, unless it would be two or less."""
ALL_NAMED = MOST_NAMED + 2
FEW_NAMED = 3
"""Of stacks that do anything else, and of those that a setting does different things to."""


@dataclass(frozen=True)
class Chip:
    verdict: str
    symbol: str
    words: str
    meaning: str


def chip(verdict: Verdict | str, words: str = "") -> Chip:
    """A verdict as symbol and both its words: ``✗ stuck = fails silently``."""
    verdict = Verdict(verdict)
    mark = MARKS[verdict]
    return Chip(verdict.value, mark.symbol, words or f"{verdict.value} = {PLAIN[verdict]}", mark.meaning)


def left_with(verdict: Verdict) -> Chip:
    return chip(verdict, LEFT[verdict])


def cures_all(failing: int, cured: int | None = None) -> Chip:
    """That any one of the settings beside it is enough, for every stack named in the row or for ``cured`` of them."""
    named = {1: "it", 2: "both"}.get(failing, f"all {failing}")
    if cured is not None and cured < failing:
        named = f"{cured} of these {failing}"
    return chip(Verdict.OK, f"each one alone cures {named}")


def no_cure(failing: int) -> str:
    """Of a row in which other settings were run, and none helps anybody."""
    named = {1: "it", 2: "either"}.get(failing, f"any of these {failing}")
    return f"no setting of this run cures {named}"


def more(found: Sequence[Finding]) -> str:
    """What the findings that are folded are about."""
    networks = sum(len(each.scenarios) for each in found)
    silent = sum(len(each.scenarios) for each in found if each.having(Verdict.STUCK))
    told = _counted(networks, "more network", "more networks")
    return f"{told}; in {silent} of them a client fails silently" if silent else f"{told}; nobody fails silently there"


def paths(found: Finding, results: Results) -> list[str]:
    """What a link must filter by to show the row's networks."""
    return list(dict.fromkeys(results.scenarios[scenario].path for scenario in found.scenarios))


def delays(cure: Cure) -> str:
    """From when to when a change was seen that was seen too late; empty where it never was."""
    if cure.delays_seconds is None:
        return ""
    first, last = map(seconds_text, cure.delays_seconds)
    return f"after {first} s" if first == last else f"after {first} to {last} s"


def question(introduction: Introduction) -> str:
    """The page's heading."""
    return f"Will my {introduction.client} still see a change through this network?"


def tested(results: Results, introduction: Introduction) -> str:
    """What happens in a cell, in three sentences."""
    return (
        f"{introduction.clients_do} through a real network that goes wrong in a known way: it forgets a quiet"
        f" connection, or cuts it. Then {introduction.happens}. Does the client see it within"
        f" {results.run.deadline_seconds:g} s?"
    )


def coverage(results: Results, introduction: Introduction) -> str:
    """How much was tested, in numbers and, where they are few, in names."""
    stacks = {cell.stack for cell in results.cells}
    known = [stack for name, stack in results.stacks.items() if name in stacks]
    languages = sorted({stack.language for stack in known}, key=str.lower)
    libraries = list(dict.fromkeys(stack.library for stack in known))
    settings = {cell.profile for cell in results.cells}
    return (
        f"{_number(libraries, 'client library', 'client libraries')}"
        f" in {_number(languages, 'language', 'languages')},"
        f" {introduction.connected} in {_counted(len(stacks), 'way', 'ways')} (stacks),"
        f" with {_counted(len(settings), 'setting', 'settings')} (profiles),"
        f" in {_counted(len(results.scenarios), 'network', 'networks')}"
    )


def readings(results: Results) -> list[dict[str, object]]:
    """The legend: what each reading means in plain words, and its verdicts with how often they occur."""
    counts = Counter(cell.verdict for cell in results.cells)
    deadline = f"{results.run.deadline_seconds:g}\u00a0s"
    words = {
        Reading.PASS: f"The client saw the change within {deadline}.",
        Reading.PASS_WITH_RESTARTS: "The client ended with an error; restarted, as by a Deployment, it sees the"
        " change.",
        Reading.FAIL: f"The client did not see the change within {deadline}. Stuck is the worst: it never saw it"
        " and said nothing, so nobody notices.",
        Reading.NOT_COUNTED: "Says nothing about the client. “Not run”: not part of this run.",
    }
    found: list[dict[str, object]] = []
    for reading in Reading:
        verdicts = [
            {"chip": chip(verdict), "count": counts[verdict]}
            for verdict, mark in MARKS.items()
            if mark.reading is reading and counts[verdict]
        ]
        if verdicts or reading is not Reading.NOT_COUNTED or _has_gaps(results):
            found.append({"name": reading.value, "words": words[reading], "verdicts": verdicts})
    return found


def _has_gaps(results: Results) -> bool:
    rows = {(cell.stack, cell.profile) for cell in results.cells}
    return len(rows) * len(results.scenarios) > len(results.cells)


def _number(names: Iterable[str], one: str, many: str) -> str:
    names = [name for name in names if name]
    named = f" ({', '.join(names)})" if 0 < len(names) <= MOST_NAMED else ""
    return f"{_counted(len(names), one, many)}{named}"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
