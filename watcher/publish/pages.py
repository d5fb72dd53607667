"""The pages that follow from the published runs and soaks: their index and the tables in the README."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from watcher.catalog import clients_folder, read_coming
from watcher.errors import FileError
from watcher.model import Results
from watcher.publish import rehearsed
from watcher.records import RECORD, RunStarted
from watcher.report import files, index, readme, soaks
from watcher.report.index import Published
from watcher.report.soaks import Note, Soak
from watcher.report.summary import Summary


def published(to: Path) -> list[Published]:
    """All published runs, newest first. Raises FileError for one that cannot be read."""
    folders = [folder for folder in to.iterdir() if index.FOLDER.fullmatch(folder.name)] if to.is_dir() else []
    return index.newest_first(_read(folder) for folder in folders)


def published_soaks(to: Path) -> list[Soak]:
    """All published soaks, newest first. Raises FileError for one that cannot be read."""
    place = to / soaks.FOLDER
    folders = [each for each in place.iterdir() if index.FOLDER.fullmatch(each.name)] if place.is_dir() else []
    return soaks.newest_first(_read_soak(folder) for folder in folders)


def _read_soak(folder: Path) -> Soak:
    rehearsal = rehearsed.record(folder / rehearsed.RESULT)
    file = folder / f"{soaks.SUMMARY}.json"
    try:
        summary = Summary.model_validate_json(file.read_bytes())
        file = folder / soaks.NOTE
        note = Note.model_validate_json(file.read_bytes())
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise _invalid(file, error) from error
    return Soak(
        name=folder.name,
        began=rehearsal.started_at,
        control_plane=rehearsal.control_plane,
        kernel=f"Linux {rehearsal.environment.get('kernel', 'unknown')}",
        scale=rehearsal.scale,
        interval_seconds=rehearsal.interval_seconds,
        deadline_seconds=rehearsal.deadline_seconds,
        note=note,
        summary=summary,
    )


def _read(folder: Path) -> Published:
    file = folder / files.RESULTS
    try:
        results = Results.model_validate_json(file.read_bytes())
        file = folder / index.ENVIRONMENT
        started = RECORD.validate_json(file.read_bytes())
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise _invalid(file, error) from error
    return Published(folder.name, results, started.environment if isinstance(started, RunStarted) else {})


def _invalid(file: Path, error: ValidationError) -> FileError:
    first = error.errors(include_url=False)[0]
    return FileError(str(file), ".".join(map(str, first["loc"])) or None, str(first["msg"]))


def pages(to: Path, page: Path, *, soak: bool = False) -> dict[Path, str]:
    """File to content: the index of ``to``, and ``page`` with a run (``readme.shown``) and the newest soak between
    their markers.

    While nothing is published, the page stays as it is. Raises FileError for a page without markers; it needs those of
    a soak from the first one on, or where ``soak`` says that one will be published.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise FileError(str(page), None, f"cannot be read: {reason}", advice="name the page with --readme") from error
    runs, found = published(to), published_soaks(to)
    content = text
    readme.replaced(text, "", str(page))  # so that markers are missed before anything is published
    if runs:
        run = readme.shown(runs)
        block = readme.block(run, _link(to / run.name / files.MATRIX, page), read_coming(clients_folder()))
        content = readme.replaced(content, block, str(page))
    if soak or found:
        readme.replaced(text, "", str(page), soaks.MARKERS)
    if found:
        block = soaks.block(found[0], _link(to / soaks.FOLDER / found[0].name / f"{soaks.SUMMARY}.md", page))
        content = readme.replaced(content, block, str(page), soaks.MARKERS)
    return {to / index.NAME: index.render(runs) + soaks.index(found), page: content}


def _link(target: Path, page: Path) -> str:
    """From the page to a table."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())
