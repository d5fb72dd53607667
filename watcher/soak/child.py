"""One watcher's program, started again whenever it ends: at once the first time, then ever more slowly.

Kept: a program that fails at once is never started in a hot loop, one that cannot do its profile is started once, and
nothing that a program prints, however much or strange, blocks or grows the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watcher.programs import contract
from watcher.programs.process import ERRORS, Command, Process
from watcher.records import Entry, Program
from watcher.updater import Watcher

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
HEALTHY_SECONDS = 60.0
"""A program that lived so long begins again at the first pause. Far below the shortest idle timeout: programs that a
path kills every four minutes must not be kept away from touches by our own back-off."""
MOST_COMPLAINTS = 60
"""Of lines in each minute that are no observations; some libraries try again hundreds of times a second."""
KEPT_BYTES = 256 << 10
"""Of each of a program's outputs, in one life; the life before is kept beside it."""
_TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True)
class Start:
    """What is started for a watcher."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


@dataclass
class Backoff:
    """Pure. ``after`` gives the pause before the next start."""

    healthy_seconds: float = HEALTHY_SECONDS
    next_seconds: float = field(default=FIRST_PAUSE_SECONDS)

    def after(self, lived_seconds: float) -> float:
        if lived_seconds >= self.healthy_seconds:
            self.next_seconds = FIRST_PAUSE_SECONDS
        pause = self.next_seconds
        self.next_seconds = min(LONGEST_PAUSE_SECONDS, 2 * pause)
        return pause


@dataclass
class Complaints:
    """Lets through ``MOST_COMPLAINTS`` in each minute; counts what it held back."""

    since: float = 0.0
    passed: int = 0
    dropped: int = 0

    def admit(self, now: float) -> bool:
        if now - self.since >= 60:
            self.since, self.passed = now, 0
        self.passed += 1
        if self.passed > MOST_COMPLAINTS:
            self.dropped += 1
            return False
        return True


class Child:
    """``run`` until cancelled, then ``stop``. ``say`` gets what is worth a line in the log."""

    def __init__(
        self,
        watcher: Watcher,
        start: Start,
        emit: Callable[[Entry], Any],
        say: Callable[..., None],
        *,
        now: Callable[[], float],
        healthy_seconds: float = HEALTHY_SECONDS,
    ) -> None:
        self.watcher = watcher
        self._start = start
        self._emit = emit
        self._say = say
        self._now = now
        self._backoff = Backoff(healthy_seconds)
        self._complaints = Complaints()
        self._process: Process | None = None
        self._spoke = False
        self._since = 0.0
        self._stopping = False
        self.ready = asyncio.Event()
        """It has said ``watching`` once, or has ended."""
        self.supported = True
        self.state = "not started"
        """In words, for a failure's record."""

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Returns where the stack cannot do the profile; else only by cancellation."""
        while not self._stopping:
            self._since = self._now()
            status = await self._live()
            self.ready.set()
            if status == contract.UNSUPPORTED_STATUS and not self._spoke:
                self.supported = False
                self.state = "not supported"
                self._say("not supported: not started again", watcher=self.watcher.cell)
                return
            if self._stopping:
                return
            lived = self._now() - self._since
            pause = self._backoff.after(lived)
            self.state = f"ended with status {status} after {lived:.0f} s, started again after {pause:g} s"
            self._say("ended", watcher=self.watcher.cell, status=status, lived=round(lived, 1), pause=pause)
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left after a few seconds."""
        self._stopping = True
        if self._process is not None:
            await self._process.stop()

    async def _live(self) -> int | None:
        """One life of the program. None where it could not be started."""
        self._spoke = False
        start = self._start
        with contextlib.suppress(OSError):
            (start.folder / ERRORS).replace(start.folder / f"previous-{ERRORS}")
        command = Command(
            arguments=(sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *start.arguments),
            environment=start.environment,
            folder=start.folder,
            kept_bytes=KEPT_BYTES,
            must_keep=False,
        )
        try:
            process = await Process.spawn(command, limit=contract.MAX_LINE_BYTES)
        except OSError as error:  # no more processes, no more files
            self._tell("error", message=f"cannot be started: {error}"[:500])
            self._tell("exited")
            return None
        self._process = process
        self.state = "running"
        self._tell("spawned")
        try:
            status = await process.read(self._line, self._overlong)
            self._tell("exited", status=status, by_harness=self._stopping)
            return status
        finally:
            process.kill()  # what it started, too
            self._process = None

    def _line(self, line: bytes) -> None:
        now = self._now()
        try:
            record = contract.record(line, now, self.watcher.cell)
        except contract.Violation as violation:
            self._violation(str(violation))
            return
        if record.event != "observed" and not self._complaints.admit(now):
            return
        if record.message is not None and len(record.message) > 500:
            record = record.model_copy(update={"message": record.message[:500]})
        self._spoke |= record.event == "started"
        self._emit(record)
        if record.event == "watching":
            self.ready.set()

    async def _overlong(self) -> None:
        self._violation(f"a line of more than {contract.MAX_LINE_BYTES} bytes")

    def _violation(self, message: str) -> None:
        if self._process is not None:
            self._tell("violation", message=message[:500])
            self._say("protocol violation", watcher=self.watcher.cell, message=message[:200])
            self._process.kill()

    def _tell(self, event: str, **fields: Any) -> None:
        self._emit(Program.model_validate({"t": self._now(), "cell": self.watcher.cell, "event": event, **fields}))
