"""From a choice of stacks, profiles and scenarios to cells with this run's own numbers. Pure.

``--scale N`` divides every duration. The kernel keeps keepalive and conntrack in whole seconds and libraries keep
timers that nobody can scale, so not every cell survives it: one that would be decided differently than in true time
is not run and says why (``not scalable``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from watcher.lab.addresses import MOST_OWN_SERVERS
from watcher.model import (
    Backend,
    Balancer,
    CellId,
    CellPlan,
    Control,
    Ending,
    Path,
    Profile,
    Scenario,
    ServerKeepalive,
    Settings,
    Skip,
    Stack,
    Timing,
    Verdict,
)

DEADLINE_SECONDS = 10.0
DEADLINE_FLOOR_SECONDS = 1.0
FAULT_AFTER_SECONDS = 2.0
"""From the last packet of the control touch to the fault."""
SETTLE_SECONDS = 0.15
"""Real time, whatever the scale: how long the kernels' delayed acknowledgements may take after the control touch."""
MOST_ROUNDING = 0.2
ASK_SECONDS = 600.0
"""From one question of a client that asks to the next, or longer, so that the touch comes before it."""
ASK_AFTER_TOUCH_SECONDS = 5.0
IN_FLIGHT_WINDOW_SECONDS = 1000.0
"""Where what the client sends may meet silence: the kernel repeats it for some 924 s (tcp_retries2 = 15), then gives
the connection up. Longer than that, or a client would pass for deaf that is about to be told."""
SERVER_KEEPALIVE_SECONDS = 180.0
BOOKMARK_SECONDS = 61.0
KERNEL_TIMER_SLACK = 0.125
"""Linux's timer wheel may fire a long timer this much of its time too late (kernel/time/timer.c)."""
CONTROL_MEMORY_MIB = 25
KUBE_PROXY_MEMORY_MIB = 25
"""Of its own, measured (12 MiB after a minute); 47 MiB more are the program itself, which all of them share."""
OWN_SERVER_MEMORY_MIB = 300
"""An API server of a scenario's own, measured; any other server needs less."""
MEMORY_SHARE = 0.7
LEAST_BUSY_INTERVAL_SECONDS = 0.1
"""Real time: one cell's touches come one after the other, and each takes some 20 ms of its own."""
MOST_TOUCHES_PER_SECOND = 100.0
"""Real time, of all busy cells of a wave together: more of them would wait for each other, and be late for that. With
73 on two loaded cores 99 of 100 were answered within 0.25 s."""

NO_FAULT = "none"
_SILENT_ENDINGS = (Ending.SILENT, Ending.RESET_SERVER)
"""Of a flow that the path has forgotten: what the client sends on it is dropped."""


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


def waves(cells: Iterable[CellPlan], *, memory_mib: float, jobs: int | None) -> list[list[CellPlan]]:
    """Cells to run at once: one repeat a wave, within memory, jobs, addresses and busy cells' touches, longest first.

    A scenario's controls go with its first cells: they hold for the repeat they were run in. Cells that share a backend
    are never parted.
    """
    result: list[list[CellPlan]] = []
    by_repeat: dict[int, dict[str, list[CellPlan]]] = {}
    for cell in cells:
        if cell.skip is None:
            by_repeat.setdefault(cell.id.repeat, {}).setdefault(cell.group or str(cell.id), []).append(cell)
    for repeat in sorted(by_repeat):
        wave: list[CellPlan] = []
        used = touches = 0.0
        for together in sorted(by_repeat[repeat].values(), key=lambda cells: -cells[0].timing.length_seconds):
            needed = sum(cell.memory_mib for cell in together) + (OWN_SERVER_MEMORY_MIB if together[0].group else 0)
            often = sum(1 / (cell.timing.busy_interval_seconds or math.inf) for cell in together)
            if wave and (
                used + needed > memory_mib * MEMORY_SHARE
                or (often and touches + often > MOST_TOUCHES_PER_SECOND)
                or (jobs is not None and len(wave) + len(together) > jobs)
                or (together[0].group and len({cell.group for cell in wave} - {None}) == MOST_OWN_SERVERS)
            ):
                result.append(wave)
                wave, used, touches = [], 0.0, 0.0
            wave += together
            used += needed
            touches += often
        if wave:
            result.append(wave)
    return result


def effective(asked: Settings, scale: float) -> Settings:
    """The profile's numbers divided by the scale; keepalive and watch timeout in the whole seconds they are kept in."""

    def divided(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds / scale, 3)

    def whole(seconds: float | None) -> float | None:
        return None if seconds is None else float(max(1, round(seconds / scale)))

    return asked.model_copy(
        update={
            "retry_seconds": divided(asked.retry_seconds),
            "keepalive_idle_seconds": whole(asked.keepalive_idle_seconds),
            "keepalive_interval_seconds": whole(asked.keepalive_interval_seconds),
            "user_timeout_seconds": divided(asked.user_timeout_seconds),
            "read_timeout_seconds": divided(asked.read_timeout_seconds),
            "watch_timeout_seconds": whole(asked.watch_timeout_seconds),
            "ping_idle_seconds": divided(asked.ping_idle_seconds),
            "ping_timeout_seconds": divided(asked.ping_timeout_seconds),
        }
    )


