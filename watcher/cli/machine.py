"""``watcher doctor`` and ``watcher build``: what this machine has, and what it still needs."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_error, print_json
from watcher.errors import UsageError, WatcherError

if TYPE_CHECKING:
    from rich.console import Console

    from watcher.catalog import FoundStack

CONTROL_PLANE = "control-plane"
SIGN_OF_LIFE_SECONDS = 30.0
BUILD_EPILOG = """
**Examples**

`watcher build` : every client that comes with watcher

`watcher build python-kubernetes 'python-*-asyncio'` : some of them

`watcher build control-plane` : kube-apiserver, kube-proxy and etcd, for the lab; some minutes, once

**Exit status:** 0 all are built; 3 at least one is not, and the others are; 2 wrong usage.
"""

DOCTOR_EPILOG = """
**Exit status:** 0 the lab can run here; 3 it cannot, and what to do is said beside the reason.
"""


def build(
    stacks: Annotated[
        list[str] | None, typer.Argument(metavar="[STACK]...", help="Names and globs. [all]", show_default=False)
    ] = None,
    client: Annotated[
        list[Path] | None, typer.Option("--client", metavar="DIR", help="A client folder of your own; repeatable.")
    ] = None,
    kubernetes_version: Annotated[
        str | None,
        typer.Option(
            metavar="1.X.Y", help="For control-plane: another version than the pinned one.", show_default=False
        ),
    ] = None,
) -> None:
    """Make the environments of the client libraries, from their own lock files.

    Each client has an environment of its own, outside the repository and apart from watcher's: what is measured is
    exactly the version that its lock names. What is built already is left alone.

    The name control-plane stands for kube-apiserver, kube-proxy and etcd, from their Go modules.
    """
    names = [name for name in stacks or () if name != CONTROL_PLANE]
    wanted = CONTROL_PLANE in (stacks or ())
    if kubernetes_version is not None and not wanted:
        raise UsageError("--kubernetes-version is for the control plane", advice=f"`watcher build {CONTROL_PLANE}`")
    if not wanted:
        _build_clients(names, client)
        return
    failure: WatcherError | None = None
    if names:
        try:
            _build_clients(names, client)
        except WatcherError as error:
            failure = error
    _build_control_plane(kubernetes_version)
    if failure is not None:
        raise failure


def _build_clients(names: list[str], client: list[Path] | None) -> None:
    """Without names all of them; goes on when one fails, and raises WatcherError at the end."""
    from watcher.catalog import Catalog

    catalog = Catalog.load(client or ())
    chosen = catalog.select_stacks(",".join(names) if names else None)
    folders = {catalog.stacks[name].folder: catalog.stacks[name] for name in chosen}
    out = console(stderr=True)
    failed = [found for number, found in enumerate(folders.values(), 1) if not _built(found, number, len(folders), out)]
    if failed:
        missing = ", ".join(found.folder.name for found in failed)
        raise WatcherError(f"not built: {missing}", advice="their cells would be not-built; the other clients can run")


def _built(found: FoundStack, number: int, of: int, out: Console) -> bool:
    """One client, with its place in the row before and its time after; an error is printed, not raised."""
    from rich.text import Text

    from watcher.programs import environment

    what = f"[{number}/{of}] {found.folder.name}: {found.stack.library} {found.stack.version}"
    began = time.monotonic()
    try:
        with out.status(Text(what)):
            environment.build(found.folder, found.build)
    except WatcherError as error:
        out.print(f"{what}: failed", soft_wrap=True)
        print_error(error)
        return False
    out.print(f"{what}: ready in {time.monotonic() - began:.1f} s", soft_wrap=True)
    return True


def _build_control_plane(version: str | None) -> None:
    from watcher.lab.control_plane import build
    from watcher.programs import environment

    out = console(stderr=True)
    began = time.monotonic()
    with _Steps(out) as steps:
        made = build.build(environment.cache_folder(), version, on_step=steps.begin, on_line=steps.line)
    took = time.monotonic() - began
    out.print(
        f"Kubernetes {made.version} with etcd {made.etcd_version}: ready in {took:.1f} s, in {made.folder}",
        soft_wrap=True,
    )


class _Steps:
    """Shows the step that is under way and its time: moving on a terminal, else a line now and then."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._what: str | None = None
        self._began = self._shown = 0.0
        self._spinner = out.status("")

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._spinner.stop()
        self._end("ready in" if kind is None else "failed after")

    def begin(self, what: str) -> None:
        self._end("ready in")
        self._what = what
        self._began = self._shown = time.monotonic()
        if self._out.is_terminal:
            self._spinner.start()
        else:
            self._out.print(what, soft_wrap=True)
        self.line("")

    def line(self, text: str) -> None:
        """What a tool says, at its end most often the package that it compiles."""
        from rich.text import Text

        now = time.monotonic()
        seconds = f"{now - self._began:.0f} s"
        if self._out.is_terminal:
            self._spinner.update(Text(f"{self._what}: {seconds}  {text}", no_wrap=True, overflow="ellipsis"))
        elif now - self._shown > SIGN_OF_LIFE_SECONDS:
            self._shown = now
            self._out.print(f"{self._what}: {seconds}", soft_wrap=True)

    def _end(self, how: str) -> None:
        if self._what is not None:
            self._out.print(f"{self._what}: {how} {time.monotonic() - self._began:.1f} s", soft_wrap=True)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Every check, as JSON.")] = False,
) -> None:
    """Say what this machine lacks for the lab, and how to get it. Changes nothing."""
    from rich.text import Text

    from watcher.doctor import examine

    checks = examine()
    able = all(check.ok for check in checks if check.required)
    if as_json:
        print_json({"lab": able, "checks": [asdict(check) for check in checks]})
        raise typer.Exit(0 if able else 3)
    out = console()
    wide = max((len(check.name) for check in checks), default=0)
    for check in checks:
        mark, style = ("ok", "green") if check.ok else ("MISSING", "bold red") if check.required else ("note", "yellow")
        line = Text.assemble((f"{mark:<7}", style), f"  {check.name:<{wide}}  {check.detail}")
        for remedy in (check.remedy or "").splitlines():
            line.append(f"\n{'':<{wide + 11}}{remedy}")
        out.print(line, soft_wrap=True)
    out.print("the lab can run here" if able else "the lab cannot run here yet", style="bold")
    raise typer.Exit(0 if able else 3)
