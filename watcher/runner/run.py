"""A run as the command sees it: plans, starts the stage in its sandbox, keeps the journal, judges, writes results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from watcher import faults, journal, plan, protocols
from watcher.catalog import Catalog, FoundStack
from watcher.doctor import machine
from watcher.errors import LabFailure, UsageError
from watcher.judge import proofs
from watcher.judge.fold import Judge
from watcher.judge.results import results_of
from watcher.lab import sandbox
from watcher.lab.control_plane import binaries, haproxy, kube_proxy
from watcher.lab.control_plane.binaries import Binaries
from watcher.model import CellPlan, Results, Scenario, ScenarioResult, StackResult, Verdict
from watcher.programs import environments
from watcher.programs.environments.together import Wanted, build_together
from watcher.records import RECORD, LabError, Planned, Record, RunEnded, RunStarted
from watcher.runner.figures import Figures
from watcher.runner.options import RunOptions
from watcher.runner.order import Launch, Order
from watcher.runner.progress import Reporter

LAB_LOG = "lab.log"
EMBEDDED = "embedded"


@dataclass(frozen=True)
class _Run:
    """A run that is about to begin or to go on."""

    folder: Path
    started: RunStarted
    cells: list[CellPlan]
    """Those still to be run."""
    control_plane: Binaries | None


def run(options: RunOptions, catalog: Catalog, console: Console) -> Results:
    """Runs the chosen cells and returns the results; the run's folder holds the journal and every cell's evidence.

    Raises UsageError for what the user can mend, LabUnavailable or LabFailure where nothing can be known.
    """
    this = _resume(options) if options.resume else _begin(options, catalog, console)
    longest = max((cell.timing.length_seconds for cell in this.cells), default=0.0)
    console.print(
        f"{len(this.cells)} cells to run (the longest takes {_minutes(longest)}) at scale {this.started.scale:g}"
        f" ({'true time' if this.started.scale == 1 else f'every duration divided by {this.started.scale:g}'}),"
        f" control plane {this.started.control_plane}, run {this.folder}",
        highlight=False,
        soft_wrap=True,
    )
    if this.cells:
        _stage(this, options, _launches(catalog, this.cells), console)
    results = results_of(journal.read(this.folder))
    if options.tie_break and (again := _once_more(this, results)):
        console.print(f"repeats disagree: {len(again)} cells once more, controls included", highlight=False)
        more = replace(this, cells=list(again))
        _plan_into_journal(more)
        _stage(more, options, _launches(catalog, again), console)
        results = results_of(journal.read(this.folder))
    return results


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _once_more(this: _Run, results: Results) -> Sequence[CellPlan]:
    disagree = {f"{c.stack}/{c.profile}/{c.scenario}" for c in results.cells if c.verdict is Verdict.FLAKY}
    if not disagree:
        return ()
    planned = [record.plan for record in journal.read(this.folder) if isinstance(record, Planned)]
    return plan.once_more(planned, disagree)


def _plan_into_journal(this: _Run) -> None:
    with journal.Journal(this.folder) as kept:
        for cell in this.cells:
            kept.append(Planned(t=time.monotonic(), cell=str(cell.id), plan=cell))


def _begin(options: RunOptions, catalog: Catalog, console: Console) -> _Run:
    control_plane = binaries.find(options.control_plane, environments.cache_folder())
    stacks = [catalog.stacks[name] for name in catalog.select_stacks(options.stacks)]
    scenarios = [catalog.scenarios[name] for name in catalog.select_scenarios(options.scenarios)]
    for scenario in scenarios:
        _check_proofs(scenario)
        faults.check(scenario, catalog.paths[scenario.path])
    spoken = sorted({found.stack.protocol for found in stacks})
    not_built, missing_protocols = _build(stacks, spoken, console)
    cells = plan.make(
        plan.Choice(
            stacks=[found.stack for found in stacks],
            profiles=[catalog.profiles[name] for name in catalog.select_profiles(options.profiles)],
            scenarios=scenarios,
            paths=catalog.paths,
            not_built=not_built,
            cells=None if options.cells is None else [part.strip() for part in options.cells.split(",")],
            server_scales=control_plane is None,
            real_server=control_plane is not None,
            missing_backend=None
            if control_plane is not None
            else "needs the real control plane, which has a second server to take over: `watcher build control-plane`",
            unfit=lambda stack, scenario, path: protocols.load(stack.protocol).unfit(
                stack, scenario, path, options.scale
            ),
            missing_proxy=haproxy.missing(),
            missing_balancers=kube_proxy.missing(control_plane),
            missing_protocols=missing_protocols,
            blocking_faults=catalog.blocking_faults,
            answering_faults=catalog.answering_faults,
            scale=options.scale,
            repeat=options.repeat,
        )
    )
    if not cells:
        raise UsageError(
            f"no cell matches --cells {options.cells}",
            advice="a cell is STACK/PROFILE/SCENARIO, for example '*/default/azure-*'",
        )
    if all(cell.skip is not None for cell in cells):
        reasons = dict.fromkeys(cell.skip.reason for cell in cells if cell.skip is not None)
        raise UsageError("nothing could be decided: no cell can be run", advice="\n  ".join(list(reasons)[:5]))
    folder = _new_folder(options.output)
    started = RunStarted(
        t=time.monotonic(),
        run=folder.name,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        scale=options.scale,
        deadline_seconds=cells[0].timing.deadline_seconds,
        control_plane=_name(control_plane),
        environment=machine.described(),
        stacks={
            found.stack.name: StackResult(
                protocol=found.stack.protocol,
                language=found.stack.language,
                library=found.stack.library,
                version=found.stack.version,
                timers=found.stack.timers,
            )
            for found in stacks
            if found.stack.name in {cell.id.stack for cell in cells}
        },
        scenarios={
            scenario.name: ScenarioResult(
                description=scenario.description,
                path=scenario.path,
                fault=scenario.fault,
                source=catalog.paths[scenario.path].source,
                threads=scenario.threads,
            )
            for scenario in scenarios
            if scenario.name in {cell.id.scenario for cell in cells}
        },
    )
    (folder / "environment.json").write_text(RECORD.dump_json(started, indent=1).decode() + "\n")
    with journal.Journal(folder) as kept:
        kept.append(started)
        for cell in cells:
            kept.append(Planned(t=time.monotonic(), cell=str(cell.id), plan=cell))
    return _Run(folder, started, [cell for cell in cells if cell.skip is None], control_plane)


def _check_proofs(scenario: Scenario) -> None:
    try:
        proofs.check(scenario.proof)
    except UsageError as error:
        raise UsageError(f"scenario {scenario.name}: {error.message}", advice=error.advice) from error


def _resume(options: RunOptions) -> _Run:
    if options.output is None:
        raise UsageError("--resume needs --output", advice="name the folder of the run to go on with")
    records = list(journal.read(options.output))
    started = journal.started(records)
    if started is None:
        raise UsageError(f"{options.output} holds a run that never began", advice="start it anew in another folder")
    control_plane = (
        None if started.control_plane == EMBEDDED else binaries.find("kubernetes", environments.cache_folder())
    )
    if _name(control_plane) != started.control_plane:
        raise UsageError(
            f"the run was begun with {started.control_plane}, but what is here now is {_name(control_plane)}",
            advice=f"let {binaries.ASSETS} name the folder of {started.control_plane}, or begin a new run",
        )
    return _Run(options.output, started, [planned.plan for planned in journal.unfinished(records)], control_plane)


def _name(control_plane: Binaries | None) -> str:
    return EMBEDDED if control_plane is None else f"kubernetes {control_plane.version}"


def _new_folder(output: Path | None) -> Path:
    folder = output or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _empty(folder)
    except OSError as error:
        raise UsageError(
            f"cannot use {folder}: {error.strerror}", advice="name an --output that you may write to"
        ) from error


def _empty(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", advice="give --output a folder that is new or empty")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} already holds a run or other files",
            advice="go on with that run by --resume, or name another --output",
        )
    if folder.absolute().is_relative_to("/run"):
        raise UsageError(
            f"{folder} is under /run, which the lab hides from itself", advice="name an --output elsewhere"
        )
    return folder


def _build(
    stacks: Sequence[FoundStack], spoken: Iterable[str], console: Console
) -> tuple[dict[str, str], dict[str, str]]:
    """Builds what the stacks and their protocols' servers still need.

    Returns the stacks that could not be built, and the protocols whose server this machine does not have, with why.
    """
    of = {found.stack.name: Wanted(found.folder, found.build) for found in stacks}
    servers = {name: wanted for name in spoken if (wanted := protocols.build(name)) is not None}
    both = dict.fromkeys((*of.values(), *servers.values()))
    missing = [each for each in both if not environments.is_built(each.folder, each.build)]
    if missing:
        console.print(f"building {', '.join(dict.fromkeys(each.folder.name for each in missing))}", highlight=False)
    failed = build_together(missing)
    not_built = {
        name: f"its environment could not be built: {failed[each].message}"
        for name, each in of.items()
        if each in failed
    }
    no_server = {name: failed[each].message for name, each in servers.items() if each in failed}
    lacking = {name: reason for name in spoken if (reason := protocols.load(name).missing()) is not None}
    return not_built, {**lacking, **no_server}


def _launches(catalog: Catalog, cells: Iterable[CellPlan]) -> dict[str, Launch]:
    launches = {}
    for name in {cell.id.stack for cell in cells if cell.control is None and cell.skip is None}:
        if name not in catalog.stacks:
            raise UsageError(
                f"stack {name!r} of this run is not in the catalog any more",
                advice="give its folder again with --client",
            )
        found = catalog.stacks[name]
        places = {
            "environment": str(environments.environment_for(found.folder, found.build)),
            "folder": str(found.folder.absolute()),
        }
        arguments = tuple(argument.format(**places) for argument in found.stack.command)
        if shutil.which(arguments[0]) is None:
            raise UsageError(
                f"stack {name!r} cannot be started: {arguments[0]} is no program that can be run",
                advice=f"its command stands in {found.folder / 'client.toml'}",
            )
        launches[name] = Launch(arguments=arguments)
    return launches


def _stage(this: _Run, options: RunOptions, launches: dict[str, Launch], console: Console) -> None:
    """Runs the cells in the sandbox; every record goes to the journal before anybody looks at it."""
    order = Order(
        run=this.started.run,
        folder=str(this.folder.absolute()),
        scale=this.started.scale,
        deadline_seconds=this.started.deadline_seconds,
        jobs=options.jobs,
        control_plane=this.control_plane,
        launches=launches,
        cells=tuple(this.cells),
    )
    log = this.folder / LAB_LOG
    figures = Figures(this.cells)
    judge = Judge()
    judge.feed(this.started)
    for cell in this.cells:
        judge.feed(Planned(t=time.monotonic(), cell=str(cell.id), plan=cell))
    failure: LabError | None = None
    status = -1
    stage = sandbox.start([*_python(), "-m", "watcher.runner.inside"], log)
    try:
        assert stage.stdin is not None
        assert stage.stdout is not None
        with journal.Journal(this.folder) as kept, Reporter(console, this.cells, os.cpu_count() or 1) as reporter:
            _send(stage, order)
            for line in stage.stdout:
                kept.append_line(line.rstrip(b"\n"))
                record: Record = RECORD.validate_json(line)
                if isinstance(record, LabError) and record.cell is None:
                    failure = record
                figures.see(record)
                reporter.see(record)
                for cell_id, judged in judge.feed(record):
                    reporter.closed(str(cell_id), judged)
            status = stage.wait()
            if status == 0:
                kept.append(RunEnded(t=time.monotonic(), figures=figures.of_run(time.monotonic())))
    except KeyboardInterrupt:
        console.print(
            f"interrupted; finished cells are kept: `watcher run --resume --output {this.folder}` goes on",
            highlight=False,
            soft_wrap=True,
        )
        raise
    finally:
        sandbox.end(stage)
    if status != 0:
        what = failure.message if failure is not None else f"the lab ended early (status {status})"
        raise LabFailure(
            what, advice=f"its log: {log}; finished cells are kept: --resume --output {this.folder} goes on"
        )


def _send(stage: subprocess.Popen[bytes], order: Order) -> None:
    assert stage.stdin is not None
    try:
        stage.stdin.write(order.model_dump_json().encode() + b"\n")
        stage.stdin.flush()
    except BrokenPipeError:
        pass  # it ended before it read its order; its status and log say why


def _python() -> Sequence[str]:
    return (sys.executable, "-X", "utf8")