def timing(
    scenario: Scenario,
    path: Path,
    scale: float,
    deadline_seconds: float,
    *,
    asks: bool = False,
    window_seconds: float = 0.0,
) -> Timing:
    """The scenario's durations in real seconds of this run. ``asks``: for a client that asks, instead of being told.

    ``window_seconds``: the (true) least that the window must stay open for this client.
    """
    keepalive = _server_keepalive(scenario, path)
    told = Timing(
        scale=scale,
        idle_timeout_seconds=None
        if path.idle_timeout_seconds is None
        else float(max(1, round(path.idle_timeout_seconds / scale))),
        end_delay_seconds=path.end_delay_seconds / scale,
        gap_seconds=scenario.gap_seconds / scale,
        quiet_seconds=None if scenario.quiet_seconds is None else scenario.quiet_seconds / scale,
        window_seconds=max(scenario.window_seconds, window_seconds) / scale,
        deadline_seconds=max(DEADLINE_FLOOR_SECONDS, deadline_seconds / scale),
        scaled_deadline_seconds=deadline_seconds / scale,
        fault_after_seconds=max(SETTLE_SECONDS + 0.01, FAULT_AFTER_SECONDS / scale),
        fault_seconds=None if scenario.fault_seconds is None else scenario.fault_seconds / scale,
        busy_interval_seconds=None
        if scenario.busy_interval_seconds is None
        else scenario.busy_interval_seconds / scale,
        server_keepalive_idle_seconds=None
        if keepalive is ServerKeepalive.OFF
        else float(max(1, round(SERVER_KEEPALIVE_SECONDS / scale))),
    )
    if not asks:
        return told
    after = max(ASK_SECONDS, told.touch_after_seconds * scale + ASK_AFTER_TOUCH_SECONDS) / scale
    return told.model_copy(update={"ask_after_seconds": after})


def detection_seconds(settings: Settings) -> float | None:
    """How long TCP keepalive with these numbers takes to give up a dead, idle flow; None without numbers.

    With a user timeout the kernel gives up when a probe is due, one is out already and the timeout is over.
    """
    idle, interval, count = (
        settings.keepalive_idle_seconds,
        settings.keepalive_interval_seconds,
        settings.keepalive_count,
    )
    if idle is None or interval is None or count is None:
        return None
    if settings.user_timeout_seconds is None:
        return idle + interval * count
    probes = 1
    while idle + interval * probes < settings.user_timeout_seconds:
        probes += 1
    return idle + interval * probes


def meets_silence(stack: Stack, scenario: Scenario, path: Path, answering_faults: Collection[str]) -> bool:
    """Whether what the client sends by itself may get no answer at all: neither an acknowledgement nor a reset."""
    if scenario.fault == NO_FAULT or scenario.fault in answering_faults:
        return False
    forgets, healed = path.idle_timeout_seconds is not None, scenario.fault_seconds is not None
    if forgets and path.ending not in _SILENT_ENDINGS:
        return False
    # Who asks does so after the touch, that is after the healing; who sends lets no path forget but by being stopped.
    return (stack.asks and (forgets or not healed)) or (stack.sends and (healed or not forgets))


