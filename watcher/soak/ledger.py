"""What a record leads to: the judge's word, counts, metrics, failures to be written, portions to be merged.

Everything that a restart must not lose is in the state that a checkpoint saves; everything that the outside must not
see twice has a name or a number. The order is: the record is on disk, then its consequence leaves the process.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from watcher.judge import touches
from watcher.judge.touches import Judged, Late, TouchJudge
from watcher.records import Entry, IdleTried, Program, Record
from watcher.soak import counting
from watcher.soak.counting import Counter, Identity
from watcher.totals import Failure, Totals, Tried, Update

STATE_VERSION = 1


class Failures(Protocol):
    """Where misses are written (``watcher.soak.failures``). Neither call blocks on the network."""

    @property
    def dropped(self) -> int: ...

    def miss(self, failure: Failure) -> None: ...
    def seen_late(self, nonce: str, watcher: str, observed_at: str, delay_seconds: float) -> None: ...


class Gauges(Protocol):
    """What of ``watcher.soak.metrics`` is told from here."""

    def touched(self, outcome: Update, /) -> None: ...
    def observed(self, watcher: str, delay_seconds: float, /) -> None: ...
    def missed(self, watcher: str, /) -> None: ...
    def late(self, watcher: str, delay_seconds: float, /) -> None: ...
    def restarted(self, watcher: str, /) -> None: ...
    def reconnected(self, watcher: str, /) -> None: ...
    def tried(self, outcome: Tried, /) -> None: ...


@dataclass
class Amendment:
    nonce: str
    watcher: str
    observed_at: str
    delay_seconds: float


@dataclass
class Frozen:
    """A portion that may have been merged already: it is never changed, only sent again."""

    number: int
    delta: Totals


@dataclass
class Saved:
    """What a checkpoint holds. Bounded: by the number of watchers, and by one touch's misses."""

    version: int = STATE_VERSION
    book: str = ""
    """Names this spool to the totals; its portions are numbered."""
    portions: int = 0
    frozen: Frozen | None = None
    judge: touches.State = field(default_factory=touches.State)
    counter: counting.State = field(default_factory=counting.State)
    misses: list[Failure] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)


_SAVED: TypeAdapter[Saved] = TypeAdapter(Saved)


