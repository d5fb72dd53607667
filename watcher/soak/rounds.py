"""One round: a touch, and all that is needed for the judge's word on it. Never two at once.

The round only asks and records; what it means is the judge's affair. It ends when the judge has decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from watcher.idle.quiet import LEAST_QUIET_SECONDS
from watcher.judge.touches import Judged, Late
from watcher.records import Beat, Entry, IdleTried, Intended, Looked, Probed, Touched
from watcher.updater import new_nonce

LEAST_PAUSE_SECONDS = 1.0
"""Between two tries of the idle connection, two probes, two looks at quiet sockets: touches may come faster."""
SETTLE_SECONDS = 1.0
"""After a touch, until its last acknowledgements have gone."""
LOOK_AGAIN_SECONDS = LEAST_QUIET_SECONDS + 5
"""After the look that follows a touch. Where a path ends what was idle for 240 s, the connection of that look is gone
at the next touch, and its silence would never be seen in one piece."""
_DRAINS = 12
"""Turns of the event loop in which a full pipe, 64 KiB, is read to its end, line by line, with some to spare."""


class Book(Protocol):
    """Where records go."""

    def record(self, entry: Entry) -> tuple[Judged | Late, ...]: ...
    async def commit(self) -> None: ...
    @property
    def undecided(self) -> bool: ...
    @property
    def decided(self) -> asyncio.Event:
        """Set at each decision; cleared by who waits for the next."""


class Asking(Protocol):
    """What a round asks of the network. Nothing here raises but by cancellation."""

    async def touch(self, nonce: str) -> Touched:
        """The record is written by who is called."""

    async def look(self, seconds: float) -> tuple[str | None, str | None]:
        """The nonce that a GET over a fresh connection finds now, or None and why not."""

    async def probe(self, seconds: float) -> tuple[bool, float, str | None]:
        """Whether a fresh connection works, how long that took, and the error."""

    async def try_idle(self, seconds: float) -> tuple[str, float, float] | None:
        """What the idle connection says (``Tried``), how long it was idle and how long the try took; opens the next."""

    async def measure(self, *, before_touch: bool) -> None:
        """Looks at the programs' quiet sockets."""


@dataclass(frozen=True)
class Pace:
    """Seconds between the beats while a touch is open, and between two looks."""

    deadline_seconds: float

    @property
    def step_seconds(self) -> float:
        return max(0.05, self.deadline_seconds / 10)

    @property
    def beat_seconds(self) -> float:
        return min(1.0, max(0.1, self.deadline_seconds / 10))


class Rounds:
    """``round`` is the scheduler's job."""

    def __init__(
        self,
        book: Book,
        asking: Asking,
        *,
        deadline_seconds: float,
        now: Callable[[], float],
        look_again_seconds: float = LOOK_AGAIN_SECONDS,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._book = book
        self._asking = asking
        self._deadline_seconds = deadline_seconds
        self._pace = Pace(deadline_seconds)
        self._now = now
        self._look_again_seconds = look_again_seconds
        self._on_round = on_round
        self._beats = 0
        self._extras: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._touched_at = float("-inf")
        self._running = False
        self.stopping = False

    async def round(self) -> None:
        """One touch, decided when this returns."""
        if self.stopping or self._running:
            return
        self._running = True
        try:
            await self._round()
        finally:
            self._running = False
        self._on_round()

    async def beat(self) -> Beat:
        """A sign of life, after everything that waited in the pipes has been read."""
        at = self._now()
        if self._book.undecided:
            for _ in range(_DRAINS):
                await asyncio.sleep(0)
        self._beats += 1
        beat = Beat(t=at, number=self._beats)
        self._book.record(beat)
        return beat

    @property
    def pause_seconds(self) -> float:
        """Until the next beat is due."""
        return self._pace.beat_seconds if self._book.undecided else 5.0

    async def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        tasks = [each for each in (self._extras, self._looking) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self) -> None:
        await self._looked()
        rested = self._now() - self._touched_at >= LEAST_PAUSE_SECONDS
        if rested:
            await self._asking.measure(before_touch=True)
        nonce = new_nonce()
        self._book.decided.clear()
        self._book.record(Intended(t=self._now(), nonce=nonce))
        beating = asyncio.create_task(self._beat_while_open())
        try:
            await self._book.commit()
            if rested and (self._extras is None or self._extras.done()):
                self._extras = asyncio.create_task(self._beside(nonce))
            touched = await self._asking.touch(nonce)
            self._touched_at = self._now()
            if self._book.undecided:
                await self._settle(touched)
            await self._book.commit()
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _settle(self, touched: Touched) -> None:
        """Until the judge decides, which it does within ``look_seconds`` of the deadline."""
        assert touched.answered is not None
        deadline, step = self._deadline_seconds, self._pace.step_seconds
        seen = False
        while not await self._decided(step):
            left = touched.sent + deadline - self._now()
            if left <= 0:
                break
            if not seen:
                seen = await self._look(touched.nonce, min(left, max(3 * step, 0.5)))
        await self._decided(touched.answered + deadline - self._now() + 0.001)
        while self._book.undecided:
            await self.beat()
            if not await self._look(touched.nonce, max(3 * step, 1.0)):
                await self._decided(min(step, 1.0))

    async def _look(self, nonce: str, seconds: float) -> bool:
        """Whether a GET found this nonce."""
        found, error = await self._asking.look(seconds)
        self._book.record(Looked(t=self._now(), nonce=nonce, found=found, error=error))
        return found == nonce

    async def _decided(self, seconds: float) -> bool:
        """Waits for the decision at most so long."""
        if self._book.undecided and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._book.decided.wait()
            except TimeoutError:
                pass
        return not self._book.undecided

    async def _beside(self, nonce: str) -> None:
        """Beside the touch: does a new connection work, and is the old one alive?"""
        seconds = self._deadline_seconds / 2

        async def probe() -> None:
            ok, took, error = await self._asking.probe(seconds)
            self._book.record(Probed(t=self._now(), ok=ok, seconds=took, error=error))

        async def try_idle() -> None:
            tried = await self._asking.try_idle(seconds)
            if tried is not None:
                outcome, idle, took = tried
                record = {"t": self._now(), "nonce": nonce, "outcome": outcome, "idle_seconds": idle, "seconds": took}
                self._book.record(IdleTried.model_validate(record))

        await asyncio.gather(probe(), try_idle())
        # The programs' sockets are quiet from here on, until the next touch.
        await asyncio.sleep(SETTLE_SECONDS)
        while self._book.undecided:  # noqa: ASYNC110 - somebody misses it, and the deadline is still to come
            await asyncio.sleep(self._pace.step_seconds)
        await self._asking.measure(before_touch=False)
        self._again = asyncio.get_running_loop().call_later(self._look_again_seconds, self._look_again)

    def _look_again(self) -> None:
        if not self._running:
            self._looking = asyncio.create_task(self._asking.measure(before_touch=False))

    async def _looked(self) -> None:
        """No look between two touches begins from here on, and none is under way."""
        if self._again is not None:
            self._again.cancel()
        if self._looking is not None:
            await self._looking
            self._looking = None

    async def _beat_while_open(self) -> None:
        while True:
            await asyncio.sleep(self._pace.beat_seconds)
            if self._book.undecided:
                await self.beat()