def not_scalable(
    stack: Stack,
    profile: Profile,
    scenario: Scenario,
    path: Path,
    scale: float,
    *,
    server_scales: bool = True,
    blocking_faults: Collection[str] = (),
    answering_faults: Collection[str] = (),
) -> str | None:
    """Why this cell could be decided differently than in true time; None where it cannot."""
    if scale == 1:
        return None
    settings = effective(profile.settings, scale)
    interval = scenario.busy_interval_seconds
    if interval is not None and interval / scale < LEAST_BUSY_INTERVAL_SECONDS:
        return f"not scalable: a touch every {interval / scale:g} s is more than can be made, one after the other"
    if not server_scales and profile.settings.bookmarks:
        return f"not scalable: the API server sends bookmarks {BOOKMARK_SECONDS:g} s apart, whatever the scale"
    # Where a path forgets no flow, there is nothing that a probe could keep alive, and no program sees one.
    kept_alive = _server_keepalive(scenario, path) is not ServerKeepalive.OFF and path.idle_timeout_seconds is not None
    if not server_scales and kept_alive:
        return f"not scalable: the API server's own TCP keepalive comes after {SERVER_KEEPALIVE_SECONDS:g} s"
    pairs = [
        ("keepalive gives up", detection_seconds(profile.settings), detection_seconds(settings)),
        ("keepalive's first probe", profile.settings.keepalive_idle_seconds, settings.keepalive_idle_seconds),
        ("the watch timeout", profile.settings.watch_timeout_seconds, settings.watch_timeout_seconds),
        (
            "the path's idle timeout",
            path.idle_timeout_seconds,
            timing(scenario, path, scale, DEADLINE_SECONDS).idle_timeout_seconds,
        ),
    ]
    for what, true, rounded in pairs:
        if true is not None and rounded is not None and abs(rounded * scale - true) > MOST_ROUNDING * true + 1e-9:
            kept = f"whole seconds turn into {rounded * scale:g} s at scale {scale:g}"
            return f"not scalable: {what} after {true:g} s, which {kept}"
    bounded = (settings.read_timeout_seconds, settings.user_timeout_seconds, settings.ping_timeout_seconds)
    if meets_silence(stack, scenario, path, answering_faults) and all(bound is None for bound in bounded):
        # Not keepalive: while data is in flight, the kernel sends no probes.
        return "not scalable: what the client sends meets silence, and the kernel repeats it by a clock of its own"
    true_timing = timing(scenario, path, 1.0, DEADLINE_SECONDS)
    undecided = None
    if scenario.fault not in answering_faults:
        undecided = _decided_by_timer_slack(profile.settings, scenario, true_timing)
    if scenario.fault in blocking_faults:
        undecided = undecided or _decided_by_repetition(profile.settings, settings, true_timing, scale)
    if undecided is not None:
        return undecided
    true_length = true_timing.length_seconds
    for timer in stack.timers:
        if timer.seconds <= true_length and any(fnmatchcase(profile.name, pattern) for pattern in timer.profiles):
            return f"not scalable: the library's own {timer.name} of {timer.seconds:g} s ({timer.source}) can decide it"
    return None


def _decided_by_timer_slack(settings: Settings, scenario: Scenario, true: Timing) -> str | None:
    """Where keepalive finds a dead flow so near to the deadline that the kernel's slack decides, in true time."""
    found = detection_seconds(settings)
    if found is None or scenario.fault == NO_FAULT or true.idle_timeout_seconds is not None:
        return None
    if true.fault_seconds is not None:
        return None  # healed: no flow is dead at the touch any more
    soonest, latest = (
        seconds + (settings.retry_seconds or 0.0) - true.touch_after_seconds
        for seconds in (found, found * (1 + KERNEL_TIMER_SLACK))
    )
    if soonest <= true.deadline_seconds < latest:
        return (
            f"not scalable: in true time keepalive finds the dead flow {soonest:.0f} to {latest:.0f} s after the touch,"
            f" and the kernel's timer slack decides about the deadline of {true.deadline_seconds:g} s"
        )
    return None


def _decided_by_repetition(asked: Settings, effective: Settings, true: Timing, scale: float) -> str | None:
    """Where client or server send something, or the client connects anew, while nothing gets through.

    What is lost then, the kernel sends again after times that double (1, 3, 7, 15, 31, 63 s for a new connection, from
    0.2 s on for data), at any scale alike: when it gets through after the healing has nothing to do with true time.
    What a library does by timers of its own is in its manifest (``stack.timers``), and not looked at here.
    """
    until = true.length_seconds if true.fault_seconds is None else true.fault_after_seconds + true.fault_seconds
    acts = [
        ("keepalive gives up", detection_seconds(asked), detection_seconds(effective)),
        ("the read timeout ends the watch", asked.read_timeout_seconds, effective.read_timeout_seconds),
        ("the server is asked to end the watch", asked.watch_timeout_seconds, effective.watch_timeout_seconds),
        ("a PING is sent", asked.ping_idle_seconds, effective.ping_idle_seconds),
        ("a bookmark may be sent at any time", *((0.0, 0.0) if asked.bookmarks else (None, None))),
    ]
    for what, seconds, rounded in acts:
        if seconds is not None and rounded is not None and min(seconds, rounded * scale) <= until:
            when = f" after {seconds:g} s" if seconds else ""
            kept = "what is lost then, the kernel repeats by a clock of its own"
            return f"not scalable: {what}{when}, while nothing gets through, and {kept}"
    return None


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
        server_keepalive=_server_keepalive(scenario, path),
        balancer=path.balancer,
        proxy=path.proxy,
        invalid_packets=path.invalid_packets,
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
        server_keepalive=_server_keepalive(scenario, path),
        balancer=path.balancer,
        proxy=path.proxy,
        invalid_packets=path.invalid_packets,
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


def _server_keepalive(scenario: Scenario, path: Path) -> ServerKeepalive:
    return scenario.server_keepalive or path.server_keepalive
