"""The journal's records: what was seen, never what it means.

One line of ``journal.jsonl`` is one record. ``t`` is seconds on the run's monotonic clock (CLOCK_MONOTONIC, so a
record of a resumed run is comparable only within one ``began``). ``cell`` is a ``CellId`` as text, or ``None`` for
the run. A packet's ``t`` is the kernel's receive time.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from watcher.model import CellPlan, ScenarioResult, StackResult, Touch, Value
from watcher.totals import Keepalive, Tried

Direction = Literal["to-client", "to-server"]
Link = Literal["client", "server"]
ProbedTo = Literal["virtual", "server", "history"]
"""``virtual`` is what clients connect to, ``server`` the API server behind it at the beginning, ``history`` a watch at
``virtual`` from the resource version of the control touch."""
Moment = Literal["watching", "fault", "healed", "touch", "close"]


class Entry(Value):
    """Base of all records."""

    t: float
    cell: str | None = None


class RunStarted(Entry):
    kind: Literal["run"] = "run"
    run: str
    started_at: str
    scale: float
    deadline_seconds: float
    control_plane: str
    environment: dict[str, object]
    stacks: dict[str, StackResult]
    scenarios: dict[str, ScenarioResult]


class Planned(Entry):
    kind: Literal["planned"] = "planned"
    plan: CellPlan


class LabReady(Entry):
    """The network is up and the control plane answers."""

    kind: Literal["ready"] = "ready"
    seconds: float
    control_plane: str


class Began(Entry):
    """The cell begins (again): everything earlier of this cell was an unfinished attempt and is void."""

    kind: Literal["began"] = "began"


class Program(Entry):
    """A line of the program, or what the harness saw of its process. ``t`` is the harness's time of arrival."""

    kind: Literal["program"] = "program"
    event: Literal["spawned", "started", "watching", "observed", "ended", "error", "asked", "violation", "exited"]
    nonce: str | None = None
    resource_version: str | None = None
    library: str | None = None
    version: str | None = None
    runtime: str | None = None
    settings: dict[str, object] | None = None
    message: str | None = None
    status: int | None = None
    """Exit status; negative is the signal that ended it."""
    by_harness: bool = False
    """The harness asked it to end, at the end of its cell."""
    connection: dict[str, object] | None = None
    memory_mib: float | None = None
    """When it exited: the most it needed while it ran."""
    cpu_seconds: float | None = None
    """When it exited: the CPU time that it had needed when it had observed the control touch."""


class Touched(Entry):
    """One update of the trigger; ``t`` is when the answer came or the attempt was given up."""

    kind: Literal["touch"] = "touch"
    role: Touch
    nonce: str
    sent: float
    answered: float | None = None
    status: int | None = None
    resource_version: str | None = None
    error: str | None = None


class Settled(Entry):
    """The control touch is over: L0 is the last packet on the flow that carried it."""

    kind: Literal["settled"] = "settled"
    l0: float
    port: int | None = None
    """Client port of that flow; None for a client that is not on a path."""


class FlowKey(Value):
    """A client's flow, as the path's conntrack lists it."""

    port: int
    state: str
    expires_seconds: float | None = None
    server: str | None = None
    """Where the path sends it: address and port."""


class Fault(Entry):
    kind: Literal["fault"] = "fault"
    name: str
    action: Literal["apply", "heal"]
    flows: tuple[FlowKey, ...] = ()
    """The client's flows established at that moment."""


class PathAction(Entry):
    """What the path did to a flow of its own accord."""

    kind: Literal["path"] = "path"
    action: Literal["forgot", "reset-client", "reset-server"]
    port: int


class Packet(Entry):
    """A TCP packet of the cell, seen on one of the path's two links. A path's own packet is on one link only."""

    kind: Literal["packet"] = "packet"
    link: Link
    direction: Direction
    port: int
    flags: str
    """Letters of S, A, F, R, P, U."""
    seq: int
    ack: int
    length: int
    """Payload octets."""
    peer: str | None = None
    """The other end's address on the client's link, where it is not the one that the client connected to."""
    server: str | None = None
    """The other end's address on the server's link, where it is not the one that the path led to at first."""


class Conntrack(Entry):
    kind: Literal["conntrack"] = "conntrack"
    moment: Moment
    flows: tuple[FlowKey, ...]


class Counters(Entry):
    """Kernel packet counters of the path's rules, by rule name."""

    kind: Literal["counters"] = "counters"
    moment: Moment
    packets: dict[str, int]


