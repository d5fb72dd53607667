"""A namespace of an API server, seen from here: where connections are made and left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from watcher.api import Credentials, request
from watcher.idle import busy
from watcher.idle.busy import BusyConnection
from watcher.idle.connection import IdleConnection
from watcher.idle.measure import (
    BUSY_EVERY_SECONDS,
    LOOK_EVERY_SECONDS,
    MOST_CONNECTIONS,
    Access,
    Measured,
    Measurement,
)
from watcher.idle.verdict import Try


@dataclass(frozen=True)
class Place:
    """``configmap``: one that nobody touches; it need not exist."""

    credentials: Credentials
    namespace: str
    configmap: str

    def play(
        self,
        ages_seconds: tuple[float, ...],
        *,
        try_seconds: float,
        told: Callable[[Try], None],
        opened: Callable[[], None],
    ) -> Measured:
        """One round; blocks for a little longer than the longest age. Raises WatcherError."""
        used = BusyConnection(self.credentials())
        access = Access(idle=self._idle, fresh=self._fresh, use=used.use)
        least = min(ages_seconds)
        # All may have to be opened, or tried, at the same moment.
        with ThreadPoolExecutor(MOST_CONNECTIONS + 2, thread_name_prefix="idle") as threads:
            measurement = Measurement(
                access,
                ages_seconds,
                told=told,
                opened=opened,
                busy_every_seconds=min(BUSY_EVERY_SECONDS, least / 4),
                try_seconds=try_seconds,
                look_every_seconds=min(LOOK_EVERY_SECONDS, least / 10),
                in_thread=partial(_in, threads),
            )
            try:
                return asyncio.run(measurement.run())
            finally:
                used.close()

    def _idle(self) -> IdleConnection:
        return IdleConnection(self.credentials(), self.namespace, self.configmap)

    def _fresh(self) -> None:
        request(self.credentials(), "GET", busy.PATH, timeout_seconds=busy.TIMEOUT_SECONDS)


async def _in(threads: ThreadPoolExecutor, action: Callable[[], object]) -> object:
    return await asyncio.get_running_loop().run_in_executor(threads, action)
