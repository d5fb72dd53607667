"""One program: never hot, never silent, and its output bounded."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from watcher.programs.process import OUTPUT
from watcher.records import Entry, Program
from watcher.soak.child import (
    FIRST_PAUSE_SECONDS,
    HEALTHY_SECONDS,
    KEPT_BYTES,
    LONGEST_PAUSE_SECONDS,
    MOST_COMPLAINTS,
    Backoff,
    Child,
    Start,
)
from watcher.updater import Watcher


def test_a_crash_loop_is_never_hot_and_a_healthy_life_forgives() -> None:
    """A program that fails at once takes the node down with it; one that a path kills every 4 minutes is kept away."""
    backoff = Backoff()
    pauses = [backoff.after(0.1) for _ in range(12)]
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE_SECONDS
    assert [backoff.after(HEALTHY_SECONDS) for _ in range(3)] == [1, 1, 1]


def never(_records: list[Program], _child: Child) -> bool:
    """``run`` must return by itself."""
    return False


async def play(tmp_path: Path, code: str, until: Callable[[list[Program], Child], bool]) -> tuple[list[Program], Child]:
    """Its records up to its end, or to the moment when ``until`` came true."""
    records: list[Entry] = []

    def programs() -> list[Program]:
        return [record for record in records if isinstance(record, Program)]

    start = Start((sys.executable, "-c", code), {"PATH": os.environ["PATH"]}, tmp_path)
    watcher = Watcher("a/default", "a", "default")
    child = Child(watcher, start, records.append, lambda *_a, **_k: None, now=time.monotonic)
    running = asyncio.create_task(child.run())
    async with asyncio.timeout(60):
        while not running.done() and not until(programs(), child):  # noqa: ASYNC110 - the records are the only sign
            await asyncio.sleep(0.01)
        await child.stop()
        while child.pid is not None:  # noqa: ASYNC110 - what it printed last is read to its end
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return programs(), child


async def test_not_supported_is_started_once(tmp_path: Path) -> None:
    """127 in a loop for weeks."""
    records, child = await play(tmp_path, "import sys; sys.exit(127)", never)
    assert [record.event for record in records] == ["spawned", "exited"]
    assert not child.supported


async def test_a_program_that_ends_is_started_again(tmp_path: Path) -> None:
    """Died once at night, and silent since."""

    def twice(records: list[Program], _child: Child) -> bool:
        return sum(record.event == "exited" for record in records) == 2

    records, _ = await play(tmp_path, "import sys; sys.exit(3)", twice)
    assert [record.status for record in records if record.event == "exited"] == [3, 3]
    _, ended, again, _ = records
    assert (ended.event, again.event) == ("exited", "spawned")
    assert again.t - ended.t >= FIRST_PAUSE_SECONDS


async def test_a_flood_is_bounded(tmp_path: Path) -> None:
    """A library that retries without a pause fills memory and disk."""
    code = 'while True: print(\'{"event": "error", "message": "\' + \'x\' * 9000 + \'"}\', flush=True)'

    def flooded(_records: list[Program], child: Child) -> bool:
        return child._complaints.dropped > MOST_COMPLAINTS

    records, _ = await play(tmp_path, code, flooded)
    errors = [record for record in records if record.event == "error"]
    assert len(errors) == MOST_COMPLAINTS
    assert all(len(record.message or "") <= 500 for record in errors)
    assert (tmp_path / OUTPUT).stat().st_size == KEPT_BYTES
