"""``make bench``: speed and memory of lab, journal, judge, page and stacks, as ratios within one run where they can be.

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

from tests.bench import crowd, pages, scenes, servers, soaking, stacks
from tests.lab.environments import built
from tests.lab.sandboxed import run_inside
from watcher import journal
from watcher.judge.results import results_of
from watcher.lab import sandbox, sockets
from watcher.lab.control_plane.binaries import Binaries, find
from watcher.model import Results
from watcher.programs import environments
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


def start_lab(folder: Path, control_plane: Binaries | None) -> tuple[float, float, subprocess.Popen[bytes]]:
    """Seconds to ready, inside and from the command; and the lab, which lives until its input is closed."""
    order = Order(
        run="bench",
        folder=str(folder),
        scale=12,
        deadline_seconds=1,
        control_plane=control_plane,
        launches={},
        cells=(),
    )
    began = time.perf_counter()
    stage = sandbox.start([sys.executable, "-m", "tests.bench.stage"], folder / "lab.log")
    assert stage.stdin is not None
    assert stage.stdout is not None
    stage.stdin.write(order.model_dump_json().encode() + b"\n")
    stage.stdin.flush()
    record = RECORD.validate_json(stage.stdout.readline())
    assert isinstance(record, LabReady), record
    return record.seconds, time.perf_counter() - began, stage


def lab_start(folder: Path, name: str, control_plane: Binaries | None) -> Iterator[Figure]:
    """From the command to a control plane that answers, its memory, and the tenth lab beside nine others."""
    ready, whole, bare, memory = [], [], [], []
    imports = sandbox.command([sys.executable, "-c", "import watcher.runner.inside"])
    for _ in range(TIMES):
        inside, outside, stage = start_lab(folder, control_plane)
        ready.append(inside)
        whole.append(outside)
        memory.append(sockets.memory_mib(stage.pid) or 0.0)
        stage.communicate()
        bare.append(seconds(lambda: subprocess.run(imports, check=True)))
    yield Figure(f"{name}: ready, inside", median(ready), "s")
    yield Figure(
        f"{name}: ready, from the command", median(whole), "s", median(whole) / median(bare), "its imports alone"
    )
    yield Figure(f"{name}: memory of the whole lab", median(memory), "MiB")
    labs = [start_lab(folder, control_plane) for _ in range(10)]
    for _, _, stage in labs:
        stage.communicate()
    yield Figure(f"{name}: the tenth lab at once", labs[-1][0], "s", labs[-1][0] / median(ready), "the only one")


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
    yield from true_time()
    yield Figure("read and judged", len(large) / judged / 1000, "k records/s", judged / parsed, "json.loads of each")
    few, many = scenes.judge_peak_mib(records), scenes.judge_peak_mib(large)
    yield Figure(f"judge's peak memory, {MANY} times the cells", many, "MiB", many / few, "once the cells")


def true_time() -> Iterator[Figure]:
    """Of the newest published run: how much longer than its waves' longest cells it took, starting aside."""
    published = sorted(Path("results").glob("*/results.json"))
    if published:
        run = Results.model_validate_json(published[-1].read_text()).run
        ratio = run.figures["wall_ratio"]
        yield Figure(
            f"published run {published[-1].parent.name}", run.figures["wall_seconds"], "s", ratio, "its longest cells"
        )


def matrix_page() -> Iterator[Figure]:
    """Against the bare results as JSON, made in the same moment."""
    made, written, octets, plain = pages.measured()
    yield Figure("page of 2,000 cells, made", made, "s", made / written, "its results as JSON")
    yield Figure("page of 2,000 cells, size", octets / 1e6, "MB", octets / plain, "its results as JSON")


def soak() -> Iterator[Figure]:
    """The supervisor beside 25 programs: what it needs while nothing happens, and what it adds when much does."""
    soaked = soaking.measure()
    yield Figure(
        "soak: the supervisor's memory, 25 watchers", soaked.memory_mib, "MiB", soaked.memory_mib / 60, "the 60 it may"
    )
    share = soaked.idle_cpu_share
    yield Figure("soak: of a core while it waits", share * 100, "%", share / 0.02, "the 2 % it may")
    touches = soaked.touches_a_minute
    yield Figure("soak: touches a minute, one every 0.06 s", touches, "", touches / 1000, "the 1,000 asked for")
    yield Figure("soak: delay that it adds, median", soaked.median_ms, "ms")
    yield Figure("soak: delay that it adds, p99", soaked.p99_ms, "ms", soaked.p99_ms / 20, "the 20 ms it may")


def of_protocols() -> tuple[list[Figure], list[str]]:
    """The protocols' servers; and which could not be measured here, with the reason."""
    found, left_out = run_inside(servers.measured, timeout=300)
    return [Figure(*figure) for figure in found], left_out


def many_clients() -> Iterator[Figure]:
    """Of the timer server, which ticks for each of its clients by itself."""
    few, many, alone, crowded = run_inside(crowd.measured, timeout=120)
    yield Figure(f"timer: CPU of a tick, {crowd.MANY} clients", many, "ms", many / few, f"{crowd.FEW} clients")
    yield Figure(f"timer: memory, {crowd.MANY} clients", crowded, "MiB", crowded / alone, "without any")


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
        figures = [*lab_start(folder, "embedded", None)]
        if (real := find("auto", environments.cache_folder())) is not None:
            figures += lab_start(folder, "kubernetes", real)
        figures += networks()
        of_servers, without = of_protocols()
        figures += [*of_servers, *many_clients()]
        run, of_run = small_run(folder)
        figures += [*of_run, *judging(run), *matrix_page(), *soak()]
        costs, left_out = stacks.measured(folder / "stacks")
    figures += [Figure(*figure) for figure in stacks.class_data(costs)]
    if "--json" in sys.argv:
        figures += [Figure(*figure) for figure in stacks.figures(costs)]
        sys.stdout.write(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
        return
    table = Table("figure", "value", "ratio", box=None)
    for figure in figures:
        ratio = f"{figure.ratio:.2f} times {figure.to}" if figure.ratio is not None else ""
        table.add_row(figure.what, f"{figure.value:.2f} {figure.unit}", ratio)
    Console().print(table)
    for reason in without:
        Console().print(f"not measured: {reason}")
    Console().print(stacks.table(costs, left_out))


if __name__ == "__main__":
    main()
