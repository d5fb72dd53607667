"""Small documents that must not be lost before somebody else has them: one file each, in memory where the disk fails.

A file is there whole or not at all, also after power was cut: written beside, synced, renamed, the folder synced.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

MOST_HELD = 256
"""In memory, while the disk takes nothing."""
MOST_OCTETS = 1 << 20
_SUFFIX = ".json"
_BEGUN = ".begun"
_PROBE = "probe"


class Pending:
    """Documents by key, a key being a file name without its end; the keys sort by age. For one process at a time."""

    def __init__(self, folder: Path, most: int) -> None:
        """Takes up what an earlier process has left in ``folder``. Never raises: see ``problem``."""
        self._folder = folder
        self._most = most
        self._on_disk: set[str] = set()
        self._held: dict[str, str] = {}
        self.dropped = 0
        """Documents that there was no room for."""
        self.problem: str | None = None
        """Why the disk takes nothing, in words; None when it does."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in folder.iterdir():
                if file.name.endswith(_BEGUN) or file.name == f"{_PROBE}{_SUFFIX}":
                    file.unlink()
                elif file.name.endswith(_SUFFIX):
                    self._on_disk.add(file.name.removesuffix(_SUFFIX))
        except OSError as error:
            self._failed(error)

    def __len__(self) -> int:
        return len(self._on_disk) + len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._on_disk or key in self._held

    def __iter__(self) -> Iterator[str]:
        """Oldest first; what is put or removed meanwhile does no harm."""
        return iter(sorted({*self._on_disk, *self._held}))

    def put(self, key: str, text: str) -> None:
        """Returns when it is on disk, or held in memory where it cannot be. A key that is there keeps its document."""
        if key in self:
            return
        while len(self) >= self._most:
            self._drop(min((*self._on_disk, *self._held)))
        if not self._write(key, text):
            while len(self._held) >= MOST_HELD:
                self._drop(min(self._held))
            self._held[key] = text

    def get(self, key: str) -> str | None:
        """None where it is not there, or cannot be read any more."""
        if key in self._held:
            return self._held[key]
        if key not in self._on_disk:
            return None
        try:
            with (self._folder / f"{key}{_SUFFIX}").open(encoding="utf-8") as file:
                text = file.read(MOST_OCTETS + 1)
        except (OSError, UnicodeDecodeError):
            return None
        return text if len(text) <= MOST_OCTETS else None

    def remove(self, key: str) -> None:
        """A file that cannot be removed comes again with the next process, which then finds it done."""
        self._held.pop(key, None)
        if key in self._on_disk:
            self._on_disk.discard(key)
            try:
                (self._folder / f"{key}{_SUFFIX}").unlink(missing_ok=True)
            except OSError as error:
                self._failed(error)

    def set_aside(self, key: str) -> None:
        """What cannot be read is kept for a person, and is not looked at again."""
        self._held.pop(key, None)
        if key in self._on_disk:
            self._on_disk.discard(key)
            try:
                (self._folder / f"{key}{_SUFFIX}").rename(self._folder / f"{key}.unreadable")
            except OSError as error:
                self._failed(error)

    def settle(self) -> None:
        """Tries the disk again, with what is held in memory or with nothing."""
        if self.problem is not None and not self._held:
            self._write(_PROBE, "")
            self.remove(_PROBE)
        for key, text in list(self._held.items()):
            if not self._write(key, text):
                return
            del self._held[key]

    def _drop(self, key: str) -> None:
        self.remove(key)
        self.dropped += 1

    def _write(self, key: str, text: str) -> bool:
        begun = self._folder / f"{key}{_BEGUN}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with begun.open("w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            begun.rename(self._folder / f"{key}{_SUFFIX}")
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            self._failed(error)
            with contextlib.suppress(OSError):  # half a file takes room from what is written next
                begun.unlink(missing_ok=True)
            return False
        self._on_disk.add(key)
        self.problem = None
        return True

    def _failed(self, error: OSError) -> None:
        self.problem = f"{self._folder}: {error.strerror or error}"
