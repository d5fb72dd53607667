"""Journals made by hand: a client, a path and a server that exchange packets as real ones do, in virtual time.

``Stage`` writes the records of one cell. Its path remembers flows like conntrack: forgets a silent one after the idle
timeout and then drops, or answers, or resets, as the path in question would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from watcher.model import (
    CellId,
    CellPlan,
    Control,
    Ending,
    Evidence,
    ScenarioResult,
    ServerKeepalive,
    Settings,
    StackResult,
    Timing,
    Touch,
)
from watcher.records import (
    Began,
    Closed,
    Conntrack,
    Counters,
    Direction,
    Fault,
    FlowKey,
    Link,
    Packet,
    PathAction,
    Planned,
    Probed,
    ProcessState,
    Program,
    Record,
    RunEnded,
    RunStarted,
    Settled,
    Touched,
)

START = 1_000.0
HOP = 0.0002
SERVER_ISN = 4_294_967_000  # wraps within the first kilobyte
CLIENT_ISN = 7_000
SERVER = "192.0.2.1:6443"
"""Where the path leads at first."""

Side = Literal["client", "server"]

PROOFS = {
    "control": Evidence(before=("no-fault",), after=("delivered-on-established-flow",)),
    "azure-slb": Evidence(
        before=("idle-expired", "reset-to-client", "reset-to-server"), after=("new-connections-work",)
    ),
    "azure-slb-reset-lost": Evidence(
        before=("idle-expired", "reset-to-server", "no-reset-to-client"), after=("new-connections-work",)
    ),
    "azure-slb-silent": Evidence(
        before=("idle-expired", "no-reset-to-client"), after=("event-not-forwarded", "new-connections-work")
    ),
    "aws-nlb": Evidence(
        before=("idle-expired", "no-reset-to-client"), after=("server-reset-on-next-packet", "new-connections-work")
    ),
    "gcp-vpc": Evidence(
        before=("idle-expired", "no-reset-to-client"), after=("event-not-forwarded", "new-connections-work")
    ),
    "blackhole": Evidence(before=("flow-cut",), after=("new-connections-work",)),
}
PATHS: dict[str, tuple[float | None, Ending, float]] = {
    "control": (None, Ending.NEVER, 0.0),
    "azure-slb": (240.0, Ending.RESET_BOTH, 22.6),
    "azure-slb-reset-lost": (240.0, Ending.RESET_SERVER, 22.6),
    "azure-slb-silent": (240.0, Ending.SILENT, 0.0),
    "aws-nlb": (350.0, Ending.RESET_ON_NEXT_PACKET, 0.0),
    "gcp-vpc": (600.0, Ending.SILENT, 0.0),
    "blackhole": (None, Ending.NEVER, 0.0),
}
FAULTS = {"control": "none", "blackhole": "blackhole"}


def plan(scenario: str, settings: Settings | None = None, **changes: Any) -> CellPlan:
    """A plan in true time, as the planner makes it. ``changes`` replace fields, those of Timing too."""
    idle, ending, end_delay = PATHS[scenario]
    keepalive = changes.pop("server_keepalive_idle_seconds", None)
    timing: dict[str, Any] = {
        "scale": 1.0,
        "idle_timeout_seconds": idle,
        "end_delay_seconds": end_delay,
        "gap_seconds": 30.0,
        "quiet_seconds": 150.0 if scenario == "control" else None,
        "window_seconds": 120.0,
        "deadline_seconds": 10.0,
        "scaled_deadline_seconds": 10.0,
        "fault_after_seconds": 2.0,
        "server_keepalive_idle_seconds": keepalive,
        "fault_seconds": None,
        "busy_interval_seconds": None,
        "ask_after_seconds": None,
    }
    timing |= {name: changes.pop(name) for name in list(changes) if name in timing}
    stack, profile = changes.pop("stack", "python"), changes.pop("profile", "default")
    fields: dict[str, Any] = {
        "id": CellId(stack=stack, profile=profile, scenario=scenario, repeat=changes.pop("repeat", 1)),
        "path": "direct" if idle is None else scenario,
        "ending": ending,
        "server_keepalive": ServerKeepalive.OFF if keepalive is None else ServerKeepalive.THREE_MINUTES,
        "fault": FAULTS.get(scenario, "idle-expiry"),
        "asked": settings or Settings(),
        "effective": settings or Settings(),
        "timing": Timing(**timing),
        "proof": PROOFS[scenario],
        "memory_mib": 40,
    }
    return CellPlan(**{**fields, **changes})


@dataclass
class Connection:
    """One TCP connection, from both kernels' view and the path's."""

    port: int
    sent: dict[Side, int] = field(default_factory=lambda: {"client": CLIENT_ISN, "server": SERVER_ISN})
    got: dict[Side, int] = field(default_factory=lambda: {"client": 0, "server": 0})
    refreshed: float = float("-inf")
    forgotten: bool = False
    cut: frozenset[Side] = frozenset()
    """Whose packets the path drops."""
    over: dict[Side, bool] = field(default_factory=lambda: {"client": False, "server": False})
    state: str = "ESTABLISHED"


class Stage:
    """Writes one cell's records. Times given to its methods are seconds after L0."""

    def __init__(self, cell: CellPlan, *, l0: float = START) -> None:
        self.plan = cell
        self.cell = str(cell.id)
        self.l0 = l0
        self.records: list[Record] = []
        self.connections: list[Connection] = []
        self.answers = True
        """Whether the path resets what it forgot, where its ending says so."""
        self.forgets = True
        """Whether the path forgets at all: False is a fault that was switched off."""
        self.stopped: dict[Side, int] = {"client": 0, "server": 0}
        """Packets of each side that a fault's rules dropped."""
        self.dark = False
        """Whether the path drops everything."""
        self._ports = 40_000

    # -- packets ------------------------------------------------------------------------------------------------

    def at(self, t: float) -> float:
        return self.l0 + t

    def send(self, flow: Connection, t: float, side: Side, flags: str, length: int = 0, *, back: int = 0) -> bool:
        """One packet; True if it arrived. ``back`` repeats older sequence numbers, as a keepalive probe does."""
        other: Side = "server" if side == "client" else "client"
        self._age(flow, t)
        seq = (flow.sent[side] - back) % 2**32
        self._packet(t, side, _towards(side), flow.port, flags, seq, flow.got[side], length)
        if not back:
            flow.sent[side] = (seq + length + ("S" in flags) + ("F" in flags)) % 2**32
        if self.dark or side in flow.cut:
            self.stopped[side] += 1
            return False
        if flow.forgotten:
            if self.plan.ending is Ending.RESET_ON_NEXT_PACKET and self.answers:
                self.path_reset(flow, t + HOP, side, seq=flow.got[side])
            return False
        flow.refreshed = t
        self._packet(t + HOP, other, _towards(side), flow.port, flags, seq, flow.got[side], length)
        flow.got[other] = flow.sent[side]
        if "R" in flags:
            flow.state = "CLOSE"
        elif "F" in flags:
            flow.state = "TIME_WAIT"
        if "R" in flags or "F" in flags:
            flow.over = {"client": True, "server": True}
        return True

    def open(self, t: float, *, port: int | None = None) -> Connection:
        """Handshake, TLS in short, and a watch request with its answer."""
        self._ports += 1
        flow = Connection(port or self._ports)
        flow.sent["client"] += 100_000 * len(self.connections)
        self.connections.append(flow)
        self.send(flow, t, "client", "S")
        self.send(flow, t + 0.001, "server", "SA")
        self.send(flow, t + 0.002, "client", "A")
        self.say(flow, t + 0.003, "client", 517)
        self.say(flow, t + 0.005, "server", 1_400)
        return flow

    def say(self, flow: Connection, t: float, side: Side, length: int = 200) -> bool:
        """Data and its acknowledgement."""
        arrived = self.send(flow, t, side, "PA", length)
        if arrived:
            self.send(flow, t + 0.0005, "server" if side == "client" else "client", "A")
        return arrived

    def probe_alive(self, flow: Connection, t: float, side: Side) -> bool:
        """A TCP keepalive probe, and its answer if it got through."""
        arrived = self.send(flow, t, side, "A", back=1)
        if arrived:
            self.send(flow, t + 0.0005, "server" if side == "client" else "client", "A")
        return arrived

    def close(self, flow: Connection, t: float, side: Side = "client", flags: str = "FA") -> None:
        self.send(flow, t, side, flags)
        flow.over[side] = True

    def path_reset(self, flow: Connection, t: float, side: Side, *, seq: int | None = None, off: int = 0) -> None:
        """The path's own RST, on one link only. ``off`` makes its sequence number wrong."""
        number = (flow.got[side] if seq is None else seq) + off
        self._packet(t, side, "to-client" if side == "client" else "to-server", flow.port, "R", number % 2**32, 0, 0)
        flow.over[side] = True

    def expire(self, t: float) -> None:
        """What a path that resets of its own accord does with each flow that has been idle by then."""
        idle = self.plan.timing.idle_timeout_seconds
        if idle is None or not self.answers or self.plan.ending not in (Ending.RESET_BOTH, Ending.RESET_SERVER):
            return
        for flow in self.connections:
            self._age(flow, t)
            due = flow.refreshed + idle + self.plan.timing.end_delay_seconds
            if flow.forgotten and due <= t and not flow.over["server"] and flow.state == "ESTABLISHED":
                self.path_reset(flow, due, "server")
                self.add(PathAction(t=self.at(due), cell=self.cell, action="reset-server", port=flow.port))
                if self.plan.ending is Ending.RESET_BOTH:
                    self.path_reset(flow, due + 0.001, "client")

    def _age(self, flow: Connection, t: float) -> None:
        idle = self.plan.timing.idle_timeout_seconds
        if idle is not None and self.forgets and idle <= t - flow.refreshed < float("inf"):
            flow.forgotten = True

    def _packet(
        self, t: float, link: Link, towards: Direction, port: int, flags: str, seq: int, ack: int, length: int
    ) -> None:
        if self.plan.control is Control.PERFECT:
            return
        self.add(
            Packet(
                t=self.at(t),
                cell=self.cell,
                link=link,
                direction=towards,
                port=port,
                flags=flags,
                seq=seq,
                ack=ack,
                length=length,
            )
        )

    # -- other records ------------------------------------------------------------------------------------------

    def add(self, *records: Record) -> None:
        self.records += records

    def program(self, t: float, event: Any, **fields: Any) -> None:
        self.add(Program(t=self.at(t), cell=self.cell, event=event, **fields))

    def begin(self) -> Connection:
        """Up to L0: the program watches and sees the control touch."""
        self.add(Began(t=self.at(-2), cell=self.cell))
        self.program(-1.9, "spawned")
        self.program(-1.2, "started", library="lib", version="1.0", runtime="3.11", settings={})
        flow = self.open(-1.0)
        self.program(-0.9, "watching")
        self.touched(Touch.CONTROL, -0.01)
        self.say(flow, -0.0005, "server")
        self.program(0.001, "observed", nonce="control")
        on_path = self.plan.control is not Control.PERFECT
        self.add(Settled(t=self.at(0.2), cell=self.cell, l0=self.l0, port=flow.port if on_path else None))
        return flow

    def touched(self, role: Touch, sent: float, took: float = 0.004, **fields: Any) -> None:
        values = {"answered": self.at(sent + took), "status": 200, "nonce": role.value} | fields
        self.add(Touched(t=self.at(sent + took), cell=self.cell, role=role, sent=self.at(sent), **values))

    def apply_fault(self, t: float, *cut: Side) -> None:
        """Records it with the flows that are established now, and drops what these sides of them send from now on."""
        found = [flow for flow in self.connections if flow.state == "ESTABLISHED"]
        for flow in found:
            flow.cut = frozenset(cut)
        keys = tuple(FlowKey(port=flow.port, state="ESTABLISHED", server=SERVER) for flow in found)
        self.add(Fault(t=self.at(t), cell=self.cell, name=self.plan.fault, action="apply", flows=keys))

    def heal(self, t: float) -> None:
        """Everything that a fault dropped passes again."""
        self.dark = False
        for flow in self.connections:
            flow.cut = frozenset()
        self.add(Fault(t=self.at(t), cell=self.cell, name=self.plan.fault, action="heal"))

    def probed(self, t: float, took: float, error: str | None = None, **fields: Any) -> None:
        """A probe that began at ``t``; with ``error`` it failed."""
        values = {"ok": error is None, "seconds": took, "error": error} | fields
        self.add(Probed(t=self.at(t + took), cell=self.cell, **values))

    def looked_at_process(self, t: float, moment: Any, state: str, cpu_seconds: float) -> None:
        self.add(ProcessState(t=self.at(t), cell=self.cell, moment=moment, state=state, cpu_seconds=cpu_seconds))

    def the_touch(self, t: float) -> None:
        """Looks at conntrack, touches, and probes; every server connection that is left gets the event."""
        for flow in self.connections:
            self._age(flow, t)
        known = tuple(FlowKey(port=f.port, state=f.state, server=SERVER) for f in self.connections if not f.forgotten)
        if self.plan.control is not Control.PERFECT:
            self.add(Conntrack(t=self.at(t - 0.05), cell=self.cell, moment="touch", flows=known))
        self.touched(Touch.TOUCH, t)
        self.probed(t, 0.02, port=60_000)

    def end(self, t: float, *, exits: bool = True) -> None:
        if exits:
            self.program(t - 0.1, "exited", status=0, by_harness=True)
        counted = {"blackhole-to-client": self.stopped["server"], "blackhole-to-server": self.stopped["client"]}
        self.add(Counters(t=self.at(t - 0.05), cell=self.cell, moment="close", packets=counted))
        self.add(Closed(t=self.at(t), cell=self.cell, folder="cells/x"))


