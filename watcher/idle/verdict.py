"""From tries of idle connections to what the path does with them. Pure.

Idleness is the path's, not ours: where the server's own keepalive came in between, a connection was idle only since
then. That is why every try carries the moments at which something came.
"""

from __future__ import annotations

import statistics
from collections import Counter
from itertools import pairwise
from typing import Literal

from watcher.model import Value
from watcher.totals import Tried

TOLERANCE = 0.02
"""Of an age: two connections that differ by less in it may fare differently without contradiction …"""
TOLERANCE_SECONDS = 1.0
"""… and so may two that differ by less than this: kernels keep such timeouts in whole seconds."""
MOST_REFINING = 12
FINEST_SECONDS = 1.0

Result = Literal["timeout", "none", "kept-alive", "contradicting", "cannot-know"]


class Try(Value):
    """What became of one connection that was left alone."""

    age_seconds: float
    """For how long it was to be left alone."""
    idle_seconds: float
    """For how long it was: until the try, or until its end was noticed."""
    outcome: Tried
    by_itself: bool = False
    """It ended before the try; nothing was sent."""
    seconds: float = 0.0
    """How long the try took."""
    signs: tuple[float, ...] = ()
    """After how many idle seconds something came that we had not asked for: the server's keepalive."""
    void: str | None = None
    """Why this try says nothing about the path."""

    @property
    def alive(self) -> bool:
        return self.outcome is Tried.ALIVE

    @property
    def survived_seconds(self) -> float:
        """The longest silence that the connection lived through for certain."""
        ends = (0.0, *self.signs, *((self.idle_seconds,) if self.alive else ()))
        return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)

    @property
    def silent_seconds(self) -> float:
        """The last silence: the one in which it died, where it did."""
        return self.idle_seconds - (self.signs[-1] if self.signs else 0.0)


class Finding(Value):
    """What is known of the path's idle timeout: it lies between ``alive_seconds`` and ``dead_seconds``."""

    result: Result
    alive_seconds: float | None = None
    """The longest silence after which a connection was alive."""
    dead_seconds: float | None = None
    """The shortest silence in which one died."""
    ending: Tried | None = None
    exact: bool = False
    """Connections ended by themselves, and ``dead_seconds`` is when."""
    kept_alive_every_seconds: float | None = None
    """The server, or the path, sends by itself so often."""
    tries: int = 0
    """Those that count."""
    void: int = 0
    notes: tuple[str, ...] = ()


def find(tries: tuple[Try, ...], problems: tuple[str, ...] = ()) -> Finding:
    """``problems``: what went wrong with the controls; with any, nothing can be known."""
    valid = [each for each in tries if each.void is None]
    whys = Counter(each.void for each in tries if each.void is not None)
    notes = [f"{number} of the tries say nothing: {why}" for why, number in whys.items()]
    every = _interval(valid)
    base = Finding(
        result="cannot-know",
        kept_alive_every_seconds=every,
        tries=len(valid),
        void=len(tries) - len(valid),
        notes=(*problems, *notes),
    )
    if problems or not valid:
        return base
    survived = [each.survived_seconds for each in valid]
    alive_seconds = max(survived)
    dead = [each for each in valid if not each.alive]
    if not dead:
        result: Result = "none" if every is None else "kept-alive"
        return base.model_copy(update={"result": result, "alive_seconds": alive_seconds})
    dead_seconds = min(each.silent_seconds for each in dead)
    endings = Counter(each.outcome for each in dead)
    ending = endings.most_common(1)[0][0]
    if len(endings) > 1:
        each_way = ", ".join(f"{outcome.value} {number} times" for outcome, number in endings.most_common())
        notes.append(f"not all ended the same way: {each_way}")
    contradicting = alive_seconds > dead_seconds + max(TOLERANCE_SECONDS, TOLERANCE * dead_seconds)
    if contradicting:
        notes.insert(
            0,
            f"one connection was dead after {dead_seconds:.0f} s of silence, another alive after {alive_seconds:.0f} s:"
            " there is more than one path, or something else ended the first",
        )
    else:
        alive_seconds = max((each for each in survived if each <= dead_seconds), default=0.0)
    return base.model_copy(
        update={
            "result": "contradicting" if contradicting else "timeout",
            "alive_seconds": alive_seconds or None,
            "dead_seconds": dead_seconds,
            "ending": ending,
            "exact": any(each.by_itself for each in dead if each.outcome is ending),
            "notes": tuple(notes),
        }
    )


def refining_ages(finding: Finding) -> tuple[float, ...]:
    """Ages for a second round, all at once, that narrow the interval; none where it is as exact as it can be."""
    if finding.result != "timeout" or finding.exact or finding.dead_seconds is None:
        return ()
    low, high = finding.alive_seconds or 0.0, finding.dead_seconds
    parts = min(MOST_REFINING + 1, int((high - low) / FINEST_SECONDS))
    return tuple(low + (high - low) * part / parts for part in range(1, parts))


def _interval(tries: list[Try]) -> float | None:
    """Between two signs of life, from the connection that had the most of them."""
    most = max((each.signs for each in tries), key=len, default=())
    gaps = [later - earlier for earlier, later in pairwise((0.0, *most))]
    return statistics.median(gaps) if gaps else None


_ENDINGS = {
    Tried.RESET: "with a reset (RST), sent by itself",
    Tried.RESET_ON_NEXT_PACKET: "without a word; the next packet is answered with a reset (RST)",
    Tried.SILENT: "without a word; packets then disappear",
    Tried.CLOSED: "in order (FIN): something on the way, or the server, closes the connection",
}


def words(finding: Finding) -> str:
    """One paragraph for a person."""
    every = finding.kept_alive_every_seconds
    kept = "" if every is None else f"kept alive by the server every {every:.0f} s"
    low = f"{finding.alive_seconds or 0:.0f} s"
    match finding.result:
        case "timeout":
            assert finding.ending is not None
            assert finding.dead_seconds is not None
            high = f"{finding.dead_seconds:.0f} s"
            where = f"ends after {high}" if finding.exact else f"lies between {low} and {high}"
            started = f" (alive after {low})" if finding.exact and finding.alive_seconds else ""
            also = f"; {kept}, which is not often enough" if kept else ""
            return f"The path's idle timeout {where}{started}. It ends {_ENDINGS[finding.ending]}{also}."
        case "none":
            return f"No idle timeout up to {low}: every connection was alive after its silence."
        case "kept-alive":
            return (
                f"The path's idle timeout cannot be seen: connections are {kept}."
                f" It is longer than {low}, or there is none."
            )
        case "contradicting":
            return f"The tries contradict each other: {finding.notes[0]}."
        case _:
            return f"It cannot be known: {'; '.join(finding.notes) or 'no try succeeded'}."
