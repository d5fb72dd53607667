"""The index of published runs: newest first, one line each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from watcher.model import Results
from watcher.report.files import MATRIX
from watcher.report.markdown import escape, header, line
from watcher.report.words import MARKS

NAME = "README.md"
ENVIRONMENT = "environment.json"
FOLDER = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{8}")
"""A published run's folder: the day it began, and the first digits of its results' hash."""

_INTRODUCTION = """\
# Published runs

Real client libraries in the lab, newest run first. `watcher publish` makes this page; nothing here is edited by hand,
and a published run is never changed.

Each folder holds `matrix.md`, `results.json`, `environment.json`, `journal.jsonl.gz` (everything that was seen:
`watcher judge results/RUN` judges it again) and, for every cell that is not ok, `evidence/`: its verdict in words,
the packets of both links of its path, cut behind their TCP headers (`gunzip` before `tcpdump -r`), the program's output
and the end of its standard error. Paths of the machine are shortened to `…`.
"""


@dataclass(frozen=True)
class Published:
    """A published run, as its folder holds it."""

    name: str
    results: Results
    environment: dict[str, object]
    """What the run said of its machine."""

    @property
    def began(self) -> datetime:
        return datetime.fromisoformat(self.results.run.started_at)

    @property
    def kernel(self) -> str:
        return f"Linux {self.environment.get('kernel', 'unknown')}"


def newest_first(runs: Iterable[Published]) -> list[Published]:
    return sorted(runs, key=lambda run: (run.began, run.name), reverse=True)


def time_of(results: Results) -> str:
    """How fast the run's clocks went, and whether it counts."""
    time = "true time" if results.run.scale == 1 else f"scale {results.run.scale:g}"
    return time if results.run.trusted else f"{time}, cannot be trusted"


def render(runs: Iterable[Published]) -> str:
    """``results/README.md``."""
    return "\n".join(_lines(newest_first(runs))) + "\n"


def _lines(runs: list[Published]) -> Iterator[str]:
    yield _INTRODUCTION
    if not runs:
        yield "There is none yet."
        return
    yield from header(["run", "began (UTC)", "time", "control plane", "kernel", "cells", "verdicts"])
    for run in runs:
        results = run.results
        counts = Counter(cell.verdict for cell in results.cells)
        verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict])
        told = (time_of(results), results.run.control_plane, run.kernel, str(len(results.cells)), verdicts)
        yield line([f"[{run.name}]({run.name}/{MATRIX})", f"{run.began:%Y-%m-%d %H:%M}", *map(escape, told)])
