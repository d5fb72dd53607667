"""The words of the project as frozen data: settings, paths, scenarios, client programs, plans, verdicts, results.

Everything here is a value. Nothing here touches a file, a clock or a process, so every layer may use it.
Durations carry their unit in their name. In the catalog they are *true* seconds, as documentation states them;
in a plan they are *real* seconds of this run, that is: true seconds divided by the scale.
"""

from __future__ import annotations

from enum import StrEnum
from string import Formatter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SCHEMA_VERSION = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=50)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Value(BaseModel):
    """Base of all data: frozen, and an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Verdict(StrEnum):
    """What became of a cell; design order, see docs/architecture.md."""

    UNSUPPORTED = "unsupported"
    NOT_BUILT = "not-built"
    NOT_RUN = "not-run"
    INVALID = "invalid"
    FALSE_ABORT = "false-abort"
    OK = "ok"
    LATE = "late"
    DIED = "died"
    STUCK = "stuck"
    FLAKY = "flaky"


class Settings(Value):
    """One keepalive setting. ``None`` means: not set, the library's or the kernel's own value applies."""

    retry_seconds: PositiveSeconds | None = None
    keepalive: bool = False
    keepalive_idle_seconds: PositiveSeconds | None = None
    keepalive_interval_seconds: PositiveSeconds | None = None
    keepalive_count: Annotated[int, Field(ge=1, le=127)] | None = None
    user_timeout_seconds: PositiveSeconds | None = None
    read_timeout_seconds: PositiveSeconds | None = None
    watch_timeout_seconds: PositiveSeconds | None = None
    bookmarks: bool = False
    ping_idle_seconds: PositiveSeconds | None = None
    ping_timeout_seconds: PositiveSeconds | None = None

    @model_validator(mode="after")
    def _keepalive_is_whole(self) -> Settings:
        numbers = (self.keepalive_idle_seconds, self.keepalive_interval_seconds, self.keepalive_count)
        if any(number is not None for number in numbers) and not all(number is not None for number in numbers):
            raise ValueError(
                "keepalive needs all of keepalive_idle_seconds, keepalive_interval_seconds, keepalive_count"
            )
        if numbers[0] is not None and not self.keepalive:
            raise ValueError("keepalive numbers need keepalive = true")
        return self

    @property
    def ends_its_own_watch(self) -> bool:
        """True where the profile itself asks that a healthy, quiet watch be ended now and then."""
        return self.read_timeout_seconds is not None or self.watch_timeout_seconds is not None


class Profile(Value):
    """A named keepalive setting; one file in ``profiles/``."""

    name: Name
    description: str
    settings: Settings = Settings()


class Ending(StrEnum):
    """How a path treats a flow that it has forgotten."""

    NEVER = "never"
    SILENT = "silent"
    RESET_ON_NEXT_PACKET = "reset-on-next-packet"
    RESET_CLIENT_ON_NEXT_PACKET = "reset-client-on-next-packet"
    """Only who is inside is told, when it speaks; what comes from outside is dropped."""
    BLOCKED_UNTIL_OUTBOUND = "blocked-until-outbound"
    """Nothing comes in until the client sends again; then the flow is known as before."""
    CLOSE = "close"
    """A proxy that counts data, not packets, closes both of its sides with FIN."""
    RESET_BOTH = "reset-both"
    RESET_SERVER = "reset-server"


class ServerKeepalive(StrEnum):
    """Whether the server side of a path sends TCP keepalive probes of its own."""

    OFF = "off"
    THREE_MINUTES = "180s"


class Balancer(StrEnum):
    """Who sends a client's connection on to the API server."""

    LAB = "lab"
    """A DNAT rule of the lab's own."""
    KUBE_PROXY_IPTABLES = "kube-proxy-iptables"
    KUBE_PROXY_NFTABLES = "kube-proxy-nftables"


class InvalidPackets(StrEnum):
    """What becomes of a packet that conntrack calls INVALID although its flow exists."""

    DROP = "drop"
    """Whoever balances drops it, or does not: kube-proxy's own rules, or the lab's."""
    FORWARD = "forward"
    """No rule of the lab's drops it: it goes on with the address that it came with."""
    LIBERAL = "liberal"
    """conntrack is told to be liberal, and does not call it so."""


