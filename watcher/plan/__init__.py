"""From a choice of stacks, profiles and scenarios to cells with this run's own numbers. Pure.

``--scale N`` divides every duration. The kernel keeps keepalive and conntrack in whole seconds and libraries keep
timers that nobody can scale, so not every cell survives it: one that would be decided differently than in true time
is not run and says why (``not scalable``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from watcher.model import (
    Backend,
    Balancer,
    CellId,
    CellPlan,
    Control,
    Path,
    Profile,
    Scenario,
    Settings,
    Skip,
    Stack,
    Verdict,
)
from watcher.plan.scaling import (
    DEADLINE_SECONDS,
    FAULT_AFTER_SECONDS,
    IN_FLIGHT_WINDOW_SECONDS,
    MOST_ROUNDING,
    NO_FAULT,
    SETTLE_SECONDS,
    detection_seconds,
    effective,
    meets_silence,
    not_scalable,
    server_keepalive,
    timing,
)
from watcher.plan.waves import MEMORY_SHARE, MOST_TOUCHES_PER_SECOND, OWN_SERVER_MEMORY_MIB, waves

__all__ = [
    "DEADLINE_SECONDS",
    "FAULT_AFTER_SECONDS",
    "MEMORY_SHARE",
    "MOST_ROUNDING",
    "MOST_TOUCHES_PER_SECOND",
    "NO_FAULT",
    "OWN_SERVER_MEMORY_MIB",
    "SETTLE_SECONDS",
    "Choice",
    "detection_seconds",
    "effective",
    "make",
    "once_more",
    "timing",
    "waves",
]

CONTROL_MEMORY_MIB = 25
KUBE_PROXY_MEMORY_MIB = 25
"""Of its own, measured (12 MiB after a minute); 47 MiB more are the program itself, which all of them share."""


@dataclass(frozen=True)
class Choice:
    """What the user asked for."""

    stacks: Sequence[Stack]
    profiles: Sequence[Profile]
    scenarios: Sequence[Scenario]
    paths: Mapping[str, Path]
    not_built: Mapping[str, str]
    """Stacks that cannot be started, with the reason."""
    cells: Sequence[str] | None = None
    """Globs of ``stack/profile/scenario``; None is all. A scenario of which no cell is left is left out."""
    server_scales: bool = True
    """Whether the API server's own timers can be divided: the embedded one's can."""
    real_server: bool = True
    """Whether the API server speaks HTTP/2 and WebSocket: the embedded one does not."""
    missing_backend: str | None = None
    """Why this run cannot have API servers of scenarios' own; None where it can."""
    unfit: Callable[[Stack, Scenario, Path], str | None] = lambda _stack, _scenario, _path: None
    """Why a stack's protocol cannot be had in a scenario; None where it can."""
    missing_proxy: str | None = None
    """Why this run cannot have paths with a proxy; None where it can."""
    missing_balancers: Mapping[Balancer, str] = field(default_factory=dict)
    """Balancers that this run cannot have, with the reason."""
    missing_protocols: Mapping[str, str] = field(default_factory=dict)
    """Protocols whose server this run cannot have, with the reason."""
    blocking_faults: Collection[str] = ()
    """Faults in which new connections get no answer at all, as the catalog has them."""
    answering_faults: Collection[str] = ()
    """Faults that leave no flow on which a probe gets no answer, likewise."""
    scale: float = 1.0
    repeat: int = 1
    deadline_seconds: float = DEADLINE_SECONDS


def make(choice: Choice) -> tuple[CellPlan, ...]:
    """All cells of a run, each with its scenario's controls first, repeats one after the other."""
    cells: list[CellPlan] = []
    for repeat in range(1, choice.repeat + 1):
        for scenario in choice.scenarios:
            path = choice.paths[scenario.path]
            real = [
                cell
                for stack in choice.stacks
                for profile in choice.profiles
                if _is_chosen(cell := _cell(stack, profile, scenario, path, choice, repeat), choice)
            ]
            if any(cell.skip is None for cell in real):
                cells += [_control(control, scenario, path, choice, repeat) for control in Control]
            cells += real
    return tuple(cells)


