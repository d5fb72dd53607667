"""A cell's durations in a run's real seconds, and which cells a scale would decide differently than true time. Pure."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from watcher.model import Ending, Path, Profile, Scenario, ServerKeepalive, Settings, Stack, Timing

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
LEAST_BUSY_INTERVAL_SECONDS = 0.1
"""Real time: one cell's touches come one after the other, and each takes some 20 ms of its own."""
NO_FAULT = "none"
_SILENT_ENDINGS = (Ending.SILENT, Ending.RESET_SERVER)
"""Of a flow that the path has forgotten: what the client sends on it is dropped."""


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
    keepalive = server_keepalive(scenario, path)
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
    kept_alive = server_keepalive(scenario, path) is not ServerKeepalive.OFF and path.idle_timeout_seconds is not None
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


def server_keepalive(scenario: Scenario, path: Path) -> ServerKeepalive:
    """The scenario's, where it says so, else its path's."""
    return scenario.server_keepalive or path.server_keepalive
