"""A soak in virtual time: real supervisor, judge, spool and delivery; programs, API server and cluster are played."""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from watcher.errors import WatcherError
from watcher.model import Settings, Touch
from watcher.records import Program, Touched
from watcher.soak.child import Child
from watcher.soak.counting import Identity
from watcher.soak.delivery import Delivery
from watcher.soak.ledger import Ledger
from watcher.soak.rounds import LOOK_AGAIN_SECONDS
from watcher.soak.spool import Spool
from watcher.soak.store import Portion
from watcher.soak.supervisor import Session, Supervisor
from watcher.totals import Failure, Totals, Tried, Update
from watcher.updater import Watcher

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Never waits: the time that would pass is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing will ever happen again"
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual.now


def run_virtually(scene: Coroutine[Any, Any, T]) -> T:
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(scene)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()


async def at_once(work: Callable[[], T]) -> T:
    return work()


class Cluster:
    """What outlives a supervisor: the trigger's nonce, the failures, the totals."""

    def __init__(self) -> None:
        self.nonce = "initial"
        self.writes: list[str] = []
        self.failures: dict[tuple[str, str], Failure] = {}
        self.late: dict[tuple[str, str], float] = {}
        self.portions: dict[tuple[str, int], Totals] = {}
        self.store_away: Callable[[float], bool] = lambda _t: False
        self.answer_lost: Callable[[int], bool] = lambda _n: False
        self.merges = 0

    def total(self, field: str, watcher: str | None = None) -> int:
        return sum(
            int(getattr(each, field))
            for totals in self.portions.values()
            for each in totals.watchers
            if watcher in (None, f"{each.stack}/{each.profile}")
        )

    def updates(self) -> dict[Update, int]:
        counts: dict[Update, int] = {}
        for totals in self.portions.values():
            for update, number in totals.updates.items():
                counts[update] = counts.get(update, 0) + number
        return counts


class Away(WatcherError):
    """The store cannot be reached."""


class Store:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def merge(self, portion: Portion) -> Totals:
        await asyncio.sleep(0.01)
        cluster = self._cluster
        if cluster.store_away(asyncio.get_running_loop().time()):
            raise Away("away")
        cluster.merges += 1
        key = (portion.session, portion.number)
        newest = max((number for session, number in cluster.portions if session == portion.session), default=0)
        if portion.number > newest:
            assert portion.number == newest + 1, "a portion is missing"
            cluster.portions[key] = portion.delta
        else:
            assert cluster.portions[key] == portion.delta, "one number, two portions"
        if cluster.answer_lost(cluster.merges):
            raise Away("the answer is lost")
        return portion.delta


class FailureBook:
    dropped = 0
    pending = 0
    disk_problem: str | None = None

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def miss(self, failure: Failure) -> None:
        key = (failure.nonce, f"{failure.stack}/{failure.profile}")
        # Again after a restart, without what only the living knew.
        known = self._cluster.failures.setdefault(key, failure)
        assert known.touched_at == failure.touched_at

    def seen_late(self, nonce: str, watcher: str, observed_at: str, delay_seconds: float) -> None:
        assert observed_at
        self._cluster.late[nonce, watcher] = delay_seconds

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def flush(self, _seconds: float) -> bool:
        return True


class Gauges:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def touched(self, update: Update) -> None:
        self._count(f"touched {update}")

    def observed(self, _watcher: str, _delay_seconds: float) -> None:
        self._count("observed")

    def missed(self, _watcher: str) -> None:
        self._count("missed")

    def late(self, _watcher: str, _delay_seconds: float) -> None:
        self._count("late")

    def restarted(self, _watcher: str) -> None:
        self._count("restarted")

    def reconnected(self, _watcher: str) -> None:
        self._count("reconnected")

    def tried(self, _outcome: Tried) -> None:
        self._count("tried")

    def beat(self) -> None:
        self._count("beat")

    def failures_pending(self, _number: int) -> None:
        pass


class Health:
    def __init__(self) -> None:
        self.beats: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    def expect(self, part: str, _within_seconds: float) -> None:
        self.beat(part)

    def beat(self, part: str) -> None:
        self.beats[part] = asyncio.get_event_loop().time()

    def problem(self, part: str, text: str | None) -> None:
        if text is None:
            self.problems.pop(part, None)
        else:
            self.problems[part] = text


class PlayedChild:
    """A program that watches from its start."""

    pid = None
    state = "running"

    def __init__(self, watcher: Watcher, record: Callable[[Program], object]) -> None:
        self.watcher = watcher
        self._record = record
        self.ready = asyncio.Event()

    async def run(self) -> None:
        for event in ("spawned", "started", "watching"):
            self.say(event, **({"library": "l", "version": "1", "runtime": "r"} if event == "started" else {}))
        self.ready.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        pass

    def say(self, event: str, **fields: Any) -> None:
        now = asyncio.get_running_loop().time()
        self._record(Program.model_validate({"t": now, "cell": self.watcher.cell, "event": event, **fields}))


