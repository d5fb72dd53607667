"""From records and judged touches to what has been counted since the portion before. Pure, with bounded state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from watcher.judge.touches import UNSUPPORTED_STATUS, Judged, Late
from watcher.model import Settings
from watcher.records import Entry, IdleTried, Probed, Program, QuietMeasured, SoakStarted
from watcher.totals import MOST_VERSIONS, Keepalive, Totals, Tried, Update, WatcherTotals

LONGEST_STEP_SECONDS = 30.0
"""Between two records of one session; more is a gap in which no supervisor ran, as where the machine slept."""


@dataclass(frozen=True)
class Identity:
    """What does not change while a soak runs."""

    instance: str
    cluster: str
    interval: str
    deadline_seconds: float
    scale: float
    watchers: Mapping[str, tuple[str, str, str, Settings]]
    """By ``stack/profile``: stack, profile, language, the profile's settings in true seconds."""
    capture: str = ""
    """Where the packets are, ``container:file``; empty where nobody keeps them."""


@dataclass
class Counted:
    """Of one watcher, since the portion before."""

    observed: int = 0
    missed: int = 0
    late: int = 0
    after_restart: int = 0
    restarts: int = 0
    reconnects: int = 0
    delay_sum_seconds: float = 0.0
    worst_delay_seconds: float = 0.0
    keepalive: Keepalive | None = None


@dataclass
class Speaks:
    """What a watcher's program said of itself; kept from portion to portion."""

    library: str = ""
    version: str = ""
    runtime: str = ""
    watching: bool = False
    spoke: bool = False
    supported: bool = True


@dataclass
class State:
    """All that is counted and not in a portion yet. Its size is bounded by the number of watchers."""

    counted: dict[str, Counted] = field(default_factory=dict)
    speaks: dict[str, Speaks] = field(default_factory=dict)
    updates: dict[Update, int] = field(default_factory=dict)
    reused: dict[Tried, int] = field(default_factory=dict)
    new_failed: int = 0
    failures_dropped: int = 0
    running_seconds: float = 0.0
    versions: dict[str, list[str]] = field(default_factory=dict)
    began_at: str = ""
    last_at: str = ""
    zero_at: str = ""
    """Wall clock at ``zero``; what turns ``t`` into a time of day."""
    zero: float = 0.0
    last_t: float = 0.0


