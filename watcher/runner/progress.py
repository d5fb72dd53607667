"""How a run tells the user how far it is: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from watcher.model import CellPlan, Outcome
from watcher.records import Closed, Entry, LabReady, Program, Settled

START_GUESS_SECONDS = 2.0
"""What a program's start costs, until this run has shown it."""


class Forecast:
    """How long a run still takes, from what its cells have told so far. Pure; times are monotonic seconds."""

    def __init__(self, cells: list[CellPlan], cores: int) -> None:
        self._length = {str(cell.id): cell.timing.length_seconds for cell in cells}
        self._end: dict[str, float] = {}
        self._closed: set[str] = set()
        self._cores = max(1, cores)

    def see(self, record: Entry) -> None:
        if record.cell is None or record.cell not in self._length:
            return
        if isinstance(record, Settled):
            self._end[record.cell] = record.l0 + self._length[record.cell]
        elif isinstance(record, Closed):
            self._closed.add(record.cell)

    def left_seconds(self, now: float) -> float:
        """At most this long, if every cell keeps its window open to the end."""
        waiting = [cell for cell in self._length if cell not in self._end and cell not in self._closed]
        ends = [end - now for cell, end in self._end.items() if cell not in self._closed]
        starts = [
            START_GUESS_SECONDS * (place + 1) / self._cores + self._length[cell] for place, cell in enumerate(waiting)
        ]
        return max([0.0, *ends, *starts])


class Reporter:
    """Shows a run's progress. Every closed cell is one line where there is no terminal."""

    def __init__(self, console: Console, cells: list[CellPlan], cores: int) -> None:
        self._console = console
        self._total = len(cells)
        self._closed = 0
        self._watching: set[str] = set()
        self._forecast = Forecast(cells, cores)
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("making the lab", total=self._total, left="")

    def __enter__(self) -> Reporter:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def see(self, record: Entry) -> None:
        self._forecast.see(record)
        if isinstance(record, LabReady):
            self._say(f"lab ready after {record.seconds:.1f} s: {record.control_plane}")
        elif isinstance(record, Program) and record.event == "watching" and record.cell is not None:
            self._watching.add(record.cell)
        self._update()

    def closed(self, cell: str, outcome: Outcome) -> None:
        """A cell has its verdict (that of this repeat; the run's controls may still overrule it)."""
        self._closed += 1
        if self._bar is None:
            self._say(f"[{self._closed}/{self._total}] {cell}: {outcome.verdict.value}: {outcome.reason}")
        self._update()

    def _update(self) -> None:
        if self._bar is None:
            return
        left = self._forecast.left_seconds(time.monotonic())
        self._bar.update(
            self._task,
            completed=self._closed,
            description=f"{len(self._watching)} of {self._total} programs have watched",
            left=f"at most {_duration(left)} left" if left else "",
        )

    def _say(self, text: str) -> None:
        console = self._bar.console if self._bar is not None else self._console
        console.print(escape(text), highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
