"""A cell's client program: started in its namespace, its lines journaled, its processes looked at, its end seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from watcher.kernel.processes import family
from watcher.lab import sockets
from watcher.lab.path import Emit
from watcher.programs import contract
from watcher.programs.process import Command, Process
from watcher.records import Moment, ProcessState, Program, Socket

MOST_COMPLAINTS = 1_000
"""Of one program's ``ended`` and ``error`` lines in the journal: some libraries try again without a pause, hundreds of
times a second. The program's own output is kept beside it."""


class Client:
    """One program of one cell. ``observed`` is called with every nonce that it says it has seen."""

    def __init__(self, cell: str, emit: Emit, observed: Callable[[str], None]) -> None:
        self._cell = cell
        self._emit = emit
        self._observed = observed
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._complaints = 0
        self._memory: float | None = None
        self._cpu_seconds: float | None = None
        self.watching = asyncio.Event()
        self.exited = asyncio.Event()
        self.asked = asyncio.Event()
        """Since it was last cleared."""

    async def start(self, command: Command) -> None:
        self._process = await Process.spawn(command, limit=contract.MAX_LINE_BYTES)
        self._emit_now(event="spawned")
        self._reading = asyncio.create_task(self._read(self._process))

    @property
    def alive(self) -> bool:
        return self._process is not None and not self.exited.is_set()

    def pids(self) -> tuple[int, ...]:
        """Of the program and its children, while it lives."""
        return tuple(family(self._process.pid)) if self._process is not None and self.alive else ()

    def sockets(self) -> tuple[Socket, ...]:
        """Blocks: meant for a thread."""
        return sockets.of_process(self._process.pid) if self._process is not None else ()

    async def note_cpu(self) -> None:
        """What it has used by now is told when it exits."""
        if self._process is not None and self.alive:
            self._cpu_seconds = await asyncio.to_thread(sockets.cpu_seconds, self._process.pid)

    async def note_memory(self) -> None:
        if self._process is not None and self.alive:
            self._memory = await asyncio.to_thread(sockets.memory_mib, self._process.pid)

    async def look(self, moment: Moment) -> None:
        """Records what the kernel lets its processes do."""
        if self._process is not None and self.alive:
            states = await asyncio.to_thread(sockets.states, self._process.pid)
            used = await asyncio.to_thread(sockets.cpu_seconds, self._process.pid)
            if states and used is not None:
                state = ProcessState(t=time.monotonic(), cell=self._cell, moment=moment, state=states, cpu_seconds=used)
                self._emit(state)

    async def stop(self) -> None:
        """Ends it, if it has not ended, and returns when its last line is in the journal."""
        if self._process is not None:
            await self._process.stop()
            if self._reading is not None:
                await self._reading

    async def _read(self, process: Process) -> None:
        status = await process.read(self._line, self._overlong)
        self._emit_now(
            event="exited",
            status=status,
            by_harness=process.stopped_by_harness,
            memory_mib=self._memory,
            cpu_seconds=self._cpu_seconds,
        )
        self.exited.set()

    def _line(self, line: bytes) -> None:
        at = time.monotonic()
        try:
            record = contract.record(line, at, self._cell)
        except contract.Violation as violation:
            self._violation(str(violation))
            return
        if record.event in ("ended", "error"):
            self._complaints += 1
            if self._complaints > MOST_COMPLAINTS:
                return
        self._emit(record)
        if record.event == "watching":
            self.watching.set()
        elif record.event == "asked":
            self.asked.set()
        elif record.event == "observed" and record.nonce is not None:
            self._observed(record.nonce)

    async def _overlong(self) -> None:
        self._violation(f"a line of more than {contract.MAX_LINE_BYTES} bytes")

    def _violation(self, message: str) -> None:
        if self._process is not None and self.alive:
            self._emit_now(event="violation", message=message)
            self._process.kill()

    def _emit_now(self, **fields: Any) -> None:
        self._emit(Program(t=time.monotonic(), cell=self._cell, **fields))
