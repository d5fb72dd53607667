"""When a program may start. A start costs a second or more of a core, and must not turn a verdict by load.

So only as many programs start at once as there are cores, and none while a touch is near.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

HOLD_BEFORE_SECONDS = 0.8
"""About what a start takes."""
HOLD_AFTER_SECONDS = 0.3
"""A healthy watch observes within some 0.05 s, even on a busy machine."""
MOST_HOLD_SECONDS = 1.0
"""A start is never held back for longer: many cells' touches could otherwise follow each other without a gap."""


class Gate:
    """Admits starts. Belongs to one event loop."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._preparing = asyncio.Semaphore(at_once)
        self._touches: set[float] = set()

    @asynccontextmanager
    async def preparation(self) -> AsyncIterator[None]:
        """Holds a slot for making a cell's network: in order, so that the first can start while others are made."""
        async with self._preparing:
            yield

    @contextmanager
    def touch_at(self, due: float) -> Iterator[None]:
        """Announces a touch (monotonic seconds) for as long as it matters."""
        self._touches.add(due)
        try:
            yield
        finally:
            self._touches.discard(due)

    @asynccontextmanager
    async def start(self) -> AsyncIterator[None]:
        """Holds a starting slot, entered when no touch is near."""
        async with self._slots:
            await self._quiet()
            yield

    async def _quiet(self) -> None:
        """Waits from gap to gap until no touch is near, but never for longer than ``MOST_HOLD_SECONDS``."""
        began = now = time.monotonic()
        while (wait := min(self._hold(now), began + MOST_HOLD_SECONDS - now)) > 0:
            await asyncio.sleep(wait)
            now = time.monotonic()

    def _hold(self, now: float) -> float:
        near = [due for due in self._touches if due - HOLD_BEFORE_SECONDS <= now <= due + HOLD_AFTER_SECONDS]
        return max(near) + HOLD_AFTER_SECONDS - now if near else 0.0
