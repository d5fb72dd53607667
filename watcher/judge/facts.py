"""What the judge remembers of one open cell: bounded, and independent of the order in which records arrive.

Two sources (a program's output, a capture) reach the journal independently, so within one attempt nothing here depends
on which record came first, only on its ``t``.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from watcher.model import CellPlan, Touch
from watcher.records import (
    Conntrack,
    Counters,
    Direction,
    Dropped,
    FailureWritten,
    Fault,
    LabError,
    Link,
    Packet,
    PathAction,
    Probed,
    ProcessState,
    Program,
    Record,
    Settled,
    Sockets,
    Sysctls,
    Touched,
    Unserved,
)

MAX_PACKETS = 20_000
"""Sightings per cell. A quiet watch needs a few hundred; beyond this nothing is proven, and memory stays bounded."""

MAX_NONCES = 5_000
"""Different nonces remembered per cell; a program that prints more loses its oldest guesses."""

MAX_SAME = 32
"""Arrivals remembered per nonce, and rare records (faults, probes) remembered per kind."""

MAX_TOUCHES = 1_000
"""Busy ones that are remembered per cell: a scenario has 90 of them in three minutes. With more nothing is judged."""

MAX_ASKED = 2_000
"""Of a program that asks, the latest times."""

MAX_TEXT = 500
"""Characters kept of a message that a program or the lab wrote."""

Rare = TypeVar("Rare", Touched, Fault, PathAction, Probed, FailureWritten)
Momentary = TypeVar("Momentary", Conntrack, Counters, Sockets, ProcessState)


class Sighting(NamedTuple):
    """One packet on one link."""

    t: float
    link: Link
    direction: Direction
    port: int
    flags: str
    seq: int
    ack: int
    length: int
    peer: str | None = None
    """The other end's address where it is not the one that the client connected to; known on the client's link."""
    server: str | None = None
    """The server's where it is not the one that the path led to at first; known on the server's link."""


class Event(NamedTuple):
    """A program event that may come many times: how often, first and last time, and what the last one said."""

    times: int
    first: float
    last: float
    message: str | None


class CellFacts:
    """The records of one attempt at a cell, reduced to what a verdict can need."""

    def __init__(self, plan: CellPlan) -> None:
        self.plan = plan
        self.packets: list[Sighting] = []
        self.too_many_packets = False
        self.touches: list[Touched] = []
        self.too_many_touches = False
        self.settled: Settled | None = None
        self.faults: list[Fault] = []
        self.path_actions: list[PathAction] = []
        self.probes: list[Probed] = []
        self.conntrack: dict[str, Conntrack] = {}
        self.counters: dict[str, Counters] = {}
        self.sockets: dict[str, Sockets] = {}
        self.server_sockets: dict[str, Sockets] = {}
        self.process: dict[str, ProcessState] = {}
        self.failures: list[FailureWritten] = []
        self.troubles: set[str] = set()
        """What the lab itself got wrong; any makes the cell invalid."""
        self.unserved: set[str] = set()
        self.lost_packets = 0
        self.started: Program | None = None
        self.exited: Program | None = None
        self.violation: Program | None = None
        self.events: dict[str, Event] = {}
        self.asked: list[float] = []
        """When the program asked, lately."""
        self.arrivals: dict[str, list[float]] = {}
        self.forgotten_nonces = 0

    def take(self, record: Record) -> None:
        """Remember what matters of one record of this cell, or of the run where it concerns every open cell."""
        match record:
            case Packet():
                self._packet(record)
            case Program():
                self._program(record)
            case Touched():
                self._touched(record)
            case Settled():
                if self.settled is None or record.t >= self.settled.t:
                    self.settled = record
            case Fault():
                _keep(self.faults, record)
            case PathAction():
                _keep(self.path_actions, record)
            case Probed():
                _keep(self.probes, record)
            case FailureWritten():
                _keep(self.failures, record)
            case Conntrack():
                _keep_latest(self.conntrack, record)
            case Counters():
                _keep_latest(self.counters, record)
            case Sockets(side="server"):
                _keep_latest(self.server_sockets, record)
            case Sockets():
                _keep_latest(self.sockets, record)
            case ProcessState():
                _keep_latest(self.process, record)
            case Sysctls() if record.wrong:
                wrong = ", ".join(f"{name} is {value}" for name, value in sorted(record.wrong.items()))
                self._trouble(f"sysctls had changed at {record.moment}: {wrong}")
            case LabError():
                self._trouble(record.message)
            case Dropped():
                self.lost_packets += record.packets
            case Unserved() if len(self.unserved) < MAX_SAME:
                self.unserved.add(record.what[:MAX_TEXT])
            case _:
                pass

    def touch(self, role: Touch) -> Touched | None:
        """The last touch of that role; it overwrote the earlier ones in the trigger."""
        return max((touch for touch in self.touches if touch.role is role), key=lambda touch: touch.sent, default=None)

    def observed(self, touch: Touched) -> float | None:
        """When the program first printed this touch's nonce; what came before it was sent does not count."""
        return min((t for t in self.arrivals.get(touch.nonce, ()) if t >= touch.sent), default=None)

    def foretold(self, touch: Touched) -> int:
        """How often the program printed this nonce before it was sent: impossible for an honest one."""
        return sum(t < touch.sent for t in self.arrivals.get(touch.nonce, ()))

    def other_nonces(self) -> int:
        """How many nonces the program printed that no touch had."""
        touched = {touch.nonce for touch in self.touches}
        return self.forgotten_nonces + sum(nonce not in touched for nonce in self.arrivals)

    def _touched(self, record: Touched) -> None:
        """However many are busy, there is room for the control touch and the last one."""
        busy = sum(touched.role is Touch.BUSY for touched in self.touches)
        if record.role is not Touch.BUSY:
            _keep(self.touches, record, MAX_TOUCHES + MAX_SAME)
        elif busy < MAX_TOUCHES:
            self.touches.append(record)
        else:
            self.too_many_touches = True

    def _packet(self, record: Packet) -> None:
        if len(self.packets) >= MAX_PACKETS:
            self.too_many_packets = True
            return
        seen = (record.t, record.link, record.direction, record.port, record.flags, record.seq, record.ack)
        self.packets.append(Sighting(*seen, record.length, record.peer, record.server))

    def _program(self, record: Program) -> None:
        message = record.message and record.message[:MAX_TEXT]
        before = self.events.get(record.event, Event(0, record.t, record.t, message))
        if record.t < before.last:
            message = before.message
        first, last = min(before.first, record.t), max(before.last, record.t)
        self.events[record.event] = Event(before.times + 1, first, last, message)
        if record.event == "started" and (self.started is None or record.t < self.started.t):
            self.started = record
        elif record.event == "violation" and (self.violation is None or record.t < self.violation.t):
            self.violation = record
        elif record.event == "exited" and (self.exited is None or record.t < self.exited.t):
            self.exited = record
        elif record.event == "asked":
            self.asked = [*self.asked, record.t][-MAX_ASKED:]
        elif record.event == "observed" and record.nonce is not None:
            self._arrival(record.nonce[:MAX_TEXT], record.t)

    def _arrival(self, nonce: str, t: float) -> None:
        times = self.arrivals.setdefault(nonce, [])
        if len(times) < MAX_SAME:
            times.append(t)
        elif t < max(times):
            # Keeps the earliest ones, whatever the order of arrival.
            times.remove(max(times))
            times.append(t)
        if len(self.arrivals) > MAX_NONCES:
            touched = {touch.nonce for touch in self.touches}
            del self.arrivals[next(known for known in self.arrivals if known not in touched)]
            self.forgotten_nonces += 1

    def _trouble(self, message: str) -> None:
        if len(self.troubles) < MAX_SAME:
            self.troubles.add(message[:MAX_TEXT])


def _keep(kept: list[Rare], record: Rare, most: int = MAX_SAME) -> None:
    if len(kept) < most:
        kept.append(record)


def _keep_latest(kept: dict[str, Momentary], record: Momentary) -> None:
    before = kept.get(record.moment)
    if before is None or record.t >= before.t:
        kept[record.moment] = record
