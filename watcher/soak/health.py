"""Whether the soak can be trusted when it says nothing: does each part still turn, and is there anything in its way?

Two questions, as Kubernetes asks them. ``/healthz``: has a part stalled, so that only a new process helps? ``/readyz``:
is it doing its work, that is, would a miss be seen now? Both are answered from what the parts themselves said last, by
a thread that none of them can block (``watcher.soak.server``), so that a frozen event loop is reported as frozen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

Answer = tuple[bool, list[str]]
"""Yes or no, and why, a line for each part."""


@dataclass
class _Part:
    within_seconds: float
    seen: float


class Health:
    """What the parts said last. Any thread may call anything; nothing here blocks, and nothing raises.

    ``now`` is a monotonic clock in seconds: neither a leap of the wall clock nor a corrected one is a stall.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._parts: dict[str, _Part] = {}
        self._problems: dict[str, str] = {}

    def expect(self, part: str, within_seconds: float) -> None:
        """From now on ``part`` must beat at least this often. Counts as a beat; again: another limit."""
        with self._lock:
            self._parts[part] = _Part(within_seconds, self._now())

    def beat(self, part: str) -> None:
        """``part`` has just done something that it can only do when it is alive.

        One that is not expected is not watched over: a beat by itself says nothing about when the next is due.
        """
        with self._lock:
            if (known := self._parts.get(part)) is not None:
                known.seen = self._now()

    def forget(self, part: str) -> None:
        """``part`` ended in order: neither its silence nor its problem means anything any more."""
        with self._lock:
            self._parts.pop(part, None)
            self._problems.pop(part, None)

    def problem(self, part: str, text: str | None) -> None:
        """Why ``part`` does not do its work now, though it is alive; None when it does again."""
        with self._lock:
            if text is None:
                self._problems.pop(part, None)
            else:
                self._problems[part] = text

    def healthz(self) -> Answer:
        """False when a part is overdue, or when nothing is watched over at all: then nobody would notice a stall."""
        with self._lock:
            now = self._now()
            parts = {name: (part.within_seconds, now - part.seen) for name, part in self._parts.items()}
        if not parts:
            return False, ["FAILED nothing has started yet"]
        lines = [_line(name, within, silent) for name, (within, silent) in sorted(parts.items())]
        return all(silent <= within for within, silent in parts.values()), lines

    def readyz(self) -> Answer:
        """False when a part is overdue or has a problem. Its lines name the problems first."""
        healthy, lines = self.healthz()
        with self._lock:
            problems = sorted(self._problems.items())
        return healthy and not problems, [*(f"FAILED {part}: {text}" for part, text in problems), *lines]


def _line(name: str, within_seconds: float, silent_seconds: float) -> str:
    word = "ok" if silent_seconds <= within_seconds else "FAILED"
    return f"{word} {name}: last sign of life {silent_seconds:.1f} s ago, expected every {within_seconds:g} s"
