"""What the user asked of ``watcher run``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watcher.model import Verdict


@dataclass(frozen=True)
class RunOptions:
    """``None`` for a list of names means all there are."""

    stacks: str | None = None
    profiles: str | None = None
    scenarios: str | None = None
    cells: str | None = None
    """Globs of ``stack/profile/scenario``, with commas."""
    scale: float = 1.0
    repeat: int = 1
    tie_break: bool = False
    """Run cells whose repeats disagree once more."""
    jobs: int | None = None
    control_plane: str = "auto"
    fail_on: tuple[Verdict, ...] = ()
    output: Path | None = None
    resume: bool = False
