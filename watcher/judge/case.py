"""A closed cell as the proofs and the verdict look at it: times, the client's flows, and which of them expired."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from watcher.judge import flows
from watcher.judge.facts import CellFacts
from watcher.judge.flows import JITTER_SECONDS, Flow, Seen
from watcher.model import CellPlan, Ending, Touch
from watcher.records import Conntrack, Direction, Fault, Probed, ProbedTo, Settled, Touched

SILENCE_TOLERANCE_SECONDS = 0.05
"""A flow's silence may fall this short of the idle timeout: conntrack counts in jiffies, captures jitter."""

ASK_SLACK_SECONDS = 2.0
"""Real time: by so much a question may come after its time, on a busy machine or by a clock of the library's own."""

STILL_HELD = frozenset({"ESTABLISHED", "CLOSE_WAIT"})
"""States of a socket that its program has not given up, whatever its kernel was told."""

UNRECORDED_HEAL_SECONDS = 0.5
"""So long before a closing cell's last look its fault is undone, where the client's end has left no other record."""

PROBE_SLACK_SECONDS = 1.0
"""A flow from the probe's port is its own if it began this close to it: the port may be an old one of the client."""

ALIVE_STATES = frozenset({"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYN_SENT2"})
"""Conntrack states of a flow that can carry data, or soon will."""


class Incomplete(Exception):
    """A record without which the cell cannot be judged is missing."""


@dataclass(frozen=True)
class Expired:
    """A flow that the path forgot: silent since ``since`` for the whole idle timeout, which was over at ``at``."""

    flow: Flow
    since: float
    at: float


