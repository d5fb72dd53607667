"""The spool: what was committed is there after a SIGKILL, in order, and a full disk stops nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.errors import UsageError
from watcher.records import Beat
from watcher.soak.slots import SLOT_BYTES, Slots
from watcher.soak.spool import SEGMENT_BYTES, Spool

T = TypeVar("T")


async def at_once(work: Callable[[], T]) -> T:
    return work()


class Case:
    """A spool whose state is the list of what it was given."""

    def __init__(self, folder: Path) -> None:
        self.numbers: list[int] = []
        self.time = 0.0
        self.spool = Spool(folder, state=self.state, now=lambda: self.time, run=at_once)
        content, records = self.spool.recover()
        if content is not None:
            self.numbers = [int(part) for part in content.decode().split(",") if part]
        self.numbers += [record.number for record in records if isinstance(record, Beat)]

    def state(self) -> bytes:
        return ",".join(map(str, self.numbers)).encode()

    def append(self, number: int) -> None:
        self.numbers.append(number)
        self.spool.append(Beat(t=float(number), number=number))

    def kill(self) -> None:
        """As the kernel does it: descriptors are closed, nothing else."""
        for descriptor in (self.spool._descriptor, self.spool._lock):
            if descriptor is not None:
                os.close(descriptor)


@given(
    steps=st.lists(st.sampled_from(["append", "flush", "commit", "checkpoint", "kill"]), max_size=40),
    torn=st.integers(0, 60),
)
@settings(deadline=None, max_examples=150)
async def test_a_kill_loses_only_what_was_not_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], torn: int
) -> None:
    """A miss was charged from a record that is gone after the restart, or is counted twice."""
    folder = tmp_path_factory.mktemp("spool")
    case = Case(folder)
    await case.spool.checkpoint()
    safe: list[int] = []
    number = 0
    for step in [*steps, "kill"]:
        match step:
            case "append":
                number += 1
                case.append(number)
            case "kill":
                case.kill()
                journal = sorted(folder.glob("journal-*"))[-1]
                with journal.open("ab") as file:  # a line that the kill has cut short
                    file.write((b'%d {"t":1.0,"kind":"beat","number":7}' % (number + 1))[:torn])
                case = Case(folder)
                assert case.numbers == safe
                await case.spool.checkpoint()
            case _:
                await getattr(case.spool, step)()
                safe = list(case.numbers)
    case.kill()


def disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


async def test_the_folder_stays_small(tmp_path: Path) -> None:
    """Weeks on an emptyDir with a size limit, whose overrun evicts the pod."""
    case = Case(tmp_path)
    await case.spool.checkpoint()
    most = 0
    for number in range(60_000):
        case.append(number)
        del case.numbers[:-10]
        if number % 100 == 0:
            await case.spool.commit()
            most = max(most, disk(tmp_path))
    assert 2 * SLOT_BYTES < most < 2 * SLOT_BYTES + SEGMENT_BYTES + 100_000
    await case.spool.close()


async def test_a_full_disk_stops_nothing_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, the soak goes on, and a SIGKILL then still loses nothing that was committed."""
    case = Case(tmp_path)
    await case.spool.checkpoint()
    case.append(1)
    await case.spool.commit()

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("watcher.soak.spool.os.write", full)
    for number in (2, 3):
        case.append(number)
        await case.spool.commit()
    assert "No space left" in (case.spool.problem or "")
    case.kill()
    case = Case(tmp_path)
    assert case.numbers == [1, 2, 3]

    monkeypatch.undo()
    case.append(4)
    await case.spool.commit()
    assert case.spool.problem is None
    case.kill()
    case = Case(tmp_path)
    assert case.numbers == [1, 2, 3, 4]
    await case.spool.close()


async def test_a_disk_that_is_gone_altogether(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be saved: the soak counts on in memory, bounded, and does not say that it is saved."""
    case = Case(tmp_path)
    await case.spool.checkpoint()

    def broken(*_arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("watcher.soak.spool.os.write", broken)
    monkeypatch.setattr("watcher.soak.slots.os.pwrite", broken)
    for number in range(1000):
        case.append(number)
    await case.spool.commit()
    assert not await case.spool.checkpoint()
    assert "Input/output" in (case.spool.problem or "")
    assert not case.spool._buffer
    monkeypatch.undo()
    assert await case.spool.checkpoint()
    assert case.spool.problem is None
    await case.spool.close()


def test_half_a_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    """A power cut in the middle of a checkpoint, and all counts are lost."""
    pair = Slots(tmp_path)
    pair.prepare()
    assert pair.newest() is None
    pair.write(1, b"one")
    pair.write(2, b"two")
    assert pair.newest() == (2, b"two")
    index = pair.newest_index()
    path = tmp_path / f"checkpoint-{index}"
    with path.open("rb+") as file:
        file.seek(64)  # behind number, length and digest
        file.write(b"T")
    assert pair.newest() == (1, b"one")
    pair.write(3, b"three")
    assert pair.newest() == (3, b"three")
    with pytest.raises(OSError, match="bytes"):
        pair.write(4, bytes(SLOT_BYTES))
    assert pair.newest() == (3, b"three")


def test_two_soaks_never_share_a_spool(tmp_path: Path) -> None:
    """Two supervisors in one journal make one that nobody can read."""
    case = Case(tmp_path)
    with pytest.raises(UsageError, match="another soak"):
        Case(tmp_path)
    case.kill()
    Case(tmp_path).kill()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A read-only root without an emptyDir must be told in words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used") as caught:
        Case(tmp_path / "file" / "spool")
    assert "WATCHER_SPOOL" in (caught.value.advice or "")
