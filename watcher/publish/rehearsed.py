"""A rehearsal's folder as ``watcher rehearse`` leaves it: read, and held against itself once more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from watcher.errors import FileError, UsageError
from watcher.model import Name
from watcher.rehearsal import audit, reading
from watcher.rehearsal.audit import Updated
from watcher.rehearsal.order import ACCOUNT, NAMESPACE, Touches
from watcher.summary import exports as saved
from watcher.totals import Export

RESULT = "rehearsal.json"
EXPORTS = "exports"
CONFIG_MAPS = reading.CONFIG_MAPS
SOAK_LOG = "soak.log"
AUDIT_LOGS = "control-plane/audit-*.log"


class _Read(BaseModel):
    """What is not asked for may be there: a rehearsal's record has no version, and grows."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Ended(_Read):
    status: int
    audit: Touches | None = None
    disagreements: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Rehearsal(_Read):
    """``rehearsal.json``. Durations are true seconds."""

    started_at: datetime
    control_plane: str
    scale: float = Field(gt=0)
    interval_seconds: float
    deadline_seconds: float
    paths: dict[Name, str]
    environment: dict[str, Any] = Field(default_factory=dict)
    clusters: dict[Name, Ended]


@dataclass(frozen=True)
class Rehearsed:
    folder: Path
    rehearsal: Rehearsal
    exports: Mapping[str, Export]
    """By cluster, in the order in which they were given."""
    updates: Mapping[str, tuple[Updated, ...] | None]
    """Of each cluster's trigger by its soak; None where there is no audit log."""


def is_rehearsal(folder: Path) -> bool:
    """Whether ``watcher rehearse`` made this folder, whatever became of it."""
    return (folder / RESULT).is_file() or any(folder.glob(f"*/{SOAK_LOG}"))


def read(folder: Path) -> Rehearsed:
    """Raises UsageError for one that did not end, FileError for a file that is missing or says nothing."""
    if not (folder / RESULT).is_file():
        raise UsageError(
            f"{folder}: this rehearsal did not end in order: it has no {RESULT}",
            advice="a soak is published from the folder of a rehearsal that went to its end",
        )
    rehearsal = record(folder / RESULT)
    found = {}
    for name in rehearsal.clusters:
        (found[name],) = one(file(folder, f"{EXPORTS}/{name}.json"), name)
    return Rehearsed(
        folder=folder,
        rehearsal=rehearsal,
        exports=found,
        updates={
            name: None if ended.audit is None else tuple(_updates(folder / name))
            for name, ended in rehearsal.clusters.items()
        },
    )


def record(kept: Path) -> Rehearsal:
    """Raises FileError."""
    try:
        rehearsal = Rehearsal.model_validate_json(kept.read_bytes())
    except OSError as error:
        raise FileError(str(kept), None, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise FileError(str(kept), ".".join(map(str, first["loc"])) or None, str(first["msg"])) from error
    if rehearsal.started_at.tzinfo is None:
        raise FileError(str(kept), "started_at", "has no zone")
    if not rehearsal.clusters or rehearsal.clusters.keys() != rehearsal.paths.keys():
        raise FileError(str(kept), "clusters", "are not those of paths")
    return rehearsal


def one(kept: Path, name: str) -> tuple[Export]:
    """The export of one cluster. Raises FileError."""
    found = saved.load(kept)
    if [each.cluster for each in found] != [name]:
        raise FileError(str(kept), None, f"is not the export of {name}")
    return (found[0],)


def file(folder: Path, name: str) -> Path:
    """A file that has to be there. Raises FileError, also for a link: what it leads to was not made here."""
    found = folder / name
    parts = [found, *found.parents][: len(Path(name).parts)]
    if any(part.is_symlink() for part in parts) or not found.is_file():
        raise FileError(str(found), None, "is missing, or not a file")
    return found


def doubts(rehearsed: Rehearsed) -> tuple[str, ...]:
    """Why it cannot be trusted, by its own word and by what its files say of one another today."""
    return tuple(f"{name}: {problem}" for name in rehearsed.exports for problem in _doubts(rehearsed, name))


def _doubts(rehearsed: Rehearsed, name: str) -> Iterator[str]:
    ended, export, updates = rehearsed.rehearsal.clusters[name], rehearsed.exports[name], rehearsed.updates[name]
    yield from ended.problems
    if ended.status != 0 and not ended.problems:
        yield f"the soak ended with status {ended.status}"
    counted = None if updates is None else audit.counted(updates)
    kept = file(rehearsed.folder, f"{name}/{CONFIG_MAPS}")
    left = reading.left(_items(kept))
    yield from dict.fromkeys(
        (*ended.disagreements, *left.problems, *audit.disagreements(left.totals, left.failures, counted))
    )
    if counted is None:
        yield "no audit log stands behind its counts: the control plane was the embedded one"
    elif counted != ended.audit:
        yield "its audit log is not the one that it was held against"
    (whole,) = saved.load(kept, name)
    if (whole.totals, whole.failures, whole.failures_read) != (export.totals, export.failures, export.failures_read):
        yield f"its export is not what {CONFIG_MAPS} holds"
    if not any(watcher.touches for totals in export.totals for watcher in totals.watchers):
        yield "nothing was judged"


def _items(kept: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(kept.read_bytes())["items"])
    except (ValueError, LookupError, TypeError) as error:
        raise FileError(str(kept), None, "is no list of ConfigMaps") from error


def _updates(folder: Path) -> Iterator[Updated]:
    def lines() -> Iterator[str]:
        for log in sorted(folder.glob(AUDIT_LOGS)):
            with file(folder, str(log.relative_to(folder))).open(encoding="utf-8", errors="replace") as opened:
                yield from opened

    return audit.updates(lines(), audit.user_of(NAMESPACE, ACCOUNT), NAMESPACE)