class Counter:
    """The fold; ``state`` can be saved at any record and gone on with."""

    def __init__(self, identity: Identity, state: State | None = None) -> None:
        self._identity = identity
        self.state = state if state is not None else State()

    def feed(self, record: Entry, decided: Iterable[Judged | Late] = ()) -> None:
        state = self.state
        for each in decided:
            if isinstance(each, Late):
                self._late(each)
            else:
                self._judged(each)
        if isinstance(record, SoakStarted):
            state.zero, state.zero_at, state.last_t = record.t, record.started_at, record.t
            for speaks in state.speaks.values():
                speaks.watching = speaks.spoke = False
        elif record.t > state.last_t:
            if record.t - state.last_t <= LONGEST_STEP_SECONDS:
                state.running_seconds += record.t - state.last_t
            state.last_t = record.t
        match record:
            case Program():
                self._program(record)
            case IdleTried():
                state.reused[record.outcome] = state.reused.get(record.outcome, 0) + 1
            case Probed() if not record.ok:
                state.new_failed += 1
            case QuietMeasured() if record.cell is not None and record.cell in self._identity.watchers:
                self._of(record.cell).keepalive = record.keepalive

    def version(self, name: str, value: str) -> None:
        """One of ``Totals.versions``, as seen now."""
        value = value[:200]
        if value:
            seen = [each for each in self.state.versions.get(name, []) if each != value]
            self.state.versions[name] = [*seen, value][-MOST_VERSIONS:]

    def time_of_day(self, t: float) -> str:
        """ISO 8601 of a record's ``t`` in this session."""
        if not self.state.zero_at:
            return ""
        at = datetime.fromisoformat(self.state.zero_at) + timedelta(seconds=t - self.state.zero)
        return at.isoformat(timespec="milliseconds")

    @property
    def empty(self) -> bool:
        """Nothing worth a portion."""
        state = self.state
        return not (state.updates or state.reused or state.new_failed or state.running_seconds > 0 or state.counted)

    def cut(self) -> Totals:
        """All counted since the last cut; counting begins again at zero."""
        state, identity = self.state, self._identity
        now = self.time_of_day(state.last_t)
        delta = Totals(
            instance=identity.instance,
            cluster=identity.cluster[:200],
            interval=identity.interval[:200],
            deadline_seconds=identity.deadline_seconds,
            scale=identity.scale,
            began_at=state.began_at or state.zero_at,
            last_at=now,
            running_seconds=round(state.running_seconds, 3),
            updates=state.updates,
            reused=state.reused,
            new_failed=state.new_failed,
            failures_dropped=state.failures_dropped,
            versions={name: tuple(values) for name, values in state.versions.items()},
            watchers=tuple(
                self._watcher(name)
                for name in dict.fromkeys((*identity.watchers, *state.counted))
                if state.speaks.get(name, Speaks()).supported
            ),
        )
        self.state = State(
            speaks=state.speaks, zero=state.zero, zero_at=state.zero_at, last_t=state.last_t, began_at=now
        )
        return delta

    def _watcher(self, name: str) -> WatcherTotals:
        stack, _, profile = name.partition("/")
        # One that is not configured any more has been counted before a restart.
        unknown = (stack, profile, "", Settings())
        stack, profile, language, settings = self._identity.watchers.get(name, unknown)
        counted, speaks = self.state.counted.get(name, Counted()), self.state.speaks.get(name, Speaks())
        return WatcherTotals(
            stack=stack,
            profile=profile,
            library=speaks.library,
            version=speaks.version,
            runtime=speaks.runtime,
            language=language,
            settings=settings,
            observed=counted.observed,
            missed=counted.missed,
            late=counted.late,
            after_restart=counted.after_restart,
            restarts=counted.restarts,
            reconnects=counted.reconnects,
            delay_sum_seconds=counted.delay_sum_seconds,
            worst_delay_seconds=counted.worst_delay_seconds,
            keepalive=counted.keepalive,
        )

    def _judged(self, judged: Judged) -> None:
        self.state.updates[judged.update] = self.state.updates.get(judged.update, 0) + 1
        for seen in judged.observed:
            counted = self._of(seen.watcher)
            counted.observed += 1
            counted.after_restart += seen.after_restart
            _delay(counted, seen.delay_seconds)
        for name in judged.missed:
            self._of(name).missed += 1

    def _late(self, late: Late) -> None:
        counted = self._of(late.watcher)
        counted.late += 1
        _delay(counted, late.delay_seconds)

    def _program(self, record: Program) -> None:
        if record.cell is None or record.cell not in self._identity.watchers:
            return
        speaks = self.state.speaks.setdefault(record.cell, Speaks())
        match record.event:
            case "spawned":
                speaks.watching = speaks.spoke = False
            case "started":
                speaks.spoke = True
                speaks.library = (record.library or "")[:200]
                speaks.version = (record.version or "")[:200]
                speaks.runtime = (record.runtime or "")[:200]
            case "watching":
                self._of(record.cell).reconnects += speaks.watching
                speaks.watching = True
            case "exited" if record.status == UNSUPPORTED_STATUS and not speaks.spoke:
                speaks.supported = False
            case "exited" if not record.by_harness:
                self._of(record.cell).restarts += 1

    def _of(self, name: str) -> Counted:
        return self.state.counted.setdefault(name, Counted())


def _delay(counted: Counted, seconds: float) -> None:
    counted.delay_sum_seconds += seconds
    counted.worst_delay_seconds = max(counted.worst_delay_seconds, seconds)
