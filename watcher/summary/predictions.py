"""The lab's results that a summary is held against: those that are named, or all that were published."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from watcher.catalog import clients_folder
from watcher.errors import FileError
from watcher.model import Results
from watcher.report.files import RESULTS
from watcher.report.index import FOLDER
from watcher.report.summary_prediction import LabRun, newest_first

MOST_OCTETS = 256 << 20
MOST_RUNS = 30
"""Published ones that are read, those of the newest days."""
PROTOCOL = "watch"
"""What a soak's programs speak; a run of others says nothing of them."""


def published(folders: Iterable[Path] | None = None) -> list[LabRun]:
    """The trusted runs of watches that a checkout holds, newest first: beside the client programs, or in the working
    folder. Raises FileError for one that cannot be read."""
    for folder in folders if folders is not None else (clients_folder().parent / "results", Path("results")):
        found = [file for file in folder.glob(f"*/{RESULTS}") if FOLDER.fullmatch(file.parent.name) and file.is_file()]
        if found:
            # A name has the day alone, and behind it a hash: which run of a day came last, its results say.
            latest = sorted(found, key=lambda file: file.parent.name, reverse=True)[:MOST_RUNS]
            runs = [LabRun(file.parent.name, load(file)) for file in latest]
            return newest_first(run for run in runs if run.results.run.trusted and _watched(run.results))
    return []


def named(place: Path) -> LabRun:
    """The run in a folder, or whose results a file holds, whatever it is. Raises FileError."""
    return LabRun((place if place.is_dir() else place.parent).resolve().name, load(place))


def _watched(results: Results) -> bool:
    return any(stack.protocol == PROTOCOL for stack in results.stacks.values())


def load(place: Path) -> Results:
    """A run's folder or its results. Raises FileError."""
    file = place / RESULTS if place.is_dir() else place
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_OCTETS + 1)
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    try:
        if len(content) > MOST_OCTETS:
            raise ValueError(f"larger than {MOST_OCTETS >> 20} MiB")
        return Results.model_validate_json(content)
    except ValidationError as error:
        raise FileError(
            str(file), None, "these are no results of a run", advice="give what `watcher run` wrote"
        ) from error
    except ValueError as error:
        raise FileError(str(file), None, str(error)) from error
