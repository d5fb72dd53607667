"""Makes a run's page from its folder: what the page shows beside the results is read here, from catalog and folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from watcher import journal, protocols
from watcher.catalog import Catalog, FoundStack, clients_folder
from watcher.errors import UsageError
from watcher.judge.timeline import timelines
from watcher.model import CellResult, Ending, Results
from watcher.model import Path as NetworkPath
from watcher.programs import contract
from watcher.publish import folder
from watcher.report import cell as cell_in_words
from watcher.report import page
from watcher.report.index import Published
from watcher.report.soaks import Soak
from watcher.timeline import Timeline

SOURCES = frozenset({".cs", ".go", ".java", ".js", ".kt", ".mjs", ".py", ".rb", ".rs", ".sh", ".ts"})
"""Suffixes of what a person wrote, in the folder of a client that is built."""
ENDINGS = {
    Ending.NEVER: "no idle timeout",
    Ending.SILENT: "tells nobody",
    Ending.RESET_ON_NEXT_PACKET: "tells next sender",
    Ending.RESET_CLIENT_ON_NEXT_PACKET: "tells the client if it sends",
    Ending.BLOCKED_UNTIL_OUTBOUND: "opens again if the client sends",
    Ending.CLOSE: "a proxy closes both sides",
    Ending.RESET_BOTH: "tells both",
    Ending.RESET_SERVER: "tells server",
}


def render(
    results: Results,
    name: str,
    run: Path,
    place: Path,
    repository: Path | None = None,
    others: Iterable[Published] = (),
) -> str:
    """The page of the run in the folder ``run``, to be written into the folder ``place``.

    Where the folder has no journal, the page has no timelines, and its cells say so. ``repository`` is the top of the
    checkout that the page will be published in, ``others`` the published runs whose pages lie in ``place``, too.
    """
    return page.page(results, name, _timelines(run), surroundings(results, run, place, repository), others)


def surroundings(results: Results, run: Path, place: Path, repository: Path | None = None) -> page.Surroundings:
    catalog = Catalog.load()
    cells = (*results.cells, *results.controls)
    programs = {
        name: program(found, results.stacks[name].version)
        for name, found in catalog.stacks.items()
        if name in results.stacks
    }
    return page.Surroundings(
        introduction=protocols.introduction({stack.protocol for stack in results.stacks.values()}),
        programs={name: told for name, (told, _) in programs.items()},
        sources={name: text for _, files in programs.values() for name, text in files.items()},
        profiles={name: profile.description for name, profile in catalog.profiles.items()},
        variables={cell_name(cell): text for cell in cells if cell.control is None and (text := _variables(cell))},
        paths={name: _short(path) for name, path in catalog.paths.items()},
        evidence={cell_name(cell): links for cell in cells if (links := _evidence(cell, run, place))},
        repository=None if repository is None else _link(repository, place),
    )


def pages(
    to: Path, runs: Iterable[Published], repository: Path, *, again: bool, soaks: Iterable[Soak] = ()
) -> Iterator[tuple[Path, str]]:
    """File and content: a page for each published run that has none (or, ``again``, for each), then their index.

    The pages lie beside the runs, not in them: a run is never changed, its page may be drawn better one day.
    """
    runs = list(runs)
    place = to / page.PAGES
    for run in runs:
        file = place / f"{run.name}.html"
        if again or not file.exists():
            others = [other for other in runs if other.name != run.name]
            yield file, render(run.results, run.name, to / run.name, place, repository, others)
    yield to / page.INDEX, page.index_page(runs, [run.name for run in runs], soaks)


def cell_name(cell: CellResult) -> str:
    return f"{cell.stack}/{cell.profile}/{cell.scenario}"


def _timelines(run: Path) -> dict[str, Timeline]:
    try:
        journal.find(run)
    except UsageError:
        return {}
    return timelines(journal.read(run))


def program(found: FoundStack, version: str | None) -> tuple[page.Program, dict[str, str]]:
    """A stack's program and the content of its files.

    Where the folder is of another version of the library by now, what it holds may not be what ran, and is left out.
    """
    files = {} if version not in (None, found.stack.version) else _sources(found)
    told = page.Program(found.stack.description, tuple(files), found.stack.default_source)
    return told, files


def _sources(found: FoundStack) -> dict[str, str]:
    """The file that the command names; where it names something that was built, all the sources in the folder."""
    words = [word.rpartition("/")[2] for argument in found.stack.command for word in argument.split()]
    named = [found.folder / word for word in words if word and (found.folder / word).is_file()]
    inside = (file for file in found.folder.rglob("*") if file.suffix in SOURCES and file.is_file())
    chosen = named or sorted(inside, key=lambda file: (file.stem not in words, file))
    top = found.folder.parent.parent if found.folder.parent == clients_folder() else found.folder.parent
    return {file.relative_to(top).as_posix(): file.read_text(encoding="utf-8", errors="replace") for file in chosen}


def _variables(cell: CellResult) -> str:
    """Without those that only say where the cluster is."""
    try:
        variables = contract.environment(cell.settings.effective, cell.profile, "", "")
    except ValueError:  # not scalable: it was not run
        return ""
    return "\n".join(f"{name}={value}" for name, value in variables.items() if value)


def _short(path: NetworkPath) -> str:
    if path.idle_timeout_seconds is None:
        return ENDINGS[path.ending]
    return f"after {path.idle_timeout_seconds:g} s, {ENDINGS[path.ending]}"


def _evidence(cell: CellResult, run: Path, place: Path) -> tuple[str, ...]:
    """Links to what is kept of the cell, if it is there: as ``watcher run`` leaves it, or as it was published."""
    kept = str(cell.evidence.get("folder") or "")
    if not kept.startswith("cells/") or ".." in Path(kept).parts:
        return ()
    for candidate in (run / kept, run / folder.EVIDENCE / kept.removeprefix("cells/")):
        if candidate.is_dir():
            names = [name for capture in folder.CAPTURES for name in (capture, f"{capture}.gz")]
            names += [folder.PROGRAM, folder.ERRORS, cell_in_words.FILE]
            return tuple(_link(candidate / name, place) for name in names if (candidate / name).is_file())
    return ()


def _link(target: Path, place: Path) -> str:
    return quote(Path(os.path.relpath(target, place)).as_posix())
