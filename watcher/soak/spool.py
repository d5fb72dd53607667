"""The soak's journal on disk: numbered records, kept until a checkpoint stands for them.

Kept: that after a SIGKILL at any moment the records up to some number are there, in order and without a gap, and that
what was ``commit``ted is among them. A record is one line, ``<number> <json>``; a line cut short is the end.

A disk that is full, or gone, stops nothing: records then live in memory only, ``problem`` says so, and each commit
writes a checkpoint instead, which has its room on disk since the start (``watcher.soak.slots``).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from watcher.errors import UsageError
from watcher.records import RECORD, Entry, Record
from watcher.soak.slots import Slots

SEGMENT_BYTES = 1 << 20
"""A checkpoint is due when the journal is longer."""
MOST_BUFFERED_BYTES = 4 << 20
"""Of records that the disk has not taken yet; then they are given up, and the next checkpoint stands for them."""
RETRY_SECONDS = 10.0
"""How often a disk that failed is tried again."""

T = TypeVar("T")
Run = Callable[[Callable[[], T]], Awaitable[T]]
_SEGMENT = re.compile(r"journal-(\d{16})\.jsonl")


class Spool:
    """One process at a time has a folder. Not thread-safe: belongs to one event loop; the disk is used in threads."""

    def __init__(
        self,
        folder: Path,
        *,
        state: Callable[[], bytes],
        now: Callable[[], float],
        run: Run[None] = asyncio.to_thread,
    ) -> None:
        """``state`` gives what a checkpoint has to hold, such that no record before it is needed any more.

        ``run`` runs what blocks: in a thread, or where a test has no use for threads, at once. Raises UsageError where
        another process has the folder, or where there cannot be one.
        """
        self._folder = folder
        self._state = state
        self._now = now
        self._run = run
        self._slots = Slots(folder)
        self.number = 0
        """Of the last record."""
        self.problem: str | None = None
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._descriptor: int | None = None
        self._written = 0
        self._gap = True
        """Records were given up: nothing may be appended to the journal before a checkpoint."""
        self._tried_at = 0.0
        self._turn = asyncio.Lock()
        self._lock = _take(folder)

    def recover(self) -> tuple[bytes | None, Iterator[Record]]:
        """The newest checkpoint, and the records after it. To be read to its end before anything is appended."""
        try:
            self._slots.prepare()
        except OSError as error:
            self._failed(error)
        newest = self._slots.newest()
        self.number = newest[0] if newest is not None else 0
        return (newest[1] if newest is not None else None), self._after()

    def append(self, record: Entry) -> None:
        """Never blocks, never raises. On disk after ``commit``."""
        self.number += 1
        if self._gap:
            return
        line = b"%d %s\n" % (self.number, record.model_dump_json(exclude_none=True).encode())
        self._buffer.append(line)
        self._buffered += len(line)
        if self._buffered > MOST_BUFFERED_BYTES:
            self._give_up()

    async def flush(self) -> None:
        """What was appended is with the kernel: a SIGKILL cannot take it back, a power cut can."""
        await self._write(sync=False)

    async def commit(self) -> None:
        """All appended so far is on disk, as records or in a checkpoint, or ``problem`` says why not."""
        await self._write(sync=True)

    async def checkpoint(self) -> bool:
        """The state is on disk and older records are not needed. False where the disk did not take it."""
        async with self._turn:
            return await self._checkpoint()

    async def close(self) -> None:
        await self.checkpoint()
        self._end_segment()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _write(self, *, sync: bool) -> None:
        async with self._turn:
            if self._gap:
                if sync or self._now() - self._tried_at > RETRY_SECONDS:
                    await self._checkpoint()
                return
            lines, self._buffer, self._buffered = self._buffer, [], 0
            if not lines and not sync:
                return
            try:
                await self._run(lambda: self._append(b"".join(lines), sync=sync))
            except OSError as error:
                self._failed(error)
                self._give_up()
                await self._checkpoint()
                return
            if self._written > SEGMENT_BYTES:
                await self._checkpoint()

    async def _checkpoint(self) -> bool:
        """With the turn taken. The journal begins anew behind it, if the disk lets it."""
        number, content = self.number, self._state()
        # What is appended from here on goes behind the checkpoint.
        self._buffer, self._buffered, self._gap = [], 0, False
        self._tried_at = self._now()
        done = False
        try:
            await self._run(lambda: self._slots.write(number, content))
            done = True
            await self._run(lambda: self._begin_segment(number))
        except OSError as error:
            self._failed(error)
            self._give_up()
            return done
        if not self._gap:
            self.problem = None
        return True

    def _append(self, data: bytes, *, sync: bool) -> None:
        if self._descriptor is None:
            self._open_segment(self.number)
        assert self._descriptor is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._written += len(data)
        if sync:
            os.fdatasync(self._descriptor)

    def _open_segment(self, number: int) -> None:
        path = self._folder / f"journal-{number:016d}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written = 0

    def _begin_segment(self, number: int) -> None:
        """Records up to ``number`` are in the checkpoint. Proves that the disk takes records again."""
        self._end_segment()
        for path in self._segments():
            path.unlink(missing_ok=True)
        self._open_segment(number)
        assert self._descriptor is not None
        os.write(self._descriptor, b" " * 4096)
        os.ftruncate(self._descriptor, 0)

    def _end_segment(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _give_up(self) -> None:
        self._gap = True
        self._buffer, self._buffered = [], 0
        self.problem = self.problem or f"the spool {self._folder} takes no more records"

    def _failed(self, error: OSError) -> None:
        self.problem = f"the spool {self._folder} cannot be written: {error.strerror or error}"

    def _segments(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if _SEGMENT.fullmatch(path.name))
        except OSError:
            return []

    def _after(self) -> Iterator[Record]:
        """Ends at the first line that is cut short, damaged, or not the next one."""
        for path in self._segments():
            with path.open("rb") as file:
                for line in file:
                    number, _, text = line.partition(b" ")
                    if not line.endswith(b"\n") or not number.isdigit():
                        return
                    if int(number) <= self.number:
                        continue
                    if int(number) != self.number + 1:
                        return
                    try:
                        record = RECORD.validate_json(text)
                    except ValidationError:
                        return
                    self.number = int(number)
                    yield record


def _take(folder: Path) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"the spool {folder} cannot be used: {error.strerror}",
            advice="WATCHER_SPOOL names a folder that can be written to, in a pod an emptyDir",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(
            f"another soak is using the spool {folder}", advice="end it first, or give this one its own WATCHER_SPOOL"
        ) from error
    return descriptor