class Ledger:
    """Fed with every record, once, in the journal's order."""

    def __init__(
        self,
        identity: Identity,
        failures: Failures,
        gauges: Gauges,
        *,
        complete: Callable[[Failure], Failure] = lambda failure: failure,
        on_decided: Callable[[Judged | Late], None] = lambda _decided: None,
    ) -> None:
        """``complete`` adds to a failure what only the living supervisor knows: sockets, state of the program.

        ``on_decided`` hears of each word once, at the moment it falls; not of those that a replay comes to again.
        """
        self._identity = identity
        self._failures = failures
        self._gauges = gauges
        self._complete = complete
        self._on_decided = on_decided
        self._dropped = 0
        self.book = secrets.token_hex(8)
        self.portions = 0
        self.frozen: Frozen | None = None
        self.judge = TouchJudge()
        self.counter = Counter(identity)
        self._misses: list[Failure] = []
        self._amendments: list[Amendment] = []
        self.decisions = 0

    def restore(self, content: bytes) -> bool:
        """Goes on from a checkpoint. False where it is none of this version: then everything begins anew."""
        try:
            saved = _SAVED.validate_json(content)
        except ValidationError:
            return False
        if saved.version != STATE_VERSION:
            return False
        self.book, self.portions, self.frozen = saved.book, saved.portions, saved.frozen
        self.judge = TouchJudge(saved.judge)
        self.counter = Counter(self._identity, saved.counter)
        self._misses, self._amendments = saved.misses, saved.amendments
        return True

    def state(self) -> bytes:
        return _SAVED.dump_json(
            Saved(
                book=self.book,
                portions=self.portions,
                frozen=self.frozen,
                judge=self.judge.state,
                counter=self.counter.state,
                misses=self._misses,
                amendments=self._amendments,
            ),
            exclude_none=True,
        )

    def replay(self, record: Record) -> None:
        """A record from before a restart: all its consequences but those that the process before has shown."""
        self._take(record, live=False)

    def take(self, record: Entry) -> tuple[Judged | Late, ...]:
        """A record of now."""
        self._measure(record)
        return self._take(record, live=True)

    def mark(self) -> tuple[int, int]:
        """What waits to be handed over now; for ``act``."""
        return len(self._misses), len(self._amendments)

    def act(self, mark: tuple[int, int]) -> None:
        """Hands over what was marked; to be called when the records behind it are on disk."""
        misses, amendments = self._misses[: mark[0]], self._amendments[: mark[1]]
        for failure in misses:
            self._failures.miss(failure)
        for each in amendments:
            self._failures.seen_late(each.nonce, each.watcher, each.observed_at, each.delay_seconds)
        del self._misses[: mark[0]], self._amendments[: mark[1]]

    @property
    def to_act(self) -> bool:
        return bool(self._misses or self._amendments)

    def freeze(self) -> bool:
        """Cuts the next portion, unless one is under way. True where there is one now."""
        if self.frozen is None and not self.counter.empty:
            dropped, self._dropped = self._failures.dropped - self._dropped, self._failures.dropped
            self.counter.state.failures_dropped += max(0, dropped)
            self.portions += 1
            self.frozen = Frozen(self.portions, self.counter.cut())
        return self.frozen is not None

    def merged(self) -> None:
        """The frozen portion is in the totals."""
        self.frozen = None

    def _take(self, record: Entry, *, live: bool) -> tuple[Judged | Late, ...]:
        decided = self.judge.feed(record)
        for each in decided:
            # Before the counter takes the record: a new session's clock is another.
            if isinstance(each, Late):
                at = self.counter.time_of_day(each.at)
                self._amendments.append(Amendment(each.nonce, each.watcher, at, round(each.delay_seconds, 6)))
            else:
                failures = [self._failure(each, name) for name in each.missed]
                self._misses += [self._complete(failure) for failure in failures] if live else failures
        self.counter.feed(record, decided)
        for each in decided if live else ():
            self.decisions += 1
            self._tell(each)
            self._on_decided(each)
        return decided

    def _tell(self, decided: Judged | Late) -> None:
        if isinstance(decided, Late):
            self._gauges.late(decided.watcher, decided.delay_seconds)
            return
        self._gauges.touched(decided.update)
        for seen in decided.observed:
            self._gauges.observed(seen.watcher, seen.delay_seconds)
        for name in decided.missed:
            self._gauges.missed(name)

    def _measure(self, record: Entry) -> None:
        if isinstance(record, IdleTried):
            self._gauges.tried(record.outcome)
        if not isinstance(record, Program) or record.cell not in self._identity.watchers or record.cell is None:
            return
        speaks = self.counter.state.speaks.get(record.cell)
        if record.event == "watching" and speaks is not None and speaks.watching:
            self._gauges.reconnected(record.cell)
        unsupported = record.status == touches.UNSUPPORTED_STATUS and (speaks is None or not speaks.spoke)
        if record.event == "exited" and not record.by_harness and not unsupported:
            self._gauges.restarted(record.cell)

    def _failure(self, judged: Judged, name: str) -> Failure:
        stack, _, profile = name.partition("/")
        touched = judged.touched
        assert touched is not None  # without an answered update nobody is charged
        time_of_day, identity = self.counter.time_of_day, self._identity
        touched_at, missed_at = time_of_day(touched.sent), time_of_day(touched.sent + identity.deadline_seconds)
        return Failure(
            instance=identity.instance,
            cluster=identity.cluster[:200],
            stack=stack[:200],
            profile=profile[:200],
            nonce=judged.nonce,
            resource_version=(touched.resource_version or "")[:200],
            touched_at=touched_at,
            answered_at="" if touched.answered is None else time_of_day(touched.answered),
            visible_at="" if judged.visible_at is None else time_of_day(judged.visible_at),
            missed_at=missed_at,
            deadline_seconds=identity.deadline_seconds,
            reused=judged.reused or "",
            new=judged.new[:200],
            packets=_packets(identity.capture, touched_at, missed_at),
            reason=f"not observed within {identity.deadline_seconds:g} s",
        )


def _packets(capture: str, touched_at: str, missed_at: str) -> str:
    """In which container and file, and at what time; of a ring nobody can say yet in which of its files."""
    if not capture:
        return ""
    return f"{capture}, touched {touched_at}, missed {missed_at}: the first file that was last written after that"
