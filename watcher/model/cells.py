"""Cells: what is planned, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from watcher.model.networks import Backend, Balancer, Ending, Evidence, InvalidPackets, ServerKeepalive
from watcher.model.settings import Settings
from watcher.model.values import Name, PositiveSeconds, Value


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
    headless: bool = False
    same_node: bool = False
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
