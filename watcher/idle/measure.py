"""Leaves connections alone, each for its own time, tries each once, and keeps watch over the conditions.

All are opened at the start, so that a measurement takes as long as its longest silence. Two controls tell the path from
everything else: with every end of a connection a fresh one must work, else that try is void; and one connection that is
used all the time must live to the end, else nothing can be known (the API server was restarted, or something ends
connections by their age).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from watcher.api import UNANSWERED
from watcher.errors import WatcherError
from watcher.idle.verdict import Try
from watcher.totals import Tried

MOST_CONNECTIONS = 64
TRY_SECONDS = 10.0
BUSY_EVERY_SECONDS = 15.0
LOOK_EVERY_SECONDS = 0.5
"""How often each connection is looked at: the precision of the moment at which one ends by itself."""


class Idle(Protocol):
    """An ``IdleConnection``."""

    watch_ended: bool

    def open(self) -> None: ...
    def state(self) -> Tried | None: ...
    def try_(self, seconds: float) -> tuple[Tried, float]: ...
    def close(self) -> None: ...
    @property
    def idle_seconds(self) -> float: ...
    @property
    def signs(self) -> tuple[float, ...]: ...


@dataclass(frozen=True)
class Access:
    """How connections are made. ``fresh`` opens one and asks something; ``use`` asks over one that stays open.

    Both block, and raise ``UNANSWERED`` where no answer came.
    """

    idle: Callable[[], Idle]
    fresh: Callable[[], None]
    use: Callable[[], None]


@dataclass(frozen=True)
class Measured:
    tries: tuple[Try, ...]
    problems: tuple[str, ...]
    """Of the busy connection."""


class CannotOpen(WatcherError):
    """No idle connection could be had at all."""


Blocking = Callable[[Callable[[], object]], Awaitable[object]]


class Measurement:
    """One round. ``told`` hears of every try as it is made."""

    def __init__(
        self,
        access: Access,
        ages_seconds: tuple[float, ...],
        *,
        told: Callable[[Try], None] = lambda _: None,
        opened: Callable[[], None] = lambda: None,
        try_seconds: float = TRY_SECONDS,
        busy_every_seconds: float = BUSY_EVERY_SECONDS,
        look_every_seconds: float = LOOK_EVERY_SECONDS,
        in_thread: Blocking = asyncio.to_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._ages = ages_seconds
        self._told = told
        self._opened = opened
        self._try_seconds = try_seconds
        self._busy_every = busy_every_seconds
        self._look_every = look_every_seconds
        self._in_thread = in_thread
        self._clock = clock
        self._problems: list[str] = []
        self._one_user = asyncio.Lock()
        self._began = 0.0

    async def run(self) -> Measured:
        """Raises CannotOpen, or what else a connection's ``open`` raises as WatcherError."""
        self._began = self._clock()
        connections = [self._access.idle() for _ in self._ages]
        busy: asyncio.Task[None] | None = None
        try:
            await self._open(connections)
            self._opened()
            busy = asyncio.create_task(self._keep_busy())
            waits = (self._one(age, each) for age, each in zip(self._ages, connections, strict=True))
            tries = await asyncio.gather(*waits)
            await self._use()
        finally:
            if busy is not None:
                busy.cancel()
                await asyncio.gather(busy, return_exceptions=True)
            for each in connections:
                each.close()
        return Measured(tuple(tries), tuple(self._problems))

    async def _open(self, connections: list[Idle]) -> None:
        results = await asyncio.gather(*(self._in_thread(each.open) for each in connections), return_exceptions=True)
        for result in results:
            if isinstance(result, UNANSWERED):
                raise CannotOpen(
                    f"cannot open an idle connection to the API server: {result}",
                    advice="is its address right, and reachable from here?",
                ) from result
            if isinstance(result, BaseException):
                raise result

    async def _one(self, age: float, connection: Idle) -> Try:
        while True:
            ended = connection.state()
            idle = connection.idle_seconds
            if ended is not None or idle >= age:
                break
            await asyncio.sleep(min(self._look_every, age - idle))
        seconds = 0.0
        if ended is None:
            tried = await self._in_thread(partial(connection.try_, self._try_seconds))
            assert isinstance(tried, tuple)
            outcome, seconds = tried
        else:
            outcome = ended
        void = "the server ended the watch" if connection.watch_ended else await self._without_fresh()
        made = Try(
            age_seconds=age,
            idle_seconds=idle,
            outcome=outcome,
            by_itself=ended is not None,
            seconds=seconds,
            signs=tuple(sign for sign in connection.signs if sign <= idle),
            void=void,
        )
        self._told(made)
        return made

    async def _without_fresh(self) -> str | None:
        """Why no fresh connection can be had now; None where one can."""
        try:
            await self._in_thread(self._access.fresh)
        except UNANSWERED as error:
            return f"no fresh connection worked at that moment ({type(error).__name__})"
        return None

    async def _keep_busy(self) -> None:
        while not self._problems:
            await self._use()
            await asyncio.sleep(self._busy_every)

    async def _use(self) -> None:
        async with self._one_user:
            if self._problems:
                return
            try:
                await self._in_thread(self._access.use)
            except UNANSWERED as error:
                self._problems.append(
                    f"the connection that is used every {self._busy_every:g} s ended, too, after"
                    f" {self._clock() - self._began:.0f} s ({type(error).__name__}): the API server was restarted,"
                    " or connections are ended by their age"
                )
