"""The pages that follow from the published runs: their index and the table in the README."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from watcher.errors import FileError
from watcher.model import Results
from watcher.records import RECORD, RunStarted
from watcher.report import files, index, readme
from watcher.report.index import Published


def published(to: Path) -> list[Published]:
    """All published runs, newest first. Raises FileError for one that cannot be read."""
    folders = [folder for folder in to.iterdir() if index.FOLDER.fullmatch(folder.name)] if to.is_dir() else []
    return index.newest_first(_read(folder) for folder in folders)


def _read(folder: Path) -> Published:
    file = folder / files.RESULTS
    try:
        results = Results.model_validate_json(file.read_bytes())
        file = folder / index.ENVIRONMENT
        started = RECORD.validate_json(file.read_bytes())
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise FileError(str(file), ".".join(map(str, first["loc"])) or None, str(first["msg"])) from error
    return Published(folder.name, results, started.environment if isinstance(started, RunStarted) else {})


def pages(to: Path, page: Path) -> dict[Path, str]:
    """File to content: the index of ``to``, and ``page`` with the newest run between its markers.

    While nothing is published, the page stays as it is. Raises FileError for a page without markers.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise FileError(str(page), None, f"cannot be read: {reason}", advice="name the page with --readme") from error
    runs = published(to)
    newest = readme.block(runs[0], link(runs[0], to, page)) if runs else None
    content = text if newest is None else readme.replaced(text, newest, str(page))
    readme.replaced(text, "", str(page))  # so that markers are missed before anything is published
    return {to / index.NAME: index.render(runs), page: content}


def link(run: Published, to: Path, page: Path) -> str:
    """From the page to the run's matrix."""
    relative = os.path.relpath(to / run.name / files.MATRIX, page.parent)
    return quote(Path(relative).as_posix())
