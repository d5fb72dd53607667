"""``watcher doctor``: what this machine has, and what it still needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from watcher.cli.output import console, print_json

if TYPE_CHECKING:
    pass

DOCTOR_EPILOG = """
**Exit status:** 0 the lab can run here; 3 it cannot, and what to do is said beside the reason.
"""


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
