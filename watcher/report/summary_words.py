"""What a soak's counts mean, in one word and in the lines under it. Pure.

PASS: nothing was missed. PASS with restarts (n): nothing was missed, but n touches were seen only because the
supervisor had started the program again; restarts without that are said beside a PASS. FAIL: something was missed,
however little was watched: a miss is a miss. Too little to say PASS is ``not enough data``, never PASS.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from watcher.model import Value, Verdict
from watcher.report.words import MARKS, Reading, seconds_text
from watcher.totals import Keepalive


class Word(StrEnum):
    PASS = Reading.PASS.value
    PASS_WITH_RESTARTS = Reading.PASS_WITH_RESTARTS.value
    FAIL = Reading.FAIL.value
    NOT_ENOUGH = "not enough data"
    NO_DATA = "no data"


SYMBOLS = {
    Word.PASS: MARKS[Verdict.OK].symbol,
    Word.PASS_WITH_RESTARTS: MARKS[Verdict.DIED].symbol,
    Word.FAIL: MARKS[Verdict.STUCK].symbol,
    Word.NOT_ENOUGH: MARKS[Verdict.INVALID].symbol,
    Word.NO_DATA: MARKS[Verdict.NOT_BUILT].symbol,
}
STYLES = {
    Word.PASS: MARKS[Verdict.OK].style,
    Word.PASS_WITH_RESTARTS: MARKS[Verdict.DIED].style,
    Word.FAIL: MARKS[Verdict.STUCK].style,
    Word.NOT_ENOUGH: "dim",
    Word.NO_DATA: "dim",
}
MEANINGS = {
    Word.PASS: "every touch was observed within the deadline",
    Word.PASS_WITH_RESTARTS: "so was every one here, but n of them only because the program had been started again",
    Word.FAIL: "n of m touches were not observed within the deadline; the worst delay of those seen later",
    Word.NOT_ENOUGH: "nothing was missed, but too little was watched to call that a PASS",
    Word.NO_DATA: "nothing was judged there",
}


class Least(Value):
    """Below one of these there is no PASS. Hours are true ones."""

    hours: float = 24.0
    touches: int = 100


class Counts(Value):
    """Of one client in one cluster. Seconds are the soak's own; ``watched_seconds`` are true ones."""

    observed: int = 0
    missed: int = 0
    late: int = 0
    after_restart: int = 0
    restarts: int = 0
    reconnects: int = 0
    worst_delay_seconds: float = 0.0
    watched_seconds: float = 0.0

    @property
    def touches(self) -> int:
        return self.observed + self.missed

    @property
    def never(self) -> int:
        """Missed and not seen later either."""
        return max(0, self.missed - self.late)


def word_of(counts: Counts, least: Least) -> Word:
    if counts.touches == 0:
        return Word.NO_DATA
    if counts.missed:
        return Word.FAIL
    if counts.touches < least.touches or counts.watched_seconds < least.hours * 3600:
        return Word.NOT_ENOUGH
    return Word.PASS_WITH_RESTARTS if counts.after_restart else Word.PASS


def text_of(word: Word, counts: Counts) -> str:
    """The word with its figures."""
    if word is Word.PASS_WITH_RESTARTS:
        return f"{word} ({counts.after_restart})"
    if word is not Word.FAIL:
        return word.value
    worst = f"worst {seconds_text(counts.worst_delay_seconds)} s" if counts.late else ""
    never = "never" if counts.never == counts.missed else f"{counts.never} never" if counts.never else ""
    return f"{word} ({', '.join(filter(None, [f'{counts.missed} of {counts.touches}', worst, never]))})"


def behind(word: Word, counts: Counts, least: Least) -> str:
    """What stands behind the word: how long, how many."""
    if word is Word.NO_DATA:
        return ""
    told = f"{time_text(counts.watched_seconds)}, {_many(counts.touches, 'touch', 'touches')}"
    if word is Word.NOT_ENOUGH:
        told += f"; a PASS takes {least.hours:g} h and {least.touches}"
    if counts.restarts:
        told += f", {_many(counts.restarts, 'restart', 'restarts')}"
    return told


def keepalive_text(keepalive: Keepalive | None) -> str:
    """As the kernel counted it on the quiet connection, whatever a library says of itself."""
    if keepalive is None or keepalive.by == "unknown":
        return "unknown"
    if keepalive.by == "none":
        return "NO"
    by = "client and server" if keepalive.by == "both" else keepalive.by
    every = "" if keepalive.interval_seconds is None else f"every {seconds_text(keepalive.interval_seconds)} s, "
    return f"YES ({every}by {by})"


def time_text(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    # Rounded down: 23.9 hours are not the 24 that were asked for.
    return f"{int(seconds // 3600)} h" if seconds < 72 * 3600 else f"{int(seconds // 86400)} days"


def when_text(instant: str) -> str:
    """To the minute, in UTC; what is no time stays as it is."""
    try:
        at = datetime.fromisoformat(instant)
    except ValueError:
        return instant
    return f"{at.astimezone(UTC) if at.tzinfo else at:%Y-%m-%d %H:%M}"


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
