"""Portions on their way into the cluster: one at a time, each kept until it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from watcher.errors import WatcherError
from watcher.soak.ledger import Ledger
from watcher.soak.spool import Spool
from watcher.soak.store import Portion
from watcher.totals import Totals

LEAST_PAUSE_SECONDS = 5.0
"""Between two merges, however fast touches come."""
LONGEST_PAUSE_SECONDS = 600.0
"""Between two merges, however slowly they come: hours count, too."""
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0


class Store(Protocol):
    """``watcher.soak.store.TotalsStore``, by way of ``assembly``. Raises WatcherError: retry with the same portion."""

    async def merge(self, portion: Portion) -> Totals: ...


class Delivery:
    """``run`` until cancelled; then ``finish``."""

    def __init__(
        self, ledger: Ledger, spool: Spool, store: Store, *, problem: Callable[[str | None], None] = lambda _text: None
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._store = store
        self._problem = problem
        self.due = asyncio.Event()
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._saved = False
        """The frozen portion is in a checkpoint: only then may it be sent."""

    async def run(self) -> None:
        while True:
            if not await self.once():
                await asyncio.sleep(self._retry_seconds)
                self._retry_seconds = min(LONGEST_RETRY_SECONDS, 2 * self._retry_seconds)
                continue
            self._retry_seconds = FIRST_RETRY_SECONDS
            self.due.clear()
            await asyncio.sleep(LEAST_PAUSE_SECONDS)
            try:
                async with asyncio.timeout(LONGEST_PAUSE_SECONDS):
                    await self.due.wait()
            except TimeoutError:
                pass

    async def once(self, *, at_the_end: bool = False) -> bool:
        """Cuts a portion if there is anything, saves it, sends it. False where it has to be tried again.

        At the end one that cannot be saved is sent all the same: after a restart on this very spool its number tells
        that it has been counted.
        """
        if self._ledger.frozen is None:
            self._saved = False
            if not self._ledger.freeze():
                return True
        if not self._saved:
            self._saved = await self._spool.checkpoint()
            if not self._saved and not at_the_end:
                return False
        frozen = self._ledger.frozen
        assert frozen is not None
        try:
            await self._store.merge(Portion(self._ledger.book, frozen.number, frozen.delta))
        except WatcherError as error:
            self._problem(str(error.message))
            return False
        self._ledger.merged()
        self._problem(None)
        return True

    async def finish(self, seconds: float) -> bool:
        """The last portions. False where they could not be delivered in time; they are in the spool then."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if not await self.once(at_the_end=True):
                        await asyncio.sleep(0.5)
                    elif self._ledger.counter.empty:
                        return True
        except TimeoutError:
            return False
