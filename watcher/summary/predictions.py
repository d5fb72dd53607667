"""The lab's results that a summary is held against: those that are named, or the newest that were published."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from watcher.catalog import clients_folder
from watcher.errors import FileError
from watcher.model import Results
from watcher.report.files import RESULTS
from watcher.report.index import FOLDER

MOST_OCTETS = 256 << 20


def newest(folders: Iterable[Path] | None = None) -> Path | None:
    """Of the published runs of a checkout: beside the client programs, or in the working folder."""
    for folder in folders if folders is not None else (clients_folder().parent / "results", Path("results")):
        found = [file for file in folder.glob(f"*/{RESULTS}") if FOLDER.fullmatch(file.parent.name) and file.is_file()]
        if found:
            return max(found, key=lambda file: file.parent.name)
    return None


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
