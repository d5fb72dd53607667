"""A server of ``watcher serve``, as a process in a namespace of the lab; a Unix socket brings it nonces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from watcher.errors import LabFailure
from watcher.lab.namespace import Namespace

READY_SECONDS = 30.0
"""Real time; a start is a second of a core, and all of a stage's may start at once."""
ANSWER_SECONDS = 5.0
STOP_SECONDS = 2.0
_PAUSE_SECONDS = 0.05


class Served:
    """It runs. ``log`` has a line for each connection's end, with its reason."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, control: Path, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._control = control

    @classmethod
    @asynccontextmanager
    async def start(
        cls, name: str, arguments: Sequence[str], *, namespace: Namespace, folder: Path, scratch: Path
    ) -> AsyncIterator[Served]:
        """Ready when entered, gone when left. ``arguments`` are those of ``watcher serve``.

        Its log lies in ``folder``, its socket in ``scratch``. Raises LabFailure, naming the
        log, when it does not get ready.
        """
        control, log = scratch / f"{name}.socket", folder / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                "nsenter",
                f"--net={namespace.path}",
                "--",
                *(sys.executable, "-m", "watcher", "serve", *arguments, "--json", "--control", str(control)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        served = cls(name, process, control, log)
        try:
            await served._ready()
            yield served
        finally:
            await served.stop()

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def give(self, client: str, nonce: str) -> int:
        """The nonce is this client's from now on; returns its number. Raises OSError where it
        is not taken."""
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(self._control)
            try:
                writer.write(json.dumps({"client": client, "nonce": nonce}).encode() + b"\n")
                answer = json.loads(await reader.readline() or b'{"error": "no answer"}')
            finally:
                writer.close()
        if "number" not in answer:
            raise ConnectionError(f"{self.name} does not take a nonce: {answer.get('error')}")
        return int(answer["number"])

    def signal(self, number: signal.Signals) -> None:
        """Does nothing when it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def gone(self) -> None:
        """Waits until it has ended."""
        await self._process.wait()

    async def stop(self) -> None:
        """Ends it, tidily if that is quick."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self._process.wait()

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._answers():
                    if not self.running:
                        raise LabFailure(
                            f"{self.name} ended at its start (status {self._process.returncode})",
                            advice=f"its log: {self.log}",
                        )
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError as error:
            raise LabFailure(
                f"{self.name} was not ready after {READY_SECONDS:g} s", advice=f"its log: {self.log}"
            ) from error

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._control)
        except OSError:  # not there yet; if it never comes, its end or the time limit says so
            return False
        writer.close()
        return True
