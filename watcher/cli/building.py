"""``watcher build``: the environments of the clients, and the real control plane."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_error
from watcher.errors import UsageError, WatcherError

if TYPE_CHECKING:
    from rich.console import Console

    from watcher.catalog import FoundStack
    from watcher.programs.environments.together import Wanted

CONTROL_PLANE = "control-plane"
SIGN_OF_LIFE_SECONDS = 30.0
EPILOG = """
**Examples**

`watcher build` : every client that this machine has the tools for

`watcher build python-kubernetes 'client-go-*'` : some of them

`watcher build --kind python` : those that need no compiler

`watcher build control-plane` : kube-apiserver, kube-proxy and etcd, for the lab; some minutes, once

**Exit status:** 0 all are built, but for those that were not named and whose tools are not here; 3 at least one is
not, and the others are; 2 wrong usage.
"""


def build(
    stacks: Annotated[
        list[str] | None, typer.Argument(metavar="[STACK]...", help="Names and globs. [all]", show_default=False)
    ] = None,
    client: Annotated[
        list[Path] | None, typer.Option("--client", metavar="DIR", help="A client folder of your own; repeatable.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Only environments of this kind; repeatable.")
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
    exactly the version that its lock names. What is built already is left alone. Several are built at once; where a
    tool is missing it is said, and the others are built. The servers that clients need beside Kubernetes are built with
    them.

    The name control-plane stands for kube-apiserver, kube-proxy and etcd, from their Go modules.
    """
    names = [name for name in stacks or () if name != CONTROL_PLANE]
    wanted = CONTROL_PLANE in (stacks or ())
    if kubernetes_version is not None and not wanted:
        raise UsageError("--kubernetes-version is for the control plane", advice=f"`watcher build {CONTROL_PLANE}`")
    if not wanted:
        _build_clients(names, client, kind)
        return
    failure: WatcherError | None = None
    if names:
        try:
            _build_clients(names, client, kind)
        except WatcherError as error:
            failure = error
    _build_control_plane(kubernetes_version)
    if failure is not None:
        raise failure


def _build_clients(names: list[str], client: list[Path] | None, kinds: list[str] | None) -> None:
    """Without names all of them; goes on when one fails, and raises WatcherError at the end."""
    from watcher import protocols
    from watcher.catalog import Catalog
    from watcher.programs import environments
    from watcher.programs.environments.kinds import names as known_kinds
    from watcher.programs.environments.together import Wanted, build_together

    for kind in kinds or ():
        if kind not in known_kinds():
            raise UsageError(f"unknown kind {kind!r}", advice=f"there are {', '.join(known_kinds())}")
    catalog = Catalog.load(client or ())
    chosen = [catalog.stacks[name] for name in catalog.select_stacks(",".join(names) if names else None)]
    titles: dict[Wanted, str] = {}
    for found in chosen:
        if not kinds or found.build.kind in kinds:
            titles.setdefault(Wanted(found.folder, found.build), _title(found))
            if (server := protocols.build(found.stack.protocol)) is not None:
                titles.setdefault(server, f"{server.folder.name}: what clients of {found.stack.protocol} connect to")
    out = console(stderr=True)
    missing = {wanted: lack for wanted in titles if (lack := environments.lacks(wanted.folder, wanted.build))}
    with _Together(out, titles, len(titles) - len(missing)) as shown:
        failed = build_together(
            [wanted for wanted in titles if wanted not in missing], on_line=shown.line, on_done=shown.done
        )
    for wanted, lack in missing.items():
        out.print(f"{titles[wanted]}: not built: {lack.message}", soft_wrap=True)
        for line in (lack.advice or "").splitlines():
            out.print(f"  {line}", soft_wrap=True)
    if not_there := [*failed, *(missing if names else ())]:
        folders = ", ".join(dict.fromkeys(wanted.folder.name for wanted in not_there))
        raise WatcherError(f"not built: {folders}", advice="their cells would be not-built; the other clients can run")


def _title(found: FoundStack) -> str:
    version = "" if found.stack.version == "system" else f" {found.stack.version}"
    return f"{found.folder.name}: {found.stack.library}{version}"


class _Together:
    """Shows what is under way and what is done: moving on a terminal, else a line for each end and now and then."""

    def __init__(self, out: Console, titles: dict[Wanted, str], of: int) -> None:
        self._out = out
        self._titles = titles
        self._of = of
        self._number = 0
        self._began = self._shown = time.monotonic()
        self._doing: dict[Wanted, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._status = out.status("")

    def __enter__(self) -> _Together:
        if self._out.is_terminal and self._of:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def line(self, wanted: Wanted, text: str) -> None:
        """From any thread."""
        from rich.text import Text

        with self._lock:
            now = time.monotonic()
            began, _ = self._doing.get(wanted, (now, ""))
            self._doing[wanted] = began, text
            if self._out.is_terminal:
                rows = [f"{self._titles[each]}: {now - at:.0f} s  {said}" for each, (at, said) in self._doing.items()]
                self._status.update(Text("\n".join(rows), no_wrap=True, overflow="ellipsis"))
            elif now - self._shown > SIGN_OF_LIFE_SECONDS:
                self._shown = now
                for each, (at, _) in self._doing.items():
                    self._out.print(f"{self._titles[each]}: {now - at:.0f} s", soft_wrap=True)

    def done(self, wanted: Wanted, error: WatcherError | None) -> None:
        with self._lock:
            now = time.monotonic()
            began, _ = self._doing.pop(wanted, (now, ""))
            self._number += 1
            what = f"[{self._number}/{self._of}] {self._titles[wanted]}"
            how = f"ready in {now - began:.1f} s" if error is None else f"failed after {now - began:.1f} s"
            self._out.print(f"{what}: {how}", soft_wrap=True)
            if error is not None:
                print_error(error)


def _build_control_plane(version: str | None) -> None:
    from watcher.lab.control_plane import build
    from watcher.programs import environments

    out = console(stderr=True)
    began = time.monotonic()
    with _Steps(out) as steps:
        made = build.build(environments.cache_folder(), version, on_step=steps.begin, on_line=steps.line)
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
