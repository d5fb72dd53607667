"""The soak's supervisor: programs, rounds, beats; recovery at the start, order at the end.

One event loop. What blocks (disk, network, ``/proc``) runs in threads. All that is seen goes through ``record``: into
the spool, to the judge, and from there to metrics, failures and totals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from watcher.judge.touches import Judged, Late
from watcher.records import Beat, Entry, SoakEnded, SoakStarted
from watcher.soak.child import Child
from watcher.soak.delivery import Delivery
from watcher.soak.ledger import Ledger
from watcher.soak.rounds import LOOK_AGAIN_SECONDS, Asking, Rounds
from watcher.soak.spool import Spool

STAGGER_SECONDS = 5.0
"""The next program is started when the one before watches, or after this."""
DECIDE_SECONDS = 1.0
"""At the end, for the touch that is open: mostly it is observed at once."""
CHILDREN_SECONDS = 4.0
FLUSH_SECONDS = 4.0
"""Each, at the end, for programs, for failures, for totals: together within 15 s, half of a pod's grace period."""
BEAT_LIMIT_SECONDS = 30.0
BEATS_A_FLUSH = 4
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FailureWriting(Protocol):
    async def run(self) -> None: ...
    async def flush(self, seconds: float, /) -> bool: ...
    @property
    def pending(self) -> int: ...
    @property
    def disk_problem(self) -> str | None: ...


class HealthBoard(Protocol):
    def expect(self, part: str, within_seconds: float, /) -> None: ...
    def beat(self, part: str, /) -> None: ...
    def problem(self, part: str, text: str | None, /) -> None: ...


class MoreGauges(Protocol):
    def beat(self) -> None: ...
    def failures_pending(self, number: int, /) -> None: ...


@dataclass(frozen=True)
class Session:
    """This process's life."""

    name: str
    instance: str
    started_at: str
    deadline_seconds: float
    longest_gap_seconds: float
    """Between two touches by schedule."""
    watchers: tuple[str, ...]
    look_again_seconds: float = LOOK_AGAIN_SECONDS
    """From a look at quiet sockets after a touch to the next; scaled in the lab."""