def _towards(side: Side) -> Direction:
    return "to-server" if side == "client" else "to-client"


def run_started(*plans: CellPlan) -> list[Record]:
    """The head of a journal."""
    stack = StackResult(protocol="watch", language="Python", library="lib", version="1.0", runtime=None)
    stacks = {cell.id.stack: stack for cell in plans if cell.control is None}
    scenario = ScenarioResult(description="d", path="p", fault="f", source="s")
    head: list[Record] = [
        RunStarted(
            t=START - 60,
            run="r",
            started_at="2026-11-21T08:00:00+00:00",
            scale=1.0,
            deadline_seconds=10.0,
            control_plane="embedded",
            environment={},
            stacks=stacks,
            scenarios={cell.id.scenario: scenario for cell in plans},
        )
    ]
    return head + [Planned(t=START - 50, cell=str(cell.id), plan=cell) for cell in plans]


def journal(*stages: Stage, ended: bool = True, more: Iterable[CellPlan] = ()) -> list[Record]:
    """A whole run of these cells, one after the other; ``more`` are planned, too."""
    records = run_started(*(stage.plan for stage in stages), *more)
    for stage in stages:
        records += stage.records
    return [*records, RunEnded(t=START + 5_000, figures={"wall_seconds": 1.0})] if ended else records
