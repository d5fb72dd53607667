"""The soak as a pod has it: behind the path, first process of its own, with a service account's files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import LabFailure
from watcher.lab import sockets
from watcher.lab.namespace import Namespace

GRACE_SECONDS = 30.0
"""Between SIGTERM and SIGKILL, as a pod has it unless it says otherwise."""
LAST_WORDS_OCTETS = 2000
_BEGIN_SECONDS = 60.0
"""For what takes milliseconds where the machine is not busy."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What a process has used so far."""

    memory_mib: float
    """Largest resident memory."""
    cpu_seconds: float


class Pod:
    """A running process with a PID namespace of its own: when it ends, all that it started ends, as in a container."""

    def __init__(self, process: asyncio.subprocess.Process, pid: int, log: Path) -> None:
        self._process = process
        self.pid = pid
        """Of the process itself, seen from the sandbox."""
        self.log = log

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        network: Namespace,
        folder: Path,
        log: Path,
        output: Path | None = None,
    ) -> Pod:
        """What it prints goes to ``log``; what of that is its standard output to ``output``, where there is one.

        Raises LabFailure where it does not come to begin. One that has ended at once has an end like any other."""
        with log.open("ab") as errors, (output or log).open("ab") as lines:
            process = await asyncio.create_subprocess_exec(
                "nsenter",
                f"--net={network.path}",
                "--",
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=lines,
                stderr=errors,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                while (pid := _child(process.pid)) is None and process.returncode is None:  # noqa: ASYNC110 - a process appears, nothing tells of it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise LabFailure("a program did not begin", advice=f"its log: {log}") from None
        return cls(process, pid or process.pid, log)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        """Waits for its end; negative is the signal that ended it. (``unshare`` turns SIGKILL into status 1.)"""
        return await self._process.wait()

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> int:
        """SIGTERM, and SIGKILL when the grace is over, as the kubelet does it. Returns its status."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                return await self.ended()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, of which nobody is told before."""
        if not self.running:
            return await self.ended()
        self.signal(signal.SIGKILL)
        await self.ended()
        return -signal.SIGKILL

    def signal(self, number: int) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def use(self) -> Use | None:
        """Of the process itself, not of its children; None when it has ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            columns = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
        return Use(int(peak) / 1024, (int(columns[11]) + int(columns[12])) / _TICKS)

    def memory_mib(self) -> float | None:
        """Largest resident memory of it and all that it started, added up."""
        return sockets.memory_mib(self.pid)

    def last_words(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_WORDS_OCTETS))
            return file.read().decode(errors="replace").strip()


def _child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
