"""Admission of starts, in virtual time."""

from __future__ import annotations

import asyncio
import time

from watcher.runner import gate
from watcher.runner.gate import Gate


async def test_only_so_many_start_at_once() -> None:
    """More starts than cores at once slow each other and every touch near them."""
    admitted, most = 0, 0

    async def one(door: Gate) -> None:
        nonlocal admitted, most
        async with door.start():
            admitted += 1
            most = max(most, admitted)
            await asyncio.sleep(0.01)
            admitted -= 1

    door = Gate(2)
    await asyncio.gather(*(one(door) for _ in range(10)))
    assert most == 2


async def test_no_start_while_a_touch_is_near(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A program's imports beside a touch could make an ok cell late."""
    monkeypatch.setattr(gate, "HOLD_BEFORE_SECONDS", 0.2)
    monkeypatch.setattr(gate, "HOLD_AFTER_SECONDS", 0.2)
    door = Gate(1)
    due = time.monotonic() + 0.1
    with door.touch_at(due):
        async with door.start():
            assert time.monotonic() >= due + 0.2
    async with door.start():
        assert time.monotonic() < due + 60


async def test_a_start_is_not_held_back_for_ever(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Touches of many cells may follow each other without a gap; the run must still go on."""
    monkeypatch.setattr(gate, "MOST_HOLD_SECONDS", 0.3)
    door = Gate(1)
    began = time.monotonic()
    with door.touch_at(began), door.touch_at(began + 1), door.touch_at(began + 3600):
        async with door.start():
            assert 0.25 <= time.monotonic() - began < 60