class Game:
    """One supervisor's life over a spool and a cluster that were there before it."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        *,
        watchers: int = 3,
        deadline_seconds: float = 10.0,
        delay: Callable[[int, str], float | None] = lambda _number, _watcher: 0.05,
        status: Callable[[int], int | None] = lambda _number: 200,
        session: str = "s1",
        look_again_seconds: float = LOOK_AGAIN_SECONDS,
        capture: str = "",
    ) -> None:
        """``delay`` of a touch (numbered from 1) and a watcher: when it observes it, None for never."""
        loop = asyncio.get_running_loop()
        self.folder, self.cluster = folder, cluster
        self.delay, self.status = delay, status
        self.names = [f"stack-{number}/default" for number in range(watchers)]
        settings: Mapping[str, tuple[str, str, str, Settings]] = {
            name: (*name.split("/"), "Python", Settings())  # type: ignore[misc]  # two parts
            for name in self.names
        }
        self.identity = Identity("soak", "cluster", "600", deadline_seconds, 1.0, settings, capture)
        self.gauges, self.health, self.failures = Gauges(), Health(), FailureBook(cluster)
        self.ledger = Ledger(self.identity, self.failures, self.gauges)
        self.spool = Spool(folder, state=self.ledger.state, now=loop.time, run=at_once)
        self.delivery = Delivery(self.ledger, self.spool, Store(cluster))
        self.said: list[str] = []
        self.supervisor = Supervisor(
            Session(
                session,
                "soak",
                "2026-01-01T00:00:00+00:00",
                deadline_seconds,
                600,
                tuple(self.names),
                look_again_seconds,
            ),
            ledger=self.ledger,
            spool=self.spool,
            delivery=self.delivery,
            failures=self.failures,
            health=self.health,
            gauges=self.gauges,
            say=lambda event, **_fields: self.said.append(event),
            now=loop.time,
        )
        self.children = [PlayedChild(Watcher(name, *name.split("/")), self.supervisor.record) for name in self.names]
        self.touches = 0
        self.looks = 0

    # What the rounds ask.
    async def touch(self, nonce: str) -> Touched:
        loop = asyncio.get_running_loop()
        self.touches += 1
        number, sent, status = self.touches, loop.time(), self.status(self.touches)
        if status == 200:
            self.cluster.nonce = nonce
            self.cluster.writes.append(nonce)
            for child in self.children:
                after = self.delay(number, child.watcher.cell)
                if after is not None:
                    loop.call_later(after, self._observe, child, nonce)
        await asyncio.sleep(0.02)
        now = loop.time()
        fields: dict[str, Any] = {"answered": now, "status": status} if status is not None else {}
        error = None if status == 200 else "refused"
        touched = Touched(t=now, role=Touch.TOUCH, nonce=nonce, sent=sent, error=error, **fields)
        self.supervisor.record(touched)
        return touched

    def _observe(self, child: PlayedChild, nonce: str) -> None:
        child.say("observed", nonce=nonce, resource_version="1")

    async def look(self, _seconds: float) -> tuple[str | None, str | None]:
        self.looks += 1
        await asyncio.sleep(0.01)
        return self.cluster.nonce, None

    async def probe(self, _seconds: float) -> tuple[bool, float, str | None]:
        return True, 0.01, None

    async def try_idle(self, _seconds: float) -> tuple[str, float, float] | None:
        return "alive", 600.0, 0.01

    async def measure(self, *, before_touch: bool) -> None:
        pass

    async def prepare(self) -> None:
        await asyncio.sleep(0.1)

    async def play(self, *, touches: int, interval: float) -> None:
        """To an orderly end after so many touches and the last one's late observations."""
        await self._start(interval, touches, orderly=True)

    async def play_until_killed(self, *, seconds: float, interval: float) -> None:
        """SIGKILL after ``seconds``: nothing of the process runs any more, the disk is as it is."""
        running = asyncio.create_task(self._start(interval, 10**9, orderly=False))
        running.add_done_callback(lambda task: None if task.cancelled() else task.exception())
        await asyncio.sleep(seconds)
        self.spool._run = _dead  # what runs on, runs without hands
        self.failures.miss = self.failures.seen_late = lambda *_a: None  # type: ignore[method-assign, assignment]
        self.delivery._store = _Dead()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        while alive := [task for task in others if not task.done()]:
            for task in alive:  # again, where its end in order waits for something
                task.cancel()
            await asyncio.sleep(0)
        for descriptor in (self.spool._descriptor, self.spool._lock):
            if descriptor is not None:
                os.close(descriptor)

    async def _start(self, interval: float, touches: int, *, orderly: bool) -> None:
        self.supervisor.recover()
        clock: asyncio.Task[None] | None = None

        def schedule(job: Callable[[], Awaitable[None]]) -> Callable[[], None]:
            nonlocal clock
            clock = asyncio.create_task(self._clock(job, interval, touches, orderly))
            return lambda: None

        try:
            await self.supervisor.run(
                children=cast(list[Child], self.children), asking=self, prepare=self.prepare, schedule=schedule
            )
        finally:
            if clock is not None:
                clock.cancel()

    async def _clock(self, job: Callable[[], Awaitable[None]], interval: float, touches: int, orderly: bool) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.touches < touches:
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())
            await job()
        if orderly:
            await asyncio.sleep(2 * interval)
            self.supervisor.stop.set()


async def _dead(_work: Callable[[], Any]) -> None:
    await asyncio.Event().wait()


class _Dead:
    async def merge(self, _portion: Portion) -> Totals:
        await asyncio.Event().wait()
        raise AssertionError