class Supervisor:
    """``run`` from start to orderly end. What it is made of is given; see ``assembly``."""

    def __init__(
        self,
        session: Session,
        *,
        ledger: Ledger,
        spool: Spool,
        delivery: Delivery,
        failures: FailureWriting,
        health: HealthBoard,
        gauges: MoreGauges,
        say: Callable[..., None],
        now: Callable[[], float],
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._spool = spool
        self._delivery = delivery
        self._failures = failures
        self._health = health
        self._gauges = gauges
        self._say = say
        self._now = now
        self.decided = asyncio.Event()
        self.stop = asyncio.Event()
        """Set it to end in order."""
        self._flush: asyncio.Task[None] | None = None
        self._open_since: float | None = None
        self._broken: BaseException | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.children: list[Child] = []
        self._committing = asyncio.Lock()

    # What Rounds needs of its book.
    def record(self, entry: Entry) -> tuple[Judged | Late, ...]:
        """Everything that is seen comes through here, in order; never blocks, never raises for the disk."""
        if not self._ledger.judge.matters(entry):
            return ()
        self._spool.append(entry)
        found = self._ledger.take(entry)
        if any(isinstance(each, Judged) for each in found):
            self.decided.set()
            self._delivery.due.set()
        due = isinstance(entry, Beat) and entry.number % BEATS_A_FLUSH == 0
        if (found or due) and self._flush is None:
            self._flush = asyncio.ensure_future(self._flushed())
        return found

    async def commit(self) -> None:
        """What was recorded is on disk; then its consequences leave."""
        async with self._committing:
            mark = self._ledger.mark()
            await self._spool.commit()
            self._ledger.act(mark)
        self._health.problem("spool", self._spool.problem or self._failures.disk_problem)
        self._gauges.failures_pending(self._failures.pending)

    @property
    def undecided(self) -> bool:
        return self._ledger.judge.undecided

    def recover(self) -> int:
        """Reads what a supervisor before has left, and begins this session. Returns how many records that were."""
        content, records = self._spool.recover()
        if content is not None and not self._ledger.restore(content):
            self._say("the spool is of another version: begun anew")
        count = 0
        for record in records:
            self._ledger.replay(record)
            count += 1
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"
        session = self._session
        self.record(
            SoakStarted(
                t=self._now(),
                session=session.name,
                instance=session.instance,
                started_at=session.started_at,
                boot=boot,
                deadline_seconds=session.deadline_seconds,
                watchers=session.watchers,
            )
        )
        return count

    async def run(
        self,
        *,
        children: Sequence[Child],
        asking: Asking,
        prepare: Callable[[], Coroutine[Any, Any, None]],
        schedule: Callable[[Callable[[], Awaitable[None]]], Callable[[], None]],
    ) -> None:
        """Until ``stop`` is set. ``prepare`` returns when the trigger is there; ``schedule`` starts the rounds and
        returns what ends them."""
        session, health = self._session, self._health
        rounds = Rounds(
            self,
            asking,
            deadline_seconds=session.deadline_seconds,
            now=self._now,
            look_again_seconds=session.look_again_seconds,
            on_round=lambda: health.beat("updater"),
        )
        self.children = list(children)
        health.expect("supervisor", BEAT_LIMIT_SECONDS)
        health.expect("judge", BEAT_LIMIT_SECONDS)
        await self._spool.checkpoint()
        await self.commit()
        self._spawn(self._beat(rounds), "beats")
        self._spawn(self._failures.run(), "failures")
        self._spawn(self._delivery.run(), "totals")
        unschedule: Callable[[], None] | None = None
        try:
            preparing = self._spawn(prepare(), "prepare")
            stopping = self._spawn(self.stop.wait(), "stopping")
            await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self.stop.is_set():
                self._spawn(self._start(), "start")
                health.expect("updater", session.longest_gap_seconds + 8 * session.deadline_seconds + 60)
                unschedule = schedule(partial(self._round, rounds))
                await self.stop.wait()
        finally:
            rounds.stopping = True
            if unschedule is not None:
                unschedule()
            await self._end(rounds)
        if self._broken is not None:
            raise self._broken

    async def _round(self, rounds: Rounds) -> None:
        """A scheduler would log an error and go on; but without its rounds a soak says nothing for ever."""
        try:
            await rounds.round()
        except Exception as error:
            self._broken = error
            self.stop.set()

    def _spawn(self, part: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A part that ends with an error takes the whole process with it: a supervisor without its judge or its beats
        must not look alive."""
        task = asyncio.create_task(part, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
            self.stop.set()

    async def _start(self) -> None:
        """One program after the other: their imports cost more than all that they do later."""
        for child in self.children:
            self._spawn(child.run(), child.watcher.cell)
            try:
                async with asyncio.timeout(STAGGER_SECONDS):
                    await child.ready.wait()
            except TimeoutError:
                pass

    async def _beat(self, rounds: Rounds) -> None:
        while True:
            beat = await rounds.beat()
            self._health.beat("supervisor")
            self._gauges.beat()
            watching = any(speaks.watching for speaks in self._ledger.counter.state.speaks.values())
            self._health.problem("watchers", None if watching else "no program watches yet")
            if not self.undecided:
                self._open_since = None
                self._health.beat("judge")
            elif self._open_since is None:
                self._open_since = beat.t
            elif beat.t - self._open_since < 10 * self._session.deadline_seconds + 60:
                self._health.beat("judge")
            await asyncio.sleep(rounds.pause_seconds)

    async def _flushed(self) -> None:
        """Records are with the kernel at each beat; what was decided is on disk at once, and then acted upon."""
        try:
            await self._spool.flush()
            self._health.problem("spool", self._spool.problem or self._failures.disk_problem)
            while self._ledger.to_act:
                await self.commit()
        finally:
            self._flush = None

    async def _end(self, rounds: Rounds) -> None:
        self._say("ending")
        if self.undecided:
            self.decided.clear()
            try:
                async with asyncio.timeout(DECIDE_SECONDS):
                    await self.decided.wait()
            except TimeoutError:
                pass
        self.record(SoakEnded(t=self._now(), session=self._session.name))
        await rounds.close()
        stops = asyncio.gather(*(child.stop() for child in self.children), return_exceptions=True)
        try:
            async with asyncio.timeout(CHILDREN_SECONDS):
                await stops
        except TimeoutError:
            pass
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._flush is not None:
            await asyncio.gather(self._flush, return_exceptions=True)
        await self.commit()
        written, merged = await asyncio.gather(
            self._failures.flush(FLUSH_SECONDS), self._delivery.finish(FLUSH_SECONDS)
        )
        self._gauges.failures_pending(self._failures.pending)
        await self._spool.close()
        self._say("ended", failures_written=written, totals_merged=merged)
