"""The judge of a soak: one touch at a time, from the stream of the supervisor's records. Pure, with bounded state.

A miss is charged to a watcher only with three witnesses: the update was answered; a GET over a fresh connection found
the nonce within the deadline; at the deadline it was still there. The deadline is counted from the sending of the
update and from its answer; who observes between the two is not counted.

Lines of programs are stamped when the supervisor reads them, so that a supervisor that was held up stamps them late.
Therefore the beat after the deadline is written only once all that waited in the pipes has been read: an observation
before it may have been in time and is not counted either way; one that comes after it is late. A supervisor that was
held up for longer (``stall_seconds``) decides nothing: what stopped it stopped its programs, too.

``feed`` depends on nothing but the records before, so that reading a journal again gives the same words again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from watcher.records import Beat, Entry, IdleTried, Intended, Looked, Probed, Program, SoakEnded, SoakStarted, Touched
from watcher.totals import Tried, Update

UNSUPPORTED_STATUS = 127
MOST_REMEMBERED = 4
"""Of one watcher's misses, for a late observation: a watch that comes back shows the newest value only."""


@dataclass(frozen=True)
class Seen:
    """One watcher observed a touch in time."""

    watcher: str
    delay_seconds: float
    after_restart: bool
    """The supervisor had started its program again since it observed last."""


@dataclass(frozen=True)
class Judged:
    """The word on one touch. Where ``update`` is not ``ok``, nobody has observed and nobody has missed."""

    nonce: str
    update: Update
    reason: str
    at: float
    """``t`` of the record that decided."""
    touched: Touched | None = None
    observed: tuple[Seen, ...] = ()
    missed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    """Observed so near to the deadline that the order cannot be told; neither observed nor missed."""
    visible_at: float | None = None
    reused: Tried | None = None
    new: str = ""
    """What the probe over a fresh connection said at this touch: ``ok`` or its error."""


@dataclass(frozen=True)
class Late:
    """A watcher that was charged with a miss has observed that touch after all."""

    nonce: str
    watcher: str
    delay_seconds: float
    at: float


@dataclass
class Missed:
    nonce: str
    sent: float


@dataclass
class WatcherState:
    takes_part: bool = False
    """It has watched in this session; before that, a touch says nothing of it."""
    supported: bool = True
    spoke: bool = False
    """The running process has said ``started``."""
    died: bool = False
    restarted: bool = False
    missed: list[Missed] = field(default_factory=list)


@dataclass
class OpenTouch:
    nonce: str
    waiting: list[str]
    """Who takes part and has not observed."""
    touched: Touched | None = None
    seen: dict[str, float] = field(default_factory=dict)
    after_restart: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    late: dict[str, float] = field(default_factory=dict)
    beat_after: bool = False
    """A beat came after the deadline: all that was in the pipes by then has been read."""
    stalled: float = 0.0
    """The longest time without any record while it was open, where that was too long."""
    visible_at: float | None = None
    overwritten: bool = False
    reused: Tried | None = None
    new: str = ""


@dataclass
class State:
    """All that the judge keeps. Its size is bounded by the number of watchers."""

    deadline_seconds: float = 0.0
    watchers: dict[str, WatcherState] = field(default_factory=dict)
    open: OpenTouch | None = None
    last_t: float = 0.0
    before: str = ""
    """The nonce of the touch before."""


def stall_seconds(deadline_seconds: float) -> float:
    """Without a record for longer than this while a touch is open, the supervisor itself was held up."""
    return max(1.0, deadline_seconds / 5)


def look_seconds(deadline_seconds: float) -> float:
    """How long after the deadline a GET may still witness that the nonce is there."""
    return max(5.0, deadline_seconds)


