"""What each stack costs: memory, CPU until it has observed its first touch, and how soon it sees one.

One run over all stacks that are built, in true time and with a short quiet: in a scaled run the planner leaves out the
stacks whose own timers do not scale, which are most.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from tests.bench import unshared
from watcher import journal
from watcher.catalog import Catalog
from watcher.errors import WatcherError
from watcher.judge.results import results_of
from watcher.model import Touch, Verdict
from watcher.programs import environments
from watcher.records import Program, Record, Touched

SCENARIO = Path(__file__).parent / "scenarios" / "short-control.toml"
BASE = "python-urllib3"
"""Which of the stacks the others are compared with: the barest client there is."""
AT_ONCE = "8"
"""Cells: enough to be done in a few minutes, few enough that they do not wait for each other."""
REPEATS = "3"
"""A single delay of some milliseconds is anything; the median of three is worth a comparison."""


DIGITS = {"MiB": 0, "s": 3, "ms": 1}


@dataclass(frozen=True)
class Cost:
    stack: str
    memory_mib: float
    cpu_seconds: float
    """Until it had observed the control touch: starting, imports, TLS, first list or watch."""
    delay_ms: float
    """From the touch after the quiet to the line that says it was observed."""


def measured(folder: Path) -> tuple[list[Cost], list[str]]:
    """Of one real run over all stacks that are built, on the real control plane where it is at hand, those of the JVM
    also without their shared class data; and the stacks that it says nothing about."""
    names = list(built())
    also: list[str] = []
    if (twins := unshared.client(folder.with_name("unshared"), names)) is not None:
        also = ["--client", str(twins[0])]
        names += twins[1]
    command = [sys.executable, "-m", "watcher", "run", "--profiles", "default", "--jobs", AT_ONCE, "--repeat", REPEATS]
    chosen = [*also, "--stacks", ",".join(names), "--scenario", str(SCENARIO), "--scenarios", SCENARIO.stem]
    # 3 is a run that cannot be trusted as a matrix: some stack was invalid, and is left out below.
    done = subprocess.run([*command, *chosen, "--output", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"the run of the stacks failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    found = costs(list(journal.read(folder)))
    return found, sorted(Catalog.load().stacks.keys() - {cost.stack for cost in found})


def built() -> Iterator[str]:
    """The stacks that can be run without building anything."""
    for name, found in Catalog.load().stacks.items():
        if found.stack.protocol != "watch":  # its delay is its server's habit as much as its own
            continue
        try:
            ready = environments.is_built(found.folder, found.build)
        except WatcherError:  # a tool of the system that its environment depends on is not there
            continue
        if ready and environments.lacks(found.folder, found.build) is None:
            yield name


def costs(records: list[Record]) -> list[Cost]:
    """Of each stack whose cells were ok, the medians of its repeats, cheapest memory first."""
    ok = {cell.stack for cell in results_of(records).cells if cell.verdict is Verdict.OK}
    touches = {r.nonce: r.sent for r in records if isinstance(r, Touched) and r.role is Touch.TOUCH}
    memory, cpu = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    delays: dict[str, float] = {}
    for record in records:
        if not isinstance(record, Program) or record.cell is None:
            continue
        stack = record.cell.split("/")[0]
        if record.memory_mib is not None:
            memory[stack].append(record.memory_mib)
        if record.cpu_seconds is not None:
            cpu[stack].append(record.cpu_seconds)
        if record.nonce in touches:
            delays.setdefault(record.cell, (record.t - touches[record.nonce]) * 1000)
    found = [
        Cost(stack, median(memory[stack]), median(cpu[stack]), median(of_stack))
        for stack in ok & memory.keys() & cpu.keys()
        if (of_stack := [delay for cell, delay in delays.items() if cell.startswith(f"{stack}/")])
    ]
    return sorted(found, key=lambda cost: (cost.memory_mib, cost.stack))


def figures(found: Iterable[Cost]) -> Iterator[tuple[str, float, str, float | None, str]]:
    """What, value, unit, and the ratio to ``BASE`` in the same run."""
    of = {cost.stack: cost for cost in found}
    base = of.get(BASE)
    for name, cost in of.items():
        for what, value, unit, than in (
            ("memory", cost.memory_mib, "MiB", base and base.memory_mib),
            ("CPU to the first observation", cost.cpu_seconds, "s", base and base.cpu_seconds),
            ("touch to observation", cost.delay_ms, "ms", base and base.delay_ms),
        ):
            yield f"{name}: {what}", value, unit, value / than if than else None, BASE if than else ""


def class_data(found: Iterable[Cost]) -> Iterator[tuple[str, float, str, float | None, str]]:
    """What shared class data makes of a JVM's cost, of a run that had its stacks without it, too."""
    yield from unshared.saved((cost.stack, cost.memory_mib, cost.cpu_seconds) for cost in found)


def table(found: list[Cost], left_out: list[str]) -> Table:
    """One line a stack; beside each value how many times that of ``BASE`` it is."""
    said = f"not built, or not ok in this run: {', '.join(left_out)}" if left_out else None
    drawn = Table("stack", title=f"each stack, and how many times {BASE}", caption=said, box=None)
    for head in ("memory", "", "CPU to the first observation", "", "touch to observation", ""):
        drawn.add_column(head, justify="right")
    rows: dict[str, list[str]] = {}
    for what, value, unit, ratio, _ in figures(found):
        shown = f"{value:.{DIGITS[unit]}f} {unit}"
        rows.setdefault(what.split(":")[0], []).extend([shown, f"{ratio:.2f}" if ratio is not None else ""])
    for name, cells in rows.items():
        drawn.add_row(name, *cells)
    return drawn
