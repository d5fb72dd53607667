"""``watcher doctor`` and ``watcher build``: what this machine has, and what it still needs."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_error, print_json
from watcher.errors import WatcherError

if TYPE_CHECKING:
    from rich.console import Console

    from watcher.catalog import FoundStack

BUILD_EPILOG = """
**Examples**

`watcher build` : every client that comes with watcher

`watcher build python-kubernetes 'python-*-asyncio'` : some of them

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
) -> None:
    """Make the environments of the client libraries, from their own lock files.

    Each client has an environment of its own, outside the repository and apart from watcher's: what is measured is
    exactly the version that its lock names. What is built already is left alone.
    """
    from watcher.catalog import Catalog

    catalog = Catalog.load(client or ())
    chosen = catalog.select_stacks(",".join(stacks) if stacks else None)
    folders = {catalog.stacks[name].folder: catalog.stacks[name] for name in chosen}
    out = console(stderr=True)
    failed = [found for number, found in enumerate(folders.values(), 1) if not _built(found, number, len(folders), out)]
    if failed:
        names = ", ".join(found.folder.name for found in failed)
        raise WatcherError(f"not built: {names}", advice="their cells would be not-built; the other clients can run")


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