class TouchJudge:
    """The fold. Its ``state`` can be saved at any record and gone on with."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state if state is not None else State()

    def feed(self, record: Entry) -> tuple[Judged | Late, ...]:
        """What this record decides; mostly nothing."""
        state = self.state
        if isinstance(record, SoakStarted):
            return self._begin(record)
        self._note_stall(record.t)
        match record:
            case Intended():
                found = tuple(self._interrupt(record.t, "another touch began"))
                state.open = OpenTouch(record.nonce, [n for n, w in state.watchers.items() if w.takes_part])
                return found
            case SoakEnded():
                return tuple(self._interrupt(record.t, "the supervisor was asked to end"))
            case Program():
                return self._program(record)
        touch = state.open
        if touch is None:
            return ()
        match record:
            case Touched() if record.nonce == touch.nonce:
                return tuple(self._touched(touch, record))
            case Looked() if record.nonce == touch.nonce:
                return tuple(self._looked(touch, record))
            case Beat():
                return tuple(self._beat(touch, record))
            case IdleTried() if record.nonce == touch.nonce:
                touch.reused = record.outcome
            case Probed():
                touch.new = "ok" if record.ok else (record.error or "failed")[:200]
        return ()

    def matters(self, record: Entry) -> bool:
        """False for an observation that no word can depend on: neither of the open touch nor of one that was missed."""
        if not isinstance(record, Program) or record.event != "observed":
            return True
        watcher = self.state.watchers.get(record.cell or "")
        if watcher is None or not watcher.takes_part:
            return watcher is not None
        touch = self.state.open
        if touch is not None and record.nonce == touch.nonce:
            return record.cell in touch.waiting and record.cell not in touch.late
        return any(missed.nonce == record.nonce for missed in watcher.missed)

    @property
    def undecided(self) -> bool:
        """A touch is open."""
        return self.state.open is not None

    @property
    def waiting(self) -> tuple[str, ...]:
        """Who has not observed the open touch yet."""
        return () if self.state.open is None else tuple(self.state.open.waiting)

    def _begin(self, started: SoakStarted) -> tuple[Judged | Late, ...]:
        found = tuple(self._interrupt(self.state.last_t, "the supervisor was killed"))
        self.state = State(
            deadline_seconds=started.deadline_seconds,
            watchers={name: WatcherState() for name in started.watchers},
            last_t=started.t,
            before=self.state.before,
        )
        return found

    def _note_stall(self, t: float) -> None:
        state, touch = self.state, self.state.open
        silent = t - state.last_t
        if touch is not None and not touch.beat_after and silent > stall_seconds(state.deadline_seconds):
            touch.stalled = max(touch.stalled, silent)
        state.last_t = max(state.last_t, t)

    def _program(self, record: Program) -> tuple[Judged | Late, ...]:
        watcher = self.state.watchers.get(record.cell or "")
        if watcher is None or record.cell is None:
            return ()
        match record.event:
            case "spawned":
                watcher.spoke = False
                watcher.restarted |= watcher.died
                watcher.died = False
            case "started":
                watcher.spoke = True
            case "watching":
                watcher.takes_part = True
            case "exited" if record.status == UNSUPPORTED_STATUS and not watcher.spoke:
                return tuple(self._unsupported(record.cell, watcher, record.t))
            case "exited":
                watcher.died = not record.by_harness
            case "observed" if record.nonce:
                watcher.takes_part = True
                return tuple(self._observed(record.cell, watcher, record.nonce, record.t))
        return ()

    def _unsupported(self, name: str, watcher: WatcherState, t: float) -> Iterator[Judged | Late]:
        watcher.supported = watcher.takes_part = False
        touch = self.state.open
        if touch is not None and name in touch.waiting:
            touch.waiting.remove(name)
            yield from self._if_all_seen(touch, t)

    def _observed(self, name: str, watcher: WatcherState, nonce: str, t: float) -> Iterator[Judged | Late]:
        touch = self.state.open
        if touch is None or nonce != touch.nonce:
            for missed in watcher.missed:
                if missed.nonce == nonce:
                    watcher.missed.remove(missed)
                    yield Late(nonce, name, t - missed.sent, t)
                    return
            return
        if name not in touch.waiting:
            return
        if touch.beat_after:
            touch.late.setdefault(name, t)
            return
        if touch.touched is not None and t < touch.touched.sent:
            return  # nobody can have seen what was not sent
        touch.waiting.remove(name)
        touch.seen[name] = t
        if watcher.restarted:
            watcher.restarted = False
            touch.after_restart.append(name)
        yield from self._if_all_seen(touch, t)

    def _touched(self, touch: OpenTouch, record: Touched) -> Iterator[Judged | Late]:
        touch.touched = record
        for name in [name for name, t in touch.seen.items() if t < record.sent]:
            del touch.seen[name]
            touch.waiting.append(name)
        word = update_of(record, self.state.deadline_seconds)
        if word is not Update.OK:
            yield self._close(touch, word, record.t, record.error or f"answered after {record.t - record.sent:.1f} s")
            return
        yield from self._if_all_seen(touch, record.t)

    def _if_all_seen(self, touch: OpenTouch, t: float) -> Iterator[Judged | Late]:
        """The touch is over for all, and nothing is left to look for. Undecided ones wait for no witness either."""
        if touch.touched is not None and not touch.waiting:
            yield from self._decide(touch, t, "all observed")

    def _beat(self, touch: OpenTouch, beat: Beat) -> Iterator[Judged | Late]:
        deadline = self._deadline(touch)
        if deadline is None or beat.t <= deadline:
            return
        touch.beat_after = True
        if touch.stalled:
            yield self._close(touch, Update.INTERRUPTED, beat.t, _held_up(touch))
        elif beat.t > deadline + look_seconds(self.state.deadline_seconds):
            yield self._close(touch, Update.NOT_VISIBLE, beat.t, "nobody answered whether it is still there")

    def _looked(self, touch: OpenTouch, look: Looked) -> Iterator[Judged | Late]:
        if look.found is None or touch.touched is None:
            return
        deadline = self._deadline(touch)
        assert deadline is not None
        if look.found == look.nonce:
            if touch.visible_at is None and look.t <= touch.touched.sent + self.state.deadline_seconds:
                touch.visible_at = look.t
        elif touch.visible_at is not None or look.found != self.state.before:
            touch.overwritten = True
        if not touch.beat_after:
            return
        if touch.overwritten:
            yield self._close(touch, Update.OVERWRITTEN, look.t, "another touch replaced it before all had observed it")
        elif touch.visible_at is None:
            yield self._close(touch, Update.NOT_VISIBLE, look.t, "no GET over a fresh connection saw it in time")
        else:
            yield from self._decide(touch, look.t, "visible, and still there at the deadline")

    def _deadline(self, touch: OpenTouch) -> float | None:
        """The later of the two; None before the update was answered."""
        if touch.touched is None or touch.touched.answered is None:
            return None
        return touch.touched.answered + self.state.deadline_seconds

    def _decide(self, touch: OpenTouch, t: float, reason: str) -> Iterator[Judged | Late]:
        assert touch.touched is not None
        sent = touch.touched.sent
        for name in [name for name, at in touch.seen.items() if at > sent + self.state.deadline_seconds]:
            touch.undecided.append(name)
            del touch.seen[name]
        missed = tuple(touch.waiting)
        late = [Late(touch.nonce, name, at - sent, at) for name, at in touch.late.items()]
        if touch.undecided and not touch.seen and not missed:
            if touch.stalled:
                yield self._close(touch, Update.INTERRUPTED, t, _held_up(touch))
            else:
                yield self._close(touch, Update.SLOW, t, "whether it was observed in time cannot be told")
            return
        yield self._close(touch, Update.OK, t, reason, missed=missed)
        late_names = {each.watcher for each in late}
        for name in missed:
            if name not in late_names:
                remembered = self.state.watchers[name].missed
                remembered.append(Missed(touch.nonce, sent))
                del remembered[:-MOST_REMEMBERED]
        yield from late

    def _interrupt(self, t: float, reason: str) -> Iterator[Judged | Late]:
        if self.state.open is not None:
            yield self._close(self.state.open, Update.INTERRUPTED, t, reason)

    def _close(
        self, touch: OpenTouch, update: Update, t: float, reason: str, *, missed: tuple[str, ...] = ()
    ) -> Judged:
        self.state.open = None
        self.state.before = touch.nonce
        observed: tuple[Seen, ...] = ()
        if update is Update.OK:
            assert touch.touched is not None
            sent = touch.touched.sent
            observed = tuple(Seen(n, at - sent, n in touch.after_restart) for n, at in touch.seen.items())
        counted = {each.watcher for each in observed}
        for name in touch.after_restart:
            if name not in counted:
                self.state.watchers[name].restarted = True  # what was not counted has not used it up
        return Judged(
            nonce=touch.nonce,
            update=update,
            reason=reason,
            at=t,
            touched=touch.touched,
            observed=observed,
            missed=missed,
            undecided=tuple(touch.undecided),
            visible_at=touch.visible_at,
            reused=touch.reused,
            new=touch.new,
        )


def _held_up(touch: OpenTouch) -> str:
    return f"the supervisor itself was held up for {touch.stalled:.1f} s"


Answered = Literal[Update.OK, Update.AWAY, Update.DENIED, Update.CONFLICT, Update.REFUSED, Update.SLOW]


def update_of(touched: Touched, deadline_seconds: float) -> Answered:
    """What the update's own answer says, before anybody's observation of it."""
    if touched.status is None or touched.answered is None:
        return Update.AWAY
    if touched.status in (401, 403):
        return Update.DENIED
    if touched.status == 409:
        return Update.CONFLICT
    if not 200 <= touched.status < 300:
        return Update.REFUSED
    return Update.SLOW if touched.answered - touched.sent >= deadline_seconds else Update.OK
