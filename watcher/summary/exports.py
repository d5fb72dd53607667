"""Files of what was read of clusters: saved, and read again offline, on another machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from watcher.errors import FileError
from watcher.summary.reading import read, strictly, words_of
from watcher.totals import Export

MOST_OCTETS = 256 << 20


def text_of(exports: Iterable[Export]) -> str:
    """One cluster is an object, several are a list of them."""
    values = [export.model_dump(mode="json", exclude_defaults=True) for export in exports]
    # A default, but the first thing that a reader of another version looks for.
    values = [{"export_version": 1} | value for value in values]
    return json.dumps(values[0] if len(values) == 1 else values, indent=1, ensure_ascii=False) + "\n"


def load(file: Path, column: str | None = None) -> tuple[Export, ...]:
    """The clusters of an export, or the one of what ``kubectl get configmaps -o json`` printed.

    ``column`` names the cluster, where there is one; for kubectl's list the file's name does. Raises FileError.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_OCTETS + 1)
    except OSError as error:
        raise FileError(str(file), None, f"cannot be read: {error.strerror}") from error
    if len(content) > MOST_OCTETS:
        raise FileError(str(file), None, f"is larger than {MOST_OCTETS >> 20} MiB")
    try:
        found = strictly(content.decode())
    except ValueError as error:
        raise FileError(
            str(file), None, f"is not JSON: {error}", advice="`watcher summarize --export` makes one"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("items"), list):
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
        return (read(column or file.stem, found["items"], changed),)
    values = found if isinstance(found, list) else [found]
    if column is not None and len(values) > 1:
        raise FileError(str(file), None, f"holds {len(values)} clusters: they cannot all be {column!r}")
    return tuple(_export(file, value, column) for value in values)


def _export(file: Path, value: Any, column: str | None) -> Export:
    try:
        export = Export.model_validate(value)
    except ValidationError as error:
        advice = "`watcher summarize --export` makes one; `kubectl get configmaps -o json` will do as well"
        raise FileError(str(file), None, f"is no export: {words_of(error)}", advice=advice) from error
    return export if column is None else export.model_copy(update={"cluster": column[:200]})
