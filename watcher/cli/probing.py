"""``watcher probe``: does a client program keep the contract?"""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_json
from watcher.errors import UsageError, WatcherError

if TYPE_CHECKING:
    from rich.console import Console

    from watcher.catalog import Catalog, FoundStack
    from watcher.model import Profile, Stack
    from watcher.probe.findings import ProbeReport, ProfileReport
    from watcher.probe.probing import Candidate


PROTOCOL = "watch"
"""Of the programs that a probe has questions for."""


class ControlPlaneChoice(StrEnum):
    AUTO = "auto"
    EMBEDDED = "embedded"
    KUBERNETES = "kubernetes"


EPILOG = """
**Examples**

`watcher probe ./my-client` : every stack in this folder, in every profile; some three minutes

`watcher probe ./my-client --quiet 10` : quickly, while the program is being written

`watcher probe 'python-*' --json` : stacks that come with watcher; for scripts

**Exit status:** 0 the contract is kept; 1 it is not, and the report says where; 2 wrong usage; 3 a client could not be
built.
"""


def probe(
    clients: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Client folders, or names and globs of stacks.")
    ],
    profiles: Annotated[
        str | None, typer.Option(metavar="LIST", help="Only these profiles: names and globs. [all]", show_default=False)
    ] = None,
    quiet: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long nothing happens, which a watch must survive.")
    ] = 150.0,
    control_plane: Annotated[
        ControlPlaneChoice,
        typer.Option(
            help="embedded: HTTP/1.1, no root. kubernetes: the real one, in the lab's sandbox, with HTTP/2. auto: the "
            "real one for those that watch over a WebSocket."
        ),
    ] = ControlPlaneChoice.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Hold client programs to their contract (clients/CONTRACT.md), whoever wrote them.

    Each stack runs in every profile against a control plane on this machine: over HTTP/1.1, without the lab, without
    root; or against the real one. A profile that no program can know must be refused; the others must say what they
    set, have it on their sockets, see the trigger and nothing else, survive a quiet time, and end when they are told
    to. Where a library's own timer ends a quiet watch, the manifest must name it, and the report repeats it.
    """
    import asyncio

    from watcher.probe.probing import Candidate
    from watcher.probe.probing import probe as run

    catalog, found = _find(clients)
    chosen = {name: catalog.profiles[name] for name in catalog.select_profiles(profiles)}
    out = console(stderr=True)
    candidates = [Candidate(each.stack, _command(each)) for each in _built(found, out)]
    trials = len(candidates) * (len(chosen) + 1)
    out.print(f"{len(candidates)} stacks, {trials} trials; at least {quiet:g} s, in which nothing happens")
    done: list[str] = []

    def show(stack: str, report: ProfileReport) -> None:
        done.append(stack)
        if not report.ok:
            out.print(f"[{len(done)}/{trials}] {stack}/{report.profile}: not as the contract says", soft_wrap=True)

    real = [each for each in candidates if _needs_real(each.stack, control_plane)]
    others = [each for each in candidates if each not in real]
    reports = [_on_kubernetes(real, chosen, quiet)] if real else []
    if others:
        reports.append(asyncio.run(run(others, chosen, quiet_seconds=quiet, on_report=show)))
    report = reports[0].model_copy(
        update={
            "control_plane": "; ".join(each.control_plane for each in reports),
            "stacks": tuple(stack for each in reports for stack in each.stacks),
        }
    )
    if as_json:
        stacks = [
            {
                **stack.model_dump(mode="json"),
                "ok": stack.ok,
                "profiles": [{**each.model_dump(mode="json"), "ok": each.ok} for each in stack.profiles],
            }
            for stack in report.stacks
        ]
        print_json({**report.model_dump(mode="json", exclude={"stacks"}), "ok": report.ok, "stacks": stacks})
    else:
        _print(report, console())
    raise typer.Exit(0 if report.ok else 1)


def _needs_real(stack: Stack, choice: ControlPlaneChoice) -> bool:
    return choice is ControlPlaneChoice.KUBERNETES or (choice is ControlPlaneChoice.AUTO and stack.websocket)


def _on_kubernetes(candidates: list[Candidate], profiles: dict[str, Profile], quiet: float) -> ProbeReport:
    from watcher.lab.control_plane import binaries
    from watcher.probe.inside import probe_inside
    from watcher.programs import environments

    found = binaries.find("kubernetes", environments.cache_folder())
    assert found is not None
    return probe_inside(candidates, profiles, quiet, found)


def _find(clients: list[str]) -> tuple[Catalog, list[FoundStack]]:
    """The stacks in these folders and of these names, in the order asked for."""
    from watcher.catalog import MANIFEST, Catalog

    shipped = {found.folder for found in Catalog.load().stacks.values()}
    folders = [Path(each).resolve() for each in clients if Path(each).is_dir()]
    for each in clients:
        if "/" in each and not Path(each).is_dir():
            raise UsageError(f"there is no folder {each}", advice=f"name the folder that holds {MANIFEST}")
    catalog = Catalog.load([folder for folder in dict.fromkeys(folders) if folder not in shipped])
    found: dict[str, FoundStack] = {}
    for each in clients:
        if Path(each).is_dir():
            found |= {name: one for name, one in catalog.stacks.items() if one.folder == Path(each).resolve()}
        else:
            found |= {name: catalog.stacks[name] for name in catalog.select_stacks(each)}
    others = [each.stack for each in found.values() if each.stack.protocol != PROTOCOL]
    if others:
        said = ", ".join(f"{stack.name} ({stack.protocol})" for stack in others)
        console(stderr=True).print(f"only programs that {PROTOCOL} are probed; left out: {said}", soft_wrap=True)
    if len(others) == len(found):
        raise UsageError(
            f"no stack here speaks the protocol {PROTOCOL}",
            advice=f"`{_control_run(found, shipped)}` shows whether they deliver where nothing goes wrong",
        )
    return catalog, [each for each in found.values() if each.stack.protocol == PROTOCOL]


def _control_run(found: dict[str, FoundStack], shipped: set[Path]) -> str:
    """The command that runs these stacks where nothing goes wrong; ``shipped``: folders that need not be named."""
    own = dict.fromkeys(each.folder for each in found.values() if each.folder not in shipped)
    words = ["watcher", "run", *(word for folder in own for word in ("--client", str(folder)))]
    return shlex.join([*words, "--stacks", ",".join(found), "--scenarios", "control"])


def _built(found: list[FoundStack], out: Console) -> list[FoundStack]:
    """Raises WatcherError where one cannot be built: a probe that leaves out a stack has not probed the client."""
    from watcher.programs import environments
    from watcher.programs.environments.together import Wanted, build_together

    wanted = dict.fromkeys(Wanted(each.folder, each.build) for each in found)
    missing = [each for each in wanted if not environments.is_built(each.folder, each.build)]
    if missing:
        out.print(f"building {', '.join(dict.fromkeys(each.folder.name for each in missing))}", soft_wrap=True)
    failed = build_together(missing)
    for error in failed.values():
        raise WatcherError(error.message, advice=error.advice)
    return found


def _command(found: FoundStack) -> list[str]:
    from watcher.programs import environments

    places = {
        "environment": str(environments.environment_for(found.folder, found.build)),
        "folder": str(found.folder),
    }
    return [argument.format(**places) for argument in found.stack.command]


def _print(report: ProbeReport, out: Console) -> None:
    """Each stack with what is wrong, what is worth knowing, and in one line what is right."""
    from rich.text import Text

    for stack in report.stacks:
        mark, style = ("ok", "green") if stack.ok else ("FAILED", "bold red")
        runtime = f" ({stack.runtime})" if stack.runtime else ""
        title = Text.assemble((mark, style), f"  {stack.stack}: {stack.library} {stack.version}{runtime}")
        out.print(title, soft_wrap=True)
        for profile in stack.profiles:
            for finding in profile.findings:
                if not finding.ok or finding.note:
                    word, colour = ("FAILED", "bold red") if not finding.ok else ("note", "yellow")
                    line = Text.assemble(
                        f"    {profile.profile}: ", (word, colour), f" {finding.check}: {finding.said}"
                    )
                    out.print(line, soft_wrap=True)
        kept = [each.profile for each in stack.profiles if each.ok and each.supported]
        refused = [each.profile for each in stack.profiles if each.ok and not each.supported]
        if kept:
            out.print(f"    keeps the contract in {', '.join(kept)}", soft_wrap=True)
        if refused:
            out.print(f"    refuses {', '.join(refused)}", soft_wrap=True)
    checks = [finding.ok for stack in report.stacks for each in stack.profiles for finding in each.findings]
    out.print(
        f"contract version {report.contract_version}: {sum(checks)} of {len(checks)} checks passed, "
        f"a quiet {report.quiet_seconds:g} s, {report.control_plane}",
        soft_wrap=True,
    )
