"""``journal.jsonl``: append-only, one record a line. What happened is saved here before anyone judges it."""

from __future__ import annotations

import fcntl
import gzip
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from watcher.errors import UsageError
from watcher.records import RECORD, Closed, Entry, Planned, Record, RunStarted

NAME = "journal.jsonl"


class Journal:
    """Appends records. A line is complete on disk or, after a crash, cut short and ignored by ``read``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file = self._path.open("ab", buffering=0)
        try:
            # The kernel gives it back however the process ends.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UsageError(
                f"the run in {folder} is still going on in another process", advice="wait for it, or end it first"
            ) from error
        _drop_partial_line(self._path)
        self.length = 0

    def append_line(self, line: bytes) -> None:
        """Appends a record that is JSON already, without its newline."""
        self._file.write(line + b"\n")
        self.length += 1

    def append(self, record: Entry) -> None:
        self.append_line(record.model_dump_json(exclude_none=True).encode())

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find(run: Path) -> Path:
    """The journal of a run's folder (or the file itself), plain or compressed. Raises UsageError if there is none."""
    candidates = [run] if run.is_file() else [run / NAME, run / f"{NAME}.gz"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UsageError(f"{run} holds no {NAME}", advice="give the folder that `watcher run` wrote (its --output)")


def read(run: Path) -> Iterator[Record]:
    """The records in order. A last line cut short by a crash is left out; any other bad line is a UsageError."""
    path = find(run)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield RECORD.validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise UsageError(
                    f"{path}:{number}: not a record of this version: {where}: {first['msg']}",
                    advice="the journal was damaged, or written by another version of watcher",
                ) from error


def started(records: Iterable[Record]) -> RunStarted | None:
    """The run's first record, if it got that far."""
    return next((record for record in records if isinstance(record, RunStarted)), None)


def unfinished(records: Iterable[Record]) -> list[Planned]:
    """The planned cells that were neither closed nor to be skipped, in order: what a resumed run still has to do."""
    planned: dict[str, Planned] = {}
    for record in records:
        if isinstance(record, Planned):
            planned[str(record.plan.id)] = record
        elif isinstance(record, Closed) and record.cell is not None:
            planned.pop(record.cell, None)
    return [record for record in planned.values() if record.plan.skip is None]


def _drop_partial_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        step = 65_536
        end = size
        while end > 0:
            start = max(0, end - step)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
