"""A client program as a process: spawn it in a network namespace, read its lines, stop it, keep all it printed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

OUTPUT = "program.jsonl"
ERRORS = "stderr.log"
MOST_OUTPUT_BYTES = 16 << 20
"""Of each of a program's outputs, kept; what comes after is read and thrown away, so that it never blocks."""
STOP_SECONDS = 3.0
_CHUNK = 1 << 16
_SEE_HOSTS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh")
"""Before a file and a program: mounts the one over the machine's hosts, for the other alone."""


@dataclass(frozen=True)
class Command:
    """What to start and where. ``namespace`` is a path such as ``/run/netns/x``; None stays where the harness is."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    namespace: Path | None = None
    hosts: Path | None = None
    """What it reads as ``/etc/hosts``; None is the machine's."""
    kept_bytes: int = MOST_OUTPUT_BYTES
    must_keep: bool = True
    """Whether a disk that does not take the output is an error; else it is lost and the program goes on."""


class Lines:
    """Cuts a stream into lines, none longer than ``limit``. Pure."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, chunk: bytes) -> tuple[list[bytes], bool]:
        """The lines that are complete now, and whether a line has grown over the limit (nothing more is given then)."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for index, line in enumerate(lines):
            if len(line) > self._limit:
                self._rest = b""
                return lines[:index], True
        if len(self._rest) > self._limit:
            self._rest = b""
            return lines, True
        return lines, False

    def rest(self) -> bytes:
        """What came after the last newline."""
        return self._rest


class _Kept:
    """A file that takes the first ``kept_bytes`` of a stream."""

    def __init__(self, path: Path, command: Command) -> None:
        self._left = command.kept_bytes
        self._must_keep = command.must_keep
        self._file: FileIO | None = None
        try:
            self._file = path.open("wb", buffering=0)
        except OSError:
            if self._must_keep:
                raise

    def write(self, chunk: bytes) -> None:
        if self._file is None or self._left <= 0:
            return
        try:
            self._file.write(chunk[: self._left])
        except OSError:
            if self._must_keep:
                raise
            self._left = 0
        self._left -= len(chunk)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Process:
    """A running program. ``on_line`` gets each line as it arrives, ``on_overlong`` hears once of one over the limit."""

    def __init__(self, process: asyncio.subprocess.Process, command: Command, lines: Lines) -> None:
        self._process = process
        self._lines = lines
        self._output = _Kept(command.folder / OUTPUT, command)
        self._errors = _Kept(command.folder / ERRORS, command)
        self.stopped_by_harness = False

    @classmethod
    async def spawn(cls, command: Command, *, limit: int) -> Process:
        """Raises OSError when the program cannot be started."""
        try:
            command.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            if command.must_keep:
                raise
        enter = ["nsenter", f"--net={command.namespace}", "--"] if command.namespace else []
        # Each step becomes the next one: the process that is started is the program's in the end.
        see_hosts = [*_SEE_HOSTS, str(command.hosts)] if command.hosts else []
        process = await asyncio.create_subprocess_exec(
            *enter,
            *see_hosts,
            *command.arguments,
            env=dict(command.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process, command, Lines(limit))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self, on_line: Callable[[bytes], None], on_overlong: Callable[[], Awaitable[None]]) -> int:
        """Reads until the program closes its outputs, then reaps it. Returns its status; negative is a signal."""
        assert self._process.stdout is not None
        errors = asyncio.create_task(self._read_errors())
        overlong = False
        while chunk := await self._process.stdout.read(_CHUNK):
            self._output.write(chunk)
            if overlong:
                continue
            lines, overlong = self._lines.feed(chunk)
            for line in lines:
                on_line(line)
            if overlong:
                await on_overlong()
        if not overlong and self._lines.rest():
            on_line(self._lines.rest())
        self._output.close()
        await errors
        return await self._process.wait()

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(_CHUNK):
            self._errors.write(chunk)
        self._errors.close()

    async def stop(self) -> None:
        """SIGTERM to the program and its children, SIGKILL to those that are left after ``STOP_SECONDS``."""
        if self._process.returncode is None:
            self.stopped_by_harness = True
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                pass
        self.kill()

    def terminate(self) -> None:
        """SIGTERM to all of the program's session, and no more."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all that is left of the program's session."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
