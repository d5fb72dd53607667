"""One process of the real control plane: started in a namespace, its log kept, its end noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

from watcher.errors import ControlPlaneFailure
from watcher.lab import sockets
from watcher.lab.namespace import Namespace

STOP_SECONDS = 2.0
"""How long a component may take to end tidily. With the lab ends all that it knows, so nothing is worth more."""
_ENVIRONMENT = ("PATH", "TMPDIR", "PYTHONPATH")
"""All that a component gets of ours: a proxy or a Go setting of the user's must not reach it."""
_TOLD_LINES = 3
_TOLD_CHARACTERS = 400


class Component:
    """A running process; ``name`` is what users read, ``log`` where it says what it does."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        log: Path,
        begin: int,
        spawn: Callable[[], Awaitable[tuple[asyncio.subprocess.Process, int]]] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._begin = begin
        """Where in the log it began: before it stands what an earlier start said."""
        self._spawn = spawn

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], *, namespace: Namespace, log: Path, folder: Path
    ) -> Component:
        """Starts ``arguments`` in ``namespace``, working in ``folder``; returns at once, ready or not."""

        async def spawn() -> tuple[asyncio.subprocess.Process, int]:
            with log.open("ab") as output:
                begin = output.tell()
                process = await asyncio.create_subprocess_exec(
                    "nsenter",
                    f"--net={namespace.path}",
                    "--",
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
                    start_new_session=True,
                )
            return process, begin

        process, begin = await spawn()
        return cls(name, process, log, begin, spawn)

    async def restart(self) -> None:
        """Starts it once more after its end, with the same arguments and log; returns at once, ready or not."""
        assert self._spawn is not None
        await self._process.wait()
        self._process, self._begin = await self._spawn()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def memory_mib(self) -> float | None:
        """Largest resident memory so far, in MiB; None when it has ended."""
        return sockets.memory_mib(self.pid)

    async def ended(self) -> NoReturn:
        """Waits until it ends, which it never does of its own accord: then raises ControlPlaneFailure."""
        status = await self._process.wait()
        # Who was killed did not know it: its last words are about something else.
        words = self._last_words() if status > 0 else ""
        raise ControlPlaneFailure(f"{self.name} ended (status {status}){words}", log=str(self.log))

    async def gone(self) -> None:
        """Waits until it has ended, as it was asked to."""
        await self._process.wait()

    async def unless_ended(self, awaited: Coroutine[Any, Any, None]) -> None:
        """Awaits it; raises ControlPlaneFailure where the component ends first."""
        waiting, ended = asyncio.create_task(awaited), asyncio.create_task(self.ended())
        try:
            await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            await (ended if ended.done() else waiting)
        finally:
            for task in (waiting, ended):
                task.cancel()
            await asyncio.gather(waiting, ended, return_exceptions=True)

    def signal(self, number: int) -> None:
        """A fault for tests and rehearsals: SIGSTOP and SIGCONT, SIGKILL. Does nothing when it has ended."""
        # Not by Popen, which reaps a child that has just ended before its end is noticed here.
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self) -> None:
        """Ends it, tidily if that is quick. Does nothing when it has ended."""
        self.signal(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _last_words(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(self._begin, file.seek(0, os.SEEK_END) - 16384))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return "".join(f"\n    {line[:_TOLD_CHARACTERS]}" for line in lines[-_TOLD_LINES:])