class Probed(Entry):
    """A fresh connection through the path; ``t`` is when its outcome was known."""

    kind: Literal["probe"] = "probe"
    to: ProbedTo = "virtual"
    port: int | None = None
    ok: bool
    seconds: float
    error: str | None = None


class Socket(Value):
    port: int
    state: str
    timer: str | None = None
    """``keepalive``, ``on`` (retransmission), ``persist`` or None, as the kernel reports it."""
    timer_seconds: float | None = None
    keepalive: bool | None = None
    keepalive_idle_seconds: int | None = None
    keepalive_interval_seconds: int | None = None
    keepalive_count: int | None = None
    user_timeout_seconds: float | None = None
    unacknowledged: int | None = None


class Sockets(Entry):
    """The TCP sockets between the client and the API server's side, as one end's kernel sees them.

    ``port`` is the client's on both sides. The server's sockets come without options, with the timer that runs.
    """

    kind: Literal["sockets"] = "sockets"
    side: Literal["client", "server"] = "client"
    moment: Moment
    sockets: tuple[Socket, ...]


class ProcessState(Entry):
    """The client's process (and its children), as the kernel has it."""

    kind: Literal["process"] = "process"
    moment: Moment
    state: str
    """The letter of /proc: ``T`` is stopped."""
    cpu_seconds: float
    """Used so far."""


class Sysctls(Entry):
    """Pinned sysctls that read back differently from what was set; empty is good."""

    kind: Literal["sysctls"] = "sysctls"
    moment: Moment
    wrong: dict[str, str]


class FailureWritten(Entry):
    kind: Literal["failure"] = "failure"
    name: str
    status: int | None = None
    error: str | None = None


class Unserved(Entry):
    """The embedded control plane met a request that only the real one answers."""

    kind: Literal["unserved"] = "unserved"
    what: str


class LabError(Entry):
    """The lab itself failed; the cell (or, without one, the run) cannot know."""

    kind: Literal["lab-error"] = "lab-error"
    message: str


class Dropped(Entry):
    """Packets that the capture lost: the proof has a hole."""

    kind: Literal["dropped"] = "dropped"
    packets: int


class Closed(Entry):
    """The window is over; nothing follows for this cell."""

    kind: Literal["closed"] = "closed"
    folder: str | None = None


class RunEnded(Entry):
    kind: Literal["end"] = "end"
    figures: dict[str, float]


class SoakStarted(Entry):
    """A supervisor of the soak begins (again); earlier ``t`` are comparable only where ``boot`` is the same."""

    kind: Literal["soak"] = "soak"
    session: str
    instance: str
    started_at: str
    """ISO 8601, UTC; the same moment as ``t``."""
    boot: str
    """The kernel's boot id."""
    deadline_seconds: float
    watchers: tuple[str, ...]
    """``stack/profile`` of each; ``cell`` of their records."""


class Intended(Entry):
    """Written, and on disk, before the update is sent: after a SIGKILL it tells which nonce may be in the cluster."""

    kind: Literal["intent"] = "intent"
    nonce: str


class Looked(Entry):
    """A GET of the trigger on a fresh connection; ``t`` is when it was answered or given up."""

    kind: Literal["look"] = "look"
    nonce: str
    """The one looked for."""
    found: str | None = None
    """The one that was there; None where no answer came."""
    error: str | None = None


class IdleTried(Entry):
    """The connection that was idle since the touch before was tried, at a touch."""

    kind: Literal["idle"] = "idle"
    nonce: str
    outcome: Tried
    idle_seconds: float
    seconds: float
    """How long the try took."""


class QuietMeasured(Entry):
    """What a watcher's quiet connection carried between two touches."""

    kind: Literal["quiet"] = "quiet"
    keepalive: Keepalive


class Beat(Entry):
    """The supervisor lives; deadlines before ``t`` have passed under its eyes."""

    kind: Literal["beat"] = "beat"
    number: int


class SoakEnded(Entry):
    """The supervisor ends in order."""

    kind: Literal["soak-end"] = "soak-end"
    session: str


Record = Annotated[
    RunStarted
    | Planned
    | LabReady
    | Began
    | Program
    | Touched
    | Settled
    | Fault
    | PathAction
    | Packet
    | Conntrack
    | Counters
    | Probed
    | Sockets
    | ProcessState
    | Sysctls
    | FailureWritten
    | Unserved
    | LabError
    | Dropped
    | Closed
    | RunEnded
    | SoakStarted
    | Intended
    | Looked
    | IdleTried
    | QuietMeasured
    | Beat
    | SoakEnded,
    Field(discriminator="kind"),
]

RECORD: TypeAdapter[Record] = TypeAdapter(Record)