class Backend(StrEnum):
    """Which API server a scenario's clients are connected to."""

    SHARED = "shared"
    """The one of all cells."""
    OWN = "own"
    """One of the scenario's own, to do harm to; the shared one takes over from it."""


class Path(Value):
    """What stands between client and API server; one file in ``paths/``."""

    name: Name
    description: str
    idle_timeout_seconds: PositiveSeconds | None = None
    ending: Ending = Ending.NEVER
    end_delay_seconds: Seconds = 0
    server_keepalive: ServerKeepalive = ServerKeepalive.OFF
    balancer: Balancer = Balancer.LAB
    proxy: bool = False
    """A layer-4 proxy stands between the path and the API server: two connections for each of the client's."""
    invalid_packets: InvalidPackets = InvalidPackets.DROP
    source: str

    @model_validator(mode="after")
    def _ending_fits(self) -> Path:
        if self.ending is Ending.CLOSE and not self.proxy:
            raise ValueError("only a proxy closes: ending 'close' needs proxy = true")
        if self.proxy and self.ending not in (Ending.NEVER, Ending.CLOSE):
            raise ValueError(f"a proxy does not end connections by {self.ending.value!r}: 'close', or no idle timeout")
        if self.proxy and (self.balancer is not Balancer.LAB or self.server_keepalive is not ServerKeepalive.OFF):
            raise ValueError("a proxy sends no probes and needs no balancer: leave balancer and server_keepalive out")
        if (self.idle_timeout_seconds is None) != (self.ending is Ending.NEVER):
            raise ValueError(
                "a path with idle_timeout_seconds needs an ending other than 'never', and the other way round"
            )
        if self.balancer is not Balancer.LAB and self.idle_timeout_seconds is not None:
            raise ValueError(f"{self.balancer.value} forgets no flow: leave idle_timeout_seconds and ending out")
        if self.balancer is not Balancer.LAB and self.server_keepalive is ServerKeepalive.OFF:
            raise ValueError(
                f"{self.balancer.value} leads to the API server itself: server_keepalive is"
                f" {ServerKeepalive.THREE_MINUTES.value!r}"
            )
        return self


class Evidence(Value):
    """Names of the proofs (``judge/proofs.py``) that must hold before and after the touch."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Scenario(Value):
    """Path + fault + gap + the evidence that proves it; one file in ``scenarios/``."""

    name: Name
    description: str
    path: Name
    fault: Name
    gap_seconds: Seconds = 30
    quiet_seconds: PositiveSeconds | None = None
    """Only where no fault is applied: how long after the control touch the touch comes."""
    window_seconds: PositiveSeconds = 120
    server_keepalive: ServerKeepalive | None = None
    """Overrides the path's, for scenarios that differ in nothing else."""
    fault_seconds: PositiveSeconds | None = None
    """How long the fault is in force before it is healed; the gap is counted from then. None: until the cell closes."""
    busy_interval_seconds: PositiveSeconds | None = None
    """Only where no fault is applied: the trigger is touched this often while ``quiet_seconds`` last."""
    backend: Backend = Backend.SHARED
    proof: Evidence
    threads: tuple[str, ...] = ()
    """Bug reports that this scenario reproduces."""

    @model_validator(mode="after")
    def _touches_fit(self) -> Scenario:
        if self.busy_interval_seconds is not None and self.quiet_seconds is None:
            raise ValueError("busy_interval_seconds needs quiet_seconds: for how long")
        return self


class Timer(Value):
    """A timer built into a client library that a run cannot scale."""

    name: str
    seconds: PositiveSeconds
    profiles: tuple[str, ...] = ("*",)
    """Globs of the profiles in which it is armed."""
    source: str


COMMAND_PLACES = ("environment", "folder")

LockFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")]
"""A file inside the client's folder, or below it."""


class Build(Value):
    """How a client folder's environment is made."""

    kind: Name
    """A module of ``programs/environments/kinds``. ``none``: the command needs nothing made for it, as a program that
    is built already."""
    lock: LockFile | None = None
    """What names every library in one version, with its hash; in the form that the kind's own tool has for it."""
    needs: tuple[str, ...] = ()
    """Programs of the system that it cannot do without when it runs: ``kubectl``."""

    @model_validator(mode="after")
    def _lock_fits(self) -> Build:
        if (self.kind == "none") != (self.lock is None):
            raise ValueError(f"kind {self.kind!r} needs a lock" if self.kind != "none" else "kind 'none' has no lock")
        return self


