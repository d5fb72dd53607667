"""One run of a program: all that it printed, when, how it ended, and what it left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from watcher.programs import contract
from watcher.programs.process import ERRORS, STOP_SECONDS, Command, Process
from watcher.records import Program

_INHERITED = ("PATH", "LANG", "LC_ALL")
_ERROR_CHARACTERS = 600
_PAUSE_SECONDS = 0.05


class Trial:
    """A program that runs, or has run."""

    def __init__(self, process: Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._changed = asyncio.Event()
        self.records: list[Program] = []
        self.violation: str | None = None
        """The first line that broke the contract."""
        self.status: int | None = None
        """Once it has ended: its exit status, negative for a signal."""
        self.ended_at: float | None = None
        """On the monotonic clock."""

    @classmethod
    @asynccontextmanager
    async def start(
        cls, arguments: Sequence[str], variables: Mapping[str, str], folder: Path, network: Path | None = None
    ) -> AsyncIterator[Trial]:
        """Starts it as the lab does. Nothing of it is left after the block. Raises OSError where it does not start."""
        environment = {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "HOME": str(folder),
            "TMPDIR": str(folder),
            **variables,
        }
        process = await Process.spawn(Command(arguments, environment, folder, network), limit=contract.MAX_LINE_BYTES)
        trial = cls(process, folder)
        reading = asyncio.create_task(trial._read())
        try:
            yield trial
        finally:
            process.kill()
            await reading

    @property
    def pid(self) -> int:
        return self._process.pid

    def events(self, event: str) -> list[Program]:
        return [record for record in self.records if record.event == event]

    def nonces(self) -> set[str | None]:
        return {record.nonce for record in self.events("observed")}

    async def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true in time; at once false when the program has ended or broken the contract before."""
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    if self.status is not None or self.violation is not None:
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def ends(self, seconds: float) -> bool:
        """Whether it ends in time."""
        try:
            async with asyncio.timeout(seconds):
                while self.status is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def terminate(self) -> float | None:
        """SIGTERM to the program, as the lab sends it; how long it and all it started took to end, None when it
        did not."""
        began = time.monotonic()
        self._process.terminate()
        if not await self.ends(STOP_SECONDS):
            return None
        took = time.monotonic() - began
        # Its last child may be on its way out.
        while took < STOP_SECONDS and self.left_behind():
            await asyncio.sleep(_PAUSE_SECONDS)
            took = time.monotonic() - began
        return took

    def left_behind(self) -> list[str]:
        """What is still there of the program's session, by name; only Linux tells."""
        if sys.platform != "linux":
            return []
        found = []
        for folder in Path("/proc").iterdir():
            try:
                # pid (name) state ppid pgrp session …; the name may hold anything.
                head, _, tail = (folder / "stat").read_text().rpartition(")") if folder.name.isdigit() else ("", "", "")
            except OSError:
                continue
            fields = tail.split()
            if fields and fields[0] not in "ZX" and int(fields[3]) == self.pid:
                found.append(head.partition("(")[2])
        return sorted(found)

    def how_it_ended(self) -> str:
        """In words, with the end of what it wrote to standard error."""
        if self.status is None:
            return "it is still running"
        how = f"signal {-self.status}" if self.status < 0 else f"status {self.status}"
        try:
            said = (self._folder / ERRORS).read_text(errors="replace").strip()
        except OSError:
            said = ""
        words = f": …{said[-_ERROR_CHARACTERS:]}" if len(said) > _ERROR_CHARACTERS else f": {said}" if said else ""
        return f"it ended with {how}{words}"

    async def _read(self) -> None:
        async def overlong() -> None:
            self._broken(f"a line of more than {contract.MAX_LINE_BYTES} bytes")

        self.status = await self._process.read(self._line, overlong)
        self.ended_at = time.monotonic()
        self._changed.set()

    def _line(self, line: bytes) -> None:
        if self.violation is not None:
            return
        try:
            record = contract.record(line, time.monotonic(), None)
        except contract.Violation as violation:
            self._broken(str(violation))
            return
        if not self.records and record.event != "started":
            self._broken(f"its first line is {record.event!r}, not 'started'")
            return
        self.records.append(record)
        self._changed.set()

    def _broken(self, how: str) -> None:
        self.violation = self.violation or how
        self._changed.set()