def once_more(cells: Sequence[CellPlan], keys: Collection[str]) -> tuple[CellPlan, ...]:
    """The cells of these keys for one more repeat, with their scenarios' controls."""
    scenarios = {key.rsplit("/", 1)[1] for key in keys}
    repeat = max(cell.id.repeat for cell in cells) + 1
    wanted: dict[str, CellPlan] = {
        cell.id.key: cell
        for cell in cells
        if cell.id.key in keys or (cell.control is not None and cell.id.scenario in scenarios)
    }
    return tuple(
        cell.model_copy(update={"id": cell.id.model_copy(update={"repeat": repeat})}) for cell in wanted.values()
    )


def _is_chosen(cell: CellPlan, choice: Choice) -> bool:
    return choice.cells is None or any(fnmatchcase(cell.id.key, pattern) for pattern in choice.cells)


def _cell(stack: Stack, profile: Profile, scenario: Scenario, path: Path, choice: Choice, repeat: int) -> CellPlan:
    skip: Skip | None = None
    reason = not_scalable(
        stack,
        profile,
        scenario,
        path,
        choice.scale,
        server_scales=choice.server_scales,
        blocking_faults=choice.blocking_faults,
        answering_faults=choice.answering_faults,
    )
    if profile.name not in stack.profiles:
        skip = Skip(verdict=Verdict.UNSUPPORTED, reason=f"{stack.name} cannot do {profile.name}")
    elif stack.name in choice.not_built:
        skip = Skip(verdict=Verdict.NOT_BUILT, reason=choice.not_built[stack.name])
    elif (stack.http2 or stack.websocket) and not choice.real_server:
        how = "offers HTTP/2" if stack.http2 else "watches over a WebSocket"
        reason = f"needs the real control plane: it {how}, and the embedded one speaks plain HTTP/1.1 only"
        skip = Skip(verdict=Verdict.INVALID, reason=reason)
    elif scenario.backend is Backend.OWN and choice.missing_backend is not None:
        skip = Skip(verdict=Verdict.INVALID, reason=choice.missing_backend)
    elif path.proxy and choice.missing_proxy is not None:
        skip = Skip(verdict=Verdict.INVALID, reason=choice.missing_proxy)
    elif path.balancer in choice.missing_balancers:
        skip = Skip(verdict=Verdict.INVALID, reason=choice.missing_balancers[path.balancer])
    elif (unfit := choice.unfit(stack, scenario, path)) is not None:
        skip = Skip(verdict=Verdict.INVALID, reason=unfit)
    elif stack.protocol in choice.missing_protocols:
        skip = Skip(verdict=Verdict.INVALID, reason=choice.missing_protocols[stack.protocol])
    elif reason is not None:
        skip = Skip(verdict=Verdict.INVALID, reason=reason)
    silence = meets_silence(stack, scenario, path, choice.answering_faults)
    return CellPlan(
        id=CellId(stack=stack.name, profile=profile.name, scenario=scenario.name, repeat=repeat),
        protocol=stack.protocol,
        variant=stack.variant,
        path=path.name,
        ending=path.ending,
        server_keepalive=server_keepalive(scenario, path),
        balancer=path.balancer,
        proxy=path.proxy,
        invalid_packets=path.invalid_packets,
        headless=path.headless,
        same_node=path.same_node,
        backend=scenario.backend,
        fault=scenario.fault,
        asked=profile.settings,
        effective=effective(profile.settings, choice.scale),
        timing=timing(
            scenario,
            path,
            choice.scale,
            choice.deadline_seconds,
            asks=stack.asks,
            window_seconds=IN_FLIGHT_WINDOW_SECONDS if silence else 0.0,
        ),
        proof=scenario.proof,
        memory_mib=stack.memory_mib + _balancer_mib(path),
        skip=skip,
    )


def _control(control: Control, scenario: Scenario, path: Path, choice: Choice, repeat: int) -> CellPlan:
    return CellPlan(
        id=CellId(stack=control.value, profile="control", scenario=scenario.name, repeat=repeat),
        control=control,
        path=path.name,
        ending=path.ending,
        server_keepalive=server_keepalive(scenario, path),
        balancer=path.balancer,
        proxy=path.proxy,
        invalid_packets=path.invalid_packets,
        headless=path.headless,
        same_node=path.same_node,
        backend=scenario.backend,
        fault=scenario.fault,
        asked=Settings(),
        effective=Settings(),
        timing=timing(scenario, path, choice.scale, choice.deadline_seconds),
        proof=scenario.proof,
        memory_mib=CONTROL_MEMORY_MIB + _balancer_mib(path),
    )


def _balancer_mib(path: Path) -> int:
    return 0 if path.balancer is Balancer.LAB else KUBE_PROXY_MEMORY_MIB
