"""How a measurement of a path tells how far it is: a live bar on a terminal, a line for each try anywhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from watcher.idle.verdict import Try


class _Left(ProgressColumn):
    """Counts down to the last try; unlike rich's own estimate it is known from the start."""

    ends: float | None = None

    def render(self, task: Task) -> Text:  # noqa: ARG002 - there is only one
        if self.ends is None:
            return Text("")
        left = max(0, round(self.ends - time.monotonic()))
        return Text(f"{left // 60}:{left % 60:02} left at most")


class Reporter:
    """One round."""

    def __init__(self, console: Console, ages_seconds: tuple[float, ...]) -> None:
        self._console = console
        self._ages = ages_seconds
        self._left = _Left()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            self._left,
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("opening connections", total=len(ages_seconds))

    def __enter__(self) -> Reporter:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def opened(self) -> None:
        """All connections are silent from here on."""
        last = max(self._ages)
        self._left.ends = time.monotonic() + last
        self._bar.update(self._task, description="silent connections")
        if not self._console.is_terminal:
            self._console.print(f"{len(self._ages)} silent connections, the last one is tried after {last:g} s")

    def told(self, made: Try) -> None:
        self._bar.advance(self._task)
        self._console.print(line(made), markup=False, soft_wrap=True)


def line(made: Try) -> str:
    """One try, for a person."""
    how = f"{made.outcome.value} by itself" if made.by_itself else made.outcome.value
    heard = f", {len(made.signs)} segments came meanwhile" if made.signs else ""
    void = f" (does not count: {made.void})" if made.void else ""
    return f"{made.idle_seconds:7.1f} s of silence: {how}{heard}{void}"


__all__ = ["Reporter", "line"]