class Case:
    """Everything derived from the facts of one cell. Properties raise Incomplete where a record is missing."""

    def __init__(self, facts: CellFacts, closed: float) -> None:
        self.facts = facts
        self.closed = closed

    @property
    def plan(self) -> CellPlan:
        return self.facts.plan

    @cached_property
    def control(self) -> Touched:
        return self._needed(self.facts.touch(Touch.CONTROL), "the control touch")

    @cached_property
    def touch(self) -> Touched:
        return self._needed(self.facts.touch(Touch.TOUCH), "the touch")

    @cached_property
    def touches(self) -> tuple[Touched, ...]:
        """The busy ones in order of their sending, and then the touch."""
        busy = [touched for touched in self.facts.touches if touched.role is Touch.BUSY]
        return (*sorted(busy, key=lambda touched: touched.sent), self.touch)

    @cached_property
    def settled(self) -> Settled:
        if self.facts.settled is None:
            raise Incomplete("the end of the control touch (L0) was not recorded")
        return self.facts.settled

    @property
    def l0(self) -> float:
        return self.settled.l0

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The client's flows; the probe's own are left out."""
        return tuple(flow for flow in self._every_flow if not self._is_probe(flow))

    @cached_property
    def _every_flow(self) -> tuple[Flow, ...]:
        return flows.flows(self.facts.packets)

    @cached_property
    def every_packet(self) -> tuple[Seen, ...]:
        """All that travelled between the client's machine and anybody: the client's flows, the probes', others."""
        return tuple(flows.travelled(self.facts.packets))

    @cached_property
    def astray(self) -> tuple[Seen, ...]:
        """Packets between the client and an address that it did not connect to, such as the server's own.

        Probes of the server itself connect to that address: theirs are left out.
        """
        direct = [probe for probe in self.facts.probes if probe.to == "server"]
        sightings = [
            sight for sight in self.facts.packets if not any(_is_of(probe, sight.port, sight.t) for probe in direct)
        ]
        return tuple(packet for packet in flows.travelled(sightings) if packet.peer is not None)

    @cached_property
    def watch(self) -> Flow | None:
        """The flow that carried the control touch."""
        candidates = [flow for flow in self.flows if flow.port == self.settled.port]
        return max(
            (flow for flow in candidates if flow.first <= self.l0 + JITTER_SECONDS),
            key=lambda flow: flow.first,
            default=None,
        )

    @cached_property
    def applied(self) -> Fault | None:
        """The last time the lab applied a fault; that it says so proves nothing."""
        return max((f for f in self.facts.faults if f.action == "apply"), key=lambda f: f.t, default=None)

    @cached_property
    def healed(self) -> float:
        """When the fault was undone; the end of the cell if never."""
        after = self.applied.t if self.applied is not None else self.closed
        return min((f.t for f in self.facts.faults if f.action == "heal" and f.t >= after), default=self.closed)

    @cached_property
    def struck(self) -> float:
        """Before this the fault cannot have done anything to a flow: its record is written when it is in force, and
        one that is begun earlier, since it takes a while, only leads new connections elsewhere at first."""
        if self.applied is None:
            return self.closed
        return min(self.applied.t, self.l0 + self.plan.timing.fault_after_seconds)

    @cached_property
    def healing(self) -> float:
        """Before this nobody undid the fault in the course of the cell: a healing is recorded when it is over."""
        if self.applied is None or self.plan.timing.fault_seconds is None:
            return self.healed
        return min(self.healed, self.applied.t + self.plan.timing.fault_seconds)

    @cached_property
    def in_force_until(self) -> float:
        """As ``healing``, and before the clean-up of a closing cell, which undoes faults with or without a record."""
        times = [self.healing]
        if "close" in self.facts.sockets:
            times.append(self.facts.sockets["close"].t)
        elif "close" in self.facts.conntrack:
            times.append(self.facts.conntrack["close"].t - UNRECORDED_HEAL_SECONDS)
        return min(times)

    def in_force(self, t: float) -> bool:
        """Whether the fault was certainly in force then; False without one."""
        return self.applied is not None and self.applied.t + JITTER_SECONDS < t < self.in_force_until - JITTER_SECONDS

    @cached_property
    def cut(self) -> tuple[Flow, ...]:
        """The flows that the applied fault names and packets show established by then."""
        if self.applied is None:
            return ()
        ports, by = {flow.port for flow in self.applied.flows}, self.applied.t
        latest = {flow.port: flow for flow in self.flows if flow.port in ports and flow.first <= by}
        return tuple(flow for flow in latest.values() if flow.established is not None and flow.established <= by)

    @property
    def counts_data(self) -> bool:
        """The path ends what carries no data: a proxy passes that on and knows nothing of the packets beneath it."""
        return self.plan.ending is Ending.CLOSE

    @cached_property
    def expired(self) -> tuple[Expired, ...]:
        """Established flows that were silent on both links for the idle timeout before the touch, first one first."""
        idle = self.plan.timing.idle_timeout_seconds
        if idle is None:
            return ()
        found = []
        for flow in self.flows:
            if flow.established is None or flow.established > self.touch.sent:
                continue
            since = flow.silent_since(idle - SILENCE_TOLERANCE_SECONDS, self.touch.sent, data_only=self.counts_data)
            if since is not None:
                found.append(Expired(flow, since, since + idle))
        return tuple(sorted(found, key=lambda expired: expired.at))

    @cached_property
    def undisturbed(self) -> float:
        """Until when packets show the client's own habits: to the first fault, or to the touch."""
        times = [self.touch.sent, *(expired.at for expired in self.expired)]
        if self.applied is not None:
            times.append(self.applied.t)
        return min(times)

    @property
    def watch_expired(self) -> bool:
        """An expired flow may have carried the watch: it is the watch's own, or was last used after that one's end."""
        if self.watch is None:
            return False
        end = self.watch.client_end()
        return any(
            expired.flow is self.watch or (end is not None and expired.since >= end.t - JITTER_SECONDS)
            for expired in self.expired
        )

    @cached_property
    def open_at_touch(self) -> tuple[Flow, ...]:
        """Established client connections that, as far as the client can know, exist when the touch is sent."""
        return tuple(flow for flow in self.flows if flow.open_at(self.touch.sent))

    def longest_silence(self) -> float:
        """Of the connections open at the touch, from L0 (or their own begin) to the touch."""
        return max(
            (
                end - begin
                for flow in self.open_at_touch
                for begin, end in flow.silences(max(self.l0, flow.first), self.touch.sent)
            ),
            default=0.0,
        )

    @property
    def conntrack(self) -> Conntrack | None:
        """What the path's kernel knew just before the touch."""
        return self.facts.conntrack.get("touch")

    def conntrack_state(self, flow: Flow) -> str | None:
        """The flow's state at the touch; None where the kernel had no entry. Raises Incomplete without a record."""
        if self.conntrack is None:
            raise Incomplete("conntrack at the touch was not recorded")
        if any(other.port == flow.port and flow.first < other.first <= self.conntrack.t for other in self.flows):
            return None  # an entry of this port belongs to a later connection
        return next((entry.state for entry in self.conntrack.flows if entry.port == flow.port), None)

    def known_alive(self, flow: Flow) -> bool:
        """The path has an entry for the flow, or the flow began only after the kernel was asked."""
        if self.conntrack is not None and flow.first > self.conntrack.t - JITTER_SECONDS:
            return True
        return self.conntrack_state(flow) in ALIVE_STATES

    def path_resets(self, direction: Direction, until: float) -> list[tuple[Flow, Seen]]:
        """Resets that the path itself made, towards one side."""
        return [
            (flow, packet)
            for flow in self.flows
            for packet in flow.packets
            if packet.direction == direction and packet.sender == "path" and "R" in packet.flags and packet.t <= until
        ]

    @property
    def asks(self) -> bool:
        """The client asks now and then, instead of being told."""
        return self.plan.timing.ask_after_seconds is not None

    def delayed_since(self, touched: Touched) -> float:
        """From when on the client is late: it could know of the touch, and had asked where that is its way.

        That it asked is the program's own word, so it counts from when it was to ask, whatever it says later.
        """
        after = self.plan.timing.ask_after_seconds
        asked = min((t for t in self.facts.asked if t >= touched.sent), default=None)
        if after is None or asked is None:
            return touched.sent
        return min(asked, max(touched.sent, self.l0 + after + ASK_SLACK_SECONDS))

    @cached_property
    def held_at_last(self) -> frozenset[int] | None:
        """Ports of the connections that the program still held at the harness's last look; None where it took none."""
        looked = self.facts.sockets.get("close")
        return None if looked is None else frozenset(each.port for each in looked.sockets if each.state in STILL_HELD)

    @cached_property
    def window_opens(self) -> float:
        """As ``delayed_since``; of a client that never asked again, when it should have."""
        asked = self.delayed_since(self.touch)
        after = self.plan.timing.ask_after_seconds
        return asked if after is None or asked > self.touch.sent else max(asked, self.l0 + after)

    def questions(self, flow: Flow) -> list[Seen]:
        """The client's data on a flow from the touch on, where it asks."""
        since = self.touch.sent - JITTER_SECONDS
        return [p for p in flow.packets if self.asks and p.t >= since and p.direction == "to-server" and p.length > 1]

    def payload_to_client(self, flow: Flow) -> list[Seen]:
        """What the server sent on a flow from the touch on."""
        since = self.touch.sent - JITTER_SECONDS
        return [
            p for p in flow.packets if p.t >= since and p.direction == "to-client" and p.length and p.sender == "server"
        ]

    def probes_at_touch(self, to: ProbedTo) -> list[Probed]:
        """Fresh connections that were tried at the touch or later, when a fault that is healed had been healed."""
        since = self.touch.sent - PROBE_SLACK_SECONDS
        if self.healed < self.touch.sent:
            since = max(since, self.healed)
        return [probe for probe in self.facts.probes if probe.to == to and probe.t - probe.seconds >= since]

    @cached_property
    def probes_in_force(self) -> tuple[Probed, ...]:
        """Fresh connections through the path that were tried while the fault lasted, in order of time."""
        tried = [
            probe for probe in self.facts.probes if probe.to == "virtual" and self.in_force(probe.t - probe.seconds)
        ]
        return tuple(sorted(tried, key=lambda probe: probe.t))

    def probe_flow(self, probe: Probed) -> Flow | None:
        """The probe's own connection through the path; None where it had none."""
        return next((flow for flow in self._every_flow if _is_of(probe, flow.port, flow.first)), None)

    def after_l0(self, t: float) -> float:
        return round(t - self.l0, 3)

    def _is_probe(self, flow: Flow) -> bool:
        return any(_is_of(probe, flow.port, flow.first) for probe in self.facts.probes)

    @staticmethod
    def _needed(touched: Touched | None, what: str) -> Touched:
        if touched is None:
            raise Incomplete(f"{what} was not recorded")
        return touched


def _is_of(probe: Probed, port: int, t: float) -> bool:
    """Whether what this port began, or did, at that time is the probe's doing."""
    begins = probe.t - probe.seconds - PROBE_SLACK_SECONDS
    return probe.port == port and begins <= t <= probe.t + PROBE_SLACK_SECONDS
