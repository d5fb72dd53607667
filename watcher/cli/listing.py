"""``watcher list``: what can be named, with one line of explanation each."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcher.cli.output import print_json

if TYPE_CHECKING:
    from watcher.catalog import Catalog
    from watcher.model import Path as ModelPath
    from watcher.model import Scenario

EPILOG = """
**Examples**

`watcher list scenarios` : what goes wrong, and how long after it the touch comes

`watcher list scenarios --json | jq -r '.[] | select(any(.threads[]; contains("1755"))) | .name'` : of a bug report

`watcher list stacks --json | jq -r '.[] | select(.protocol == "watch") | .name'` : for scripts

`watcher list stacks --client ./my-client` : with a client of your own
"""


class Kind(StrEnum):
    """The words of the catalog, as a command line says them."""

    STACKS = "stacks"
    PROFILES = "profiles"
    PATHS = "paths"
    FAULTS = "faults"
    SCENARIOS = "scenarios"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Everything known of each, as JSON.")] = False,
    client: Annotated[
        list[Path] | None, typer.Option("--client", metavar="DIR", help="A client folder of your own; repeatable.")
    ] = None,
    scenario: Annotated[
        list[Path] | None, typer.Option("--scenario", metavar="FILE", help="A scenario of your own; repeatable.")
    ] = None,
) -> None:
    """Show what a run can be made of, one line each.

    **stacks** are libraries and ways to watch, **profiles** keepalive settings; **paths** are what stands between
    client and API server, **faults** what goes wrong, and **scenarios** a path, a fault and the evidence for it.
    """
    from watcher.catalog import Catalog

    catalog = Catalog.load(client or (), scenario or ())
    if as_json:
        print_json(_entries(catalog, kind))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if kind is Kind.SCENARIOS and width is not None:
        lines = grouped(catalog)
    else:
        lines = _lines(list(_rows(catalog, kind)), width)
    for line in lines:
        typer.echo(line)


def _rows(catalog: Catalog, kind: Kind) -> Iterable[tuple[str, str]]:
    match kind:
        case Kind.STACKS:
            for name, found in catalog.stacks.items():
                stack = found.stack
                yield name, f"{stack.protocol}, {stack.library} {stack.version}: {stack.description}"
            for coming in catalog.coming:
                yield "(to come)", f"{coming.protocol}, {coming.library}: {coming.language}, no program yet"
        case Kind.FAULTS:
            yield from catalog.faults.items()
        case Kind.PROFILES:
            yield from ((name, profile.description) for name, profile in catalog.profiles.items())
        case Kind.PATHS:
            yield from ((name, path.description) for name, path in catalog.paths.items())
        case Kind.SCENARIOS:
            columns = _columns([(s.path, s.fault, when(s, catalog.paths[s.path])) for s in catalog.scenarios.values()])
            for (name, scenario), column in zip(catalog.scenarios.items(), columns, strict=True):
                yield name, f"{column}{scenario.description}"


def _entries(catalog: Catalog, kind: Kind) -> list[dict[str, Any]]:
    if kind is Kind.FAULTS:
        return [{"name": name, "description": text} for name, text in catalog.faults.items()]
    values: Mapping[str, Any] = {
        Kind.STACKS: {name: found.stack for name, found in catalog.stacks.items()},
        Kind.PROFILES: catalog.profiles,
        Kind.PATHS: catalog.paths,
        Kind.SCENARIOS: catalog.scenarios,
    }[kind]
    return [value.model_dump(mode="json", exclude_none=True) for value in values.values()]


def _lines(rows: list[tuple[str, str]], width: int | None) -> Iterable[str]:
    """Two columns; whole lines for a pipe, wrapped beside the name on a terminal that has the room."""
    indent = max((len(name) for name, _ in rows), default=0) + 2
    for name, text in rows:
        line = f"{name:<{indent}}{text}"
        if width is None or width < indent + 30:
            yield line
        else:
            yield textwrap.fill(line, width, subsequent_indent=" " * indent, break_on_hyphens=False)


def grouped(catalog: Catalog) -> Iterable[str]:
    """Scenarios for a reader: beneath each fault, what it does it to, and when the touch comes."""
    of: dict[str, list[Scenario]] = {}
    for scenario in catalog.scenarios.values():
        of.setdefault(scenario.fault, []).append(scenario)
    rows = [(f"  {s.name}", s.path, when(s, catalog.paths[s.path])) for found in of.values() for s in found]
    lines = iter(_columns(rows))
    for fault, found in of.items():
        yield f"{fault}: {catalog.faults[fault]}"
        yield from (next(lines).rstrip() for _ in found)
        yield ""
    yield "columns: scenario, path, when the touch comes; `watcher list scenarios --json` has all that is known of each"


def when(scenario: Scenario, path: ModelPath) -> str:
    """What passes before the touch, in true seconds."""
    if scenario.busy_interval_seconds is not None:
        return f"every {scenario.busy_interval_seconds:g} s for {scenario.quiet_seconds:g} s"
    if scenario.quiet_seconds is not None:
        return f"{scenario.quiet_seconds:g} s quiet"
    if scenario.fault_seconds is not None:
        return f"{scenario.fault_seconds:g} s, then {scenario.gap_seconds:g} s"
    if path.idle_timeout_seconds is not None:
        return f"{path.idle_timeout_seconds + path.end_delay_seconds:g} s idle, then {scenario.gap_seconds:g} s"
    return f"{scenario.gap_seconds:g} s later"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Each row as one string, its columns below each other."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return ["".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
