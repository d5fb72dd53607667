"""A measurement in virtual time: who is tried when, and what the controls do to the tries."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from watcher.errors import WatcherError
from watcher.idle.measure import Access, CannotOpen, Measured, Measurement
from watcher.idle.verdict import find
from watcher.totals import Tried


class _Instant(selectors.DefaultSelector):
    """Instead of waiting it moves the loop's clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


def play(scene: Callable[[Callable[[], float]], Coroutine[Any, Any, Measured]]) -> Measured:
    selector = _Instant()
    loop = asyncio.SelectorEventLoop(selector)
    vars(loop)["time"] = lambda: selector.now
    try:
        return loop.run_until_complete(scene(loop.time))
    finally:
        loop.close()


@dataclass
class Fake:
    """A connection on a path that forgets after ``timeout`` seconds and tells the client, or does not."""

    clock: Callable[[], float]
    timeout: float
    ending: Tried = Tried.SILENT
    watch_ended: bool = False
    opening: Exception | None = None
    began: float = 0.0
    tried: list[float] = field(default_factory=list)
    closed: bool = False
    signs: tuple[float, ...] = ()

    @property
    def idle_seconds(self) -> float:
        return self.clock() - self.began

    def open(self) -> None:
        if self.opening is not None:
            raise self.opening
        self.began = self.clock()

    def state(self) -> Tried | None:
        return self.ending if self.ending is Tried.RESET and self.idle_seconds >= self.timeout else None

    def try_(self, seconds: float) -> tuple[Tried, float]:
        self.tried.append(self.idle_seconds)
        return (self.ending, seconds) if self.idle_seconds >= self.timeout else (Tried.ALIVE, 0.1)

    def close(self) -> None:
        self.closed = True


async def at_once(action: Callable[[], object]) -> object:
    return action()


def measure(
    make: Callable[[Callable[[], float]], Fake],
    *,
    fresh: Callable[[float], None] = lambda _: None,
    use: Callable[[float], None] = lambda _: None,
) -> tuple[Measured, list[Fake]]:
    fakes: list[Fake] = []

    async def scene(clock: Callable[[], float]) -> Measured:
        def idle() -> Fake:
            fakes.append(make(clock))
            return fakes[-1]

        access = Access(idle=idle, fresh=lambda: fresh(clock()), use=lambda: use(clock()))
        return await Measurement(access, (60.0, 120.0, 180.0, 240.0, 300.0), in_thread=at_once, clock=clock).run()

    return play(scene), fakes


def test_each_is_tried_once_at_its_own_age() -> None:
    """A connection that is tried twice is not idle the second time."""
    measured, fakes = measure(lambda clock: Fake(clock, 200))
    assert [fake.tried for fake in fakes] == [[pytest.approx(age)] for age in (60, 120, 180, 240, 300)]
    assert [made.outcome for made in measured.tries] == [Tried.ALIVE] * 3 + [Tried.SILENT] * 2
    assert all(fake.closed for fake in fakes)


def test_who_is_reset_by_itself_is_noticed_when_it_happens() -> None:
    """Waiting for the age would make of 200 s some time between 180 and 240."""
    measured, fakes = measure(lambda clock: Fake(clock, 200.2, Tried.RESET))
    assert [fake.tried for fake in fakes[3:]] == [[], []]
    ends = [made.idle_seconds for made in measured.tries if made.by_itself]
    assert ends == [pytest.approx(200.5), pytest.approx(200.5)]
    assert find(measured.tries, measured.problems).exact


def unanswered(since: float, until: float = float("inf")) -> Callable[[float], None]:
    def act(now: float) -> None:
        if since <= now <= until:
            raise ConnectionRefusedError

    return act


def test_a_try_during_an_outage_is_void() -> None:
    """An API server that is away for a minute must not become a timeout of the path."""
    measured, _ = measure(lambda clock: Fake(clock, 150), fresh=unanswered(170, 190))
    assert [made.void is None for made in measured.tries] == [True, True, False, True, True]


def test_the_end_of_the_busy_connection_makes_all_unknown() -> None:
    """The API server restarted: every connection ended, whatever the path does."""
    measured, _ = measure(lambda clock: Fake(clock, 200), use=unanswered(100))
    assert len(measured.problems) == 1
    assert "105 s" in measured.problems[0]
    assert find(measured.tries, measured.problems).result == "cannot-know"


def test_the_busy_connection_is_tried_at_the_end_too() -> None:
    """Else a restart in the last seconds goes unnoticed."""
    measured, _ = measure(lambda clock: Fake(clock, 1000), use=unanswered(300))
    assert measured.problems


def test_the_servers_end_of_a_watch_is_not_the_paths() -> None:
    """A watch may end for many reasons of the server's own."""
    measured, _ = measure(lambda clock: Fake(clock, 100, Tried.RESET, watch_ended=True))
    assert all(made.void for made in measured.tries)


class Denied(WatcherError):
    pass


@pytest.mark.parametrize(("problem", "raised"), [(ConnectionRefusedError(), CannotOpen), (Denied("403"), Denied)])
def test_nothing_is_measured_where_no_connection_opens(problem: Exception, raised: type[Exception]) -> None:
    """The user is told why at once, not after a quarter of an hour."""
    with pytest.raises(raised):
        measure(lambda clock: Fake(clock, 100, opening=problem))
