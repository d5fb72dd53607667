"""Errors that reach the user: each says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WatcherError(Exception):
    """Base. ``exit_code`` is what the command line ends with; ``advice`` is the next step."""

    exit_code = 3

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return self.message if self.advice is None else f"{self.message}\n  {self.advice}"


class UsageError(WatcherError):
    """The command, a file or a name that the user gave is wrong."""

    exit_code = 2


class UnknownName(UsageError):
    """A stack, profile, path, fault or scenario that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        nearest = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        super().__init__(
            f"unknown {kind} {name!r}", advice=f"{hint}`watcher list {kind}s` shows all: {', '.join(known)}"
        )
        self.kind = kind
        self.name = name
        self.nearest = nearest[0] if nearest else None


class FileError(UsageError):
    """A manifest, profile, path or scenario file that cannot be used; ``key`` names the place inside it."""

    def __init__(self, file: str, key: str | None, problem: str, *, advice: str | None = None) -> None:
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}", advice=advice)
        self.file = file
        self.key = key


class ToolMissing(WatcherError):
    """A program that only the user can provide is not on this machine, or too old."""


class LabUnavailable(WatcherError):
    """This machine cannot run the lab, or not as it is set up now."""


class LabFailure(WatcherError):
    """The lab broke while it was running."""


class ControlPlaneFailure(LabFailure):
    """The control plane did not start or ended early; ``log`` is where it says why."""

    def __init__(self, message: str, *, log: str | None = None, advice: str | None = None) -> None:
        super().__init__(message, advice=advice or (f"its log: {log}" if log else None))
        self.log = log
