"""``make bench``: speed and memory of the lab, the journal and the judge, as ratios within one run where they can be.

Absolute times belong to the machine they were measured on; a ratio of two things measured side by side can be compared
with last month's. ``--json`` prints the same for scripts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.bench import scenes
from tests.lab.environments import built
from tests.lab.sandboxed import run_inside
from watcher import journal
from watcher.judge.results import results_of
from watcher.lab import sandbox
from watcher.records import RECORD, LabReady, Planned, Program, Record, Touched
from watcher.runner.order import Order

TIMES = 5
MANY = 20
"""How often the small run's cells are told again, to make a large journal of it."""


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str
    ratio: float | None = None
    to: str = ""


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def lab_start(folder: Path) -> Iterator[Figure]:
    """From the command to a control plane that answers, against a sandbox that only imports the stage."""
    order = Order(run="bench", folder=str(folder), scale=12, deadline_seconds=1, launches={}, cells=())
    ready, whole, bare = [], [], []
    for _ in range(TIMES):
        began = time.perf_counter()
        stage = sandbox.start([sys.executable, "-m", "watcher.runner.inside"], folder / "lab.log")
        assert stage.stdin is not None
        assert stage.stdout is not None
        stage.stdin.write(order.model_dump_json().encode() + b"\n")
        stage.stdin.flush()
        record = RECORD.validate_json(stage.stdout.readline())
        whole.append(time.perf_counter() - began)
        assert isinstance(record, LabReady)
        ready.append(record.seconds)
        stage.communicate()
        bare.append(
            seconds(
                lambda: subprocess.run(
                    sandbox.command([sys.executable, "-c", "import watcher.runner.inside"]), check=True
                )
            )
        )
    yield Figure("lab ready, inside", median(ready), "s")
    yield Figure(
        "lab ready, with the start of the sandbox",
        median(whole),
        "s",
        median(whole) / median(bare),
        "its imports alone",
    )


def networks() -> Iterator[Figure]:
    """A cell's network at the beginning of a run and after 200 others: a table that fills up would show here."""
    first, last = run_inside(scenes.networks, 200, timeout=300)
    yield Figure("network of a cell, first 20", first * 1000, "ms")
    yield Figure("network of a cell, after 200", last * 1000, "ms", last / first, "first 20")


def small_run(folder: Path) -> tuple[Path, list[Figure]]:
    """A real run of one stack; what it costs the harness, and how soon a healthy watch sees a touch."""
    built("python-urllib3")
    run = folder / "run"
    command = [sys.executable, "-m", "watcher", "run", "--scale", "12", "--stacks", "python-urllib3"]
    took = seconds(
        lambda: subprocess.run(
            [*command, "--profiles", "default,tcp-keepalive", "--scenarios", "control,blackhole", "--output", str(run)],
            check=True,
            capture_output=True,
        )
    )
    records = list(journal.read(run))
    figures = results_of(records).run.figures
    touches = {r.nonce: r.sent for r in records if isinstance(r, Touched)}
    delays = [
        (r.t - touches[r.nonce]) * 1000
        for r in records
        if isinstance(r, Program) and r.nonce in touches and (r.cell or "").split("/")[-1].startswith("control")
    ]
    memory = [r.memory_mib for r in records if isinstance(r, Program) and r.memory_mib and "urllib3" in (r.cell or "")]
    return run, [
        Figure("whole small run", took, "s", took / figures["longest_cell_seconds"], "its longest cell"),
        Figure("touch to observation, healthy", median(delays), "ms"),
        Figure("memory of python-urllib3", median(memory), "MiB"),
    ]


def judging(run: Path) -> Iterator[Figure]:
    """The judge against merely parsing the journal, and its memory over many cells against few."""
    lines = journal.find(run).read_bytes().splitlines(keepends=True)
    records = [RECORD.validate_json(line) for line in lines]
    large = list(told_again(records, MANY))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)

        def append() -> None:
            with journal.Journal(path) as kept:
                for record in large:
                    kept.append(record)

        appended = seconds(append)
        written = journal.find(path).read_bytes()
        raw = seconds(lambda: (path / "raw").write_bytes(written))
        parsed = seconds(lambda: [json.loads(line) for line in written.splitlines()])
        judged = seconds(lambda: results_of(journal.read(path)))
    yield Figure("journal, appended", len(large) / appended / 1000, "k records/s", appended / raw, "one write of all")
    yield Figure("read and judged", len(large) / judged / 1000, "k records/s", judged / parsed, "json.loads of each")
    few, many = scenes.judge_peak_mib(records), scenes.judge_peak_mib(large)
    yield Figure(f"judge's peak memory, {MANY} times the cells", many, "MiB", many / few, "once the cells")


def told_again(records: list[Record], times: int) -> Iterator[Record]:
    """The same cells as so many repeats, one after the other."""
    of_run = [record for record in records if record.cell is None]
    yield of_run[0]
    for number in range(1, times + 1):
        for record in records:
            if record.cell is None:
                continue
            cell = f"{record.cell.split('#')[0]}#{number}"
            if isinstance(record, Planned):
                plan = record.plan.model_copy(update={"id": record.plan.id.model_copy(update={"repeat": number})})
                yield record.model_copy(update={"cell": cell, "plan": plan})
            else:
                yield record.model_copy(update={"cell": cell})
    yield of_run[-1]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [*lab_start(folder), *networks()]
        run, of_run = small_run(folder)
        figures += [*of_run, *judging(run)]
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
        return
    table = Table("figure", "value", "ratio", box=None)
    for figure in figures:
        ratio = f"{figure.ratio:.2f} times {figure.to}" if figure.ratio is not None else ""
        table.add_row(figure.what, f"{figure.value:.2f} {figure.unit}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