class Stack(Value):
    """One way to watch with one version of one client library."""

    name: Name
    description: str
    protocol: Name = "watch"
    variant: Name | None = None
    """How the protocol's server is set up for it, where there are several ways: how often it says something."""
    language: str
    library: str
    version: str
    command: tuple[str, ...] = Field(min_length=1)
    """Arguments; ``{environment}`` and ``{folder}`` are replaced by the built environment and the client's folder."""
    lock: LockFile | None = None
    """Another lock than the folder's: another version of the same library under the same program."""
    profiles: tuple[Name, ...] = Field(min_length=1)
    """Profiles it can do; any other must end with status 127."""
    timers: tuple[Timer, ...] = ()
    asks: bool = False
    """It asks now and then instead of being told: its delay begins when it asks."""
    sends: bool = False
    """It sends of its own accord, more often than any path forgets: so that data is in flight when its path fails."""
    http2: bool = False
    """It offers HTTP/2 to the server, so that a real one speaks that with it."""
    websocket: bool = False
    """It watches over a WebSocket, where the server has that."""

    @field_validator("command")
    @classmethod
    def _places_are_known(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        for argument in command:
            for _, place, _, _ in Formatter().parse(argument):
                if place is not None and place not in COMMAND_PLACES:
                    known = ", ".join(f"{{{each}}}" for each in COMMAND_PLACES)
                    raise ValueError(f"{{{place}}} is not known; there are {known}")
        return command

    default_source: str
    """The upstream page whose example the ``default`` profile is."""
    memory_mib: Annotated[int, Field(gt=0)]
    """Measured resident memory of one program."""


class Client(Value):
    """A client folder's ``client.toml``: how its environment is made, and the stacks that run in it."""

    build: Build
    stack: tuple[Stack, ...] = Field(min_length=1)

    def build_of(self, stack: Stack) -> Build:
        """The folder's, with the stack's own lock where it has one."""
        return self.build if stack.lock is None else self.build.model_copy(update={"lock": stack.lock})

    @model_validator(mode="after")
    def _only_what_is_built_has_a_lock(self) -> Client:
        for stack in self.stack:
            if stack.lock is not None and self.build.kind == "none":
                raise ValueError(f"stack {stack.name!r} has a lock, but kind 'none' builds nothing")
        return self


class Touch(StrEnum):
    CONTROL = "control"
    BUSY = "busy"
    """One of many, before the last; each must be observed in time, itself or by a later one."""
    TOUCH = "touch"


class Control(StrEnum):
    """The clients that keep a scenario honest."""

    PERFECT = "perfect"
    DEAF = "deaf"


class CellId(Value):
    """Key of one execution of a cell."""

    stack: Name
    profile: Name
    scenario: Name
    repeat: Annotated[int, Field(ge=1)] = 1

    def __str__(self) -> str:
        return f"{self.stack}/{self.profile}/{self.scenario}#{self.repeat}"

    @property
    def key(self) -> str:
        """The cell without its repeat: ``stack/profile/scenario``."""
        return f"{self.stack}/{self.profile}/{self.scenario}"

    @classmethod
    def parse(cls, text: str) -> CellId:
        key, _, repeat = text.partition("#")
        stack, profile, scenario = key.split("/")
        return cls(stack=stack, profile=profile, scenario=scenario, repeat=int(repeat or 1))


class Timing(Value):
    """A cell's durations in real seconds of this run, and the true ones that decide between verdicts."""

    scale: PositiveSeconds
    idle_timeout_seconds: float | None = None
    """As the kernel keeps it: whole seconds."""
    end_delay_seconds: float
    gap_seconds: float
    quiet_seconds: float | None = None
    window_seconds: float
    deadline_seconds: float
    """The deadline this run applies: the scaled one, never below the floor of 1 s."""
    scaled_deadline_seconds: float
    """What the deadline would be without the floor; an outcome between the two is not decidable."""
    fault_after_seconds: float
    """From L0 to the fault."""
    server_keepalive_idle_seconds: float | None = None
    """The server side's own TCP keepalive, where it has one."""
    fault_seconds: float | None = None
    """From the fault until it is healed."""
    busy_interval_seconds: float | None = None
    ask_after_seconds: float | None = None
    """From one answer to the next question, where the client asks; after the touch, whatever the scenario."""

    @property
    def touch_after_seconds(self) -> float:
        """From L0 to the touch, where the schedule is by clock; others count the gap from the fault, or its healing."""
        if self.quiet_seconds is not None:
            return self.quiet_seconds
        if self.fault_seconds is not None:
            return self.fault_after_seconds + self.fault_seconds + self.gap_seconds
        if self.idle_timeout_seconds is not None:
            return self.idle_timeout_seconds + self.end_delay_seconds + self.gap_seconds
        return self.fault_after_seconds + self.gap_seconds

    @property
    def length_seconds(self) -> float:
        """From L0 until the window closes."""
        return max(self.touch_after_seconds, self.ask_after_seconds or 0.0) + self.window_seconds


class Skip(Value):
    """Why a planned cell is not run."""

    verdict: Verdict
    reason: str


class CellPlan(Value):
    """All that the stage and the judge need to know of one cell."""

    id: CellId
    control: Control | None = None
    protocol: Name = "watch"
    variant: Name | None = None
    path: Name
    ending: Ending
    server_keepalive: ServerKeepalive
    balancer: Balancer = Balancer.LAB
    proxy: bool = False
    invalid_packets: InvalidPackets = InvalidPackets.DROP
    backend: Backend = Backend.SHARED
    fault: Name
    asked: Settings
    effective: Settings
    timing: Timing
    proof: Evidence
    memory_mib: int
    skip: Skip | None = None

    @property
    def group(self) -> str | None:
        """Cells of one group share a backend of their own, and the moment at which it fails; None for all others."""
        return None if self.backend is Backend.SHARED else f"{self.id.scenario}#{self.id.repeat}/{self.service}"

    @property
    def service(self) -> str:
        """Names the server that it speaks to: cells of one service share it."""
        return self.protocol if self.variant is None else f"{self.protocol}/{self.variant}"


class Outcome(Value):
    """The judge's word on one execution of a cell."""

    verdict: Verdict
    delay_seconds: float | None = None
    reason: str
    proof: str
    """``happened``, ``prevented`` (with how), ``unproven``, or ``none`` where the cell was not run."""


class StackResult(Value):
    protocol: str
    language: str
    library: str
    version: str | None = None
    runtime: str | None = None
    timers: tuple[Timer, ...] = ()
    measured_keepalive: str | None = None
    """What packets showed on a quiet flow, per profile: for example ``default: none; tcp-keepalive: every 30 s``."""


class ScenarioResult(Value):
    description: str
    path: str
    fault: str
    source: str
    threads: tuple[str, ...] = ()


class SettingsResult(Value):
    asked: Settings
    effective: Settings


class RepeatResult(Value):
    verdict: Verdict
    delay_seconds: float | None = None
    reason: str


class CellResult(Value):
    stack: str
    profile: str
    scenario: str
    verdict: Verdict
    delay_seconds: float | None = None
    reason: str
    proof: str
    settings: SettingsResult
    repeats: tuple[RepeatResult, ...]
    evidence: dict[str, object]
    control: Control | None = None


class RunResult(Value):
    id: str
    started_at: str
    started_monotonic: float = 0.0
    """``started_at`` on the clock of the journal's ``t``."""
    scale: float
    deadline_seconds: float
    control_plane: str
    trusted: bool
    distrust: tuple[str, ...] = ()
    """Why the run cannot be trusted; empty when it can."""
    figures: dict[str, float] = {}
    """Measured: ``setup_seconds``, ``start_seconds``, ``wall_seconds``, ``longest_cell_seconds``, ``wall_ratio``."""


class Results(Value):
    """``results.json``. ``cells`` are keyed by (stack, profile, scenario); controls are in ``controls``."""

    schema_version: Literal[1] = 1
    run: RunResult
    stacks: dict[str, StackResult]
    scenarios: dict[str, ScenarioResult]
    cells: tuple[CellResult, ...]
    controls: tuple[CellResult, ...] = ()

    def by_key(self) -> dict[tuple[str, str, str], CellResult]:
        return {(cell.stack, cell.profile, cell.scenario): cell for cell in self.cells}
