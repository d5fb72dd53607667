"""What a kind of environment works with: the client's folder, a place to fill, and tools whose words are kept."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from watcher.errors import WatcherError
from watcher.toolchains.command import run

CACHE_VARIABLE = "WATCHER_CACHE"
SHOWN_LINES = 15
"""Of a failed build's log."""
# Left behind by the tools, and by people who tried them in the folder.
_NOT_SOURCES = ("target", "node_modules", "__pycache__")
_NOT_BUILT_FROM = ("client.toml", "README.md")


@dataclass(frozen=True)
class Project:
    """A client's folder as a build sees it."""

    folder: Path
    lock: str
    """Relative to the folder."""
    cache: Path
    """The folder for all that is kept between builds."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Of the stacks that will run in the environment, as the manifest has them."""

    @property
    def lock_folder(self) -> str:
        """Where the lock lies, and beside it what the tool knows the project by (go.mod, pom.xml); relative."""
        return str(Path(self.lock).parent)

    def sources(self) -> tuple[Path, ...]:
        """Every file that a build may read, in a fixed order."""
        found = []
        for at, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if name not in _NOT_SOURCES and not name.startswith("."))
            found += [Path(at) / name for name in sorted(files) if not name.startswith(".")]
        return tuple(file for file in found if str(file.relative_to(self.folder)) not in _NOT_BUILT_FROM)


class Work:
    """One build under way. ``place`` is what becomes the environment; ``scratch`` goes away."""

    def __init__(
        self, project: Project, place: Path, scratch: Path, log: Path, lines: TextIO, on_line: Callable[[str], None]
    ) -> None:
        self.place = place
        self.scratch = scratch
        self._project = project
        self._log = log
        self._lines = lines
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=SHOWN_LINES)

    def say(self, line: str) -> None:
        """Into the log, and to whoever shows it."""
        self._lines.write(f"{line}\n")
        self._lines.flush()
        self._last.append(line)
        self._on_line(line)

    def copy(self, files: Iterable[Path], to: Path) -> Path:
        """The project's files, as they lie in its folder. Returns ``to``."""
        for file in files:
            there = to / file.relative_to(self._project.folder)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, there)
        return to

    def copy_file(self, file: Path, to: Path) -> None:
        """Raises WatcherError where it is not there."""
        try:
            shutil.copyfile(file, to)
        except FileNotFoundError as error:
            raise self.failure(f"there is no {file.name} beside {self._project.lock}", f"write {file}") from error

    def run(self, command: list[str], folder: Path, environment: Mapping[str, str], *, hint: str) -> None:
        """Raises WatcherError with what the tool said last, and the hint."""
        status = run(command, folder, environment, self.say)
        if status != 0:
            what = " ".join([Path(command[0]).name, *command[1:2]])
            raise self.failure(f"{what} ended with status {status}", hint)

    def failure(self, problem: str, hint: str) -> WatcherError:
        said = [f"| {line}" for line in self._last if line.strip()]
        return WatcherError(
            f"the environment of {self._project.folder.name} could not be built: {problem}",
            advice="\n".join([*said, f"its log: {self._log}", f"{hint}; then `watcher build` tries again"]),
        )
