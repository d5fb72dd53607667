"""Clients with one setting each, played on a ``Stage`` in virtual time: what their kernels and libraries would do.

Only mechanisms are played (probe every idle seconds, give up after a timeout, reconnect); nothing here knows a verdict.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from tests.unit.judge.stage import Connection, Stage, plan
from watcher.model import CellPlan, Control, Settings

SETTINGS = {
    "default": Settings(),
    "retry": Settings(retry_seconds=1),
    "tcp-keepalive-os": Settings(retry_seconds=1, keepalive=True),
    "tcp-keepalive": Settings(
        retry_seconds=1,
        keepalive=True,
        keepalive_idle_seconds=30,
        keepalive_interval_seconds=10,
        keepalive_count=3,
    ),
    "tcp-user-timeout": Settings(
        retry_seconds=1,
        keepalive=True,
        keepalive_idle_seconds=30,
        keepalive_interval_seconds=10,
        keepalive_count=3,
        user_timeout_seconds=20,
    ),
    "read-timeout": Settings(retry_seconds=1, read_timeout_seconds=45),
    "watch-timeout": Settings(retry_seconds=1, watch_timeout_seconds=100),
}


class Client:
    """One watching program over a stage's path, with its own kernel's timers."""

    def __init__(self, stage: Stage, *, deaf: bool = False) -> None:
        self.stage = stage
        self.settings = stage.plan.effective
        self.deaf = deaf
        self.alive = True
        self.flow: Connection | None = None
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.touched_at: float | None = None
        self.heard = 0.0
        self._count = 0

    def later(self, t: float, what: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self.events, (t, self._count, what))

    def play(self, until: float) -> None:
        while True:
            due = min(until, self.events[0][0] if self.events else until)
            self._told(due)
            if not self.events or self.events[0][0] > until:
                return
            t, _, what = heapq.heappop(self.events)
            what(t)

    def watch(self, flow: Connection, t: float) -> None:
        """This connection carries the watch now: arm its timers."""
        settings, self.flow, self.heard = self.settings, flow, t
        if settings.keepalive_idle_seconds is not None:
            self.later(t + settings.keepalive_idle_seconds, lambda now: self._probe(flow, now, None))
        if settings.read_timeout_seconds is not None:
            self.later(t + settings.read_timeout_seconds, lambda now: self._read_timeout(flow, now))
        if settings.watch_timeout_seconds is not None:
            self.later(t + settings.watch_timeout_seconds, lambda now: self._watch_timeout(flow, now))
        server = self.stage.plan.timing.server_keepalive_idle_seconds
        if server is not None:
            self.later(t + server, lambda now: self._server_probe(flow, now))

    def _probe(self, flow: Connection, t: float, unanswered_since: float | None) -> None:
        settings = self.settings
        assert settings.keepalive_idle_seconds is not None
        assert settings.keepalive_interval_seconds is not None
        assert settings.keepalive_count is not None
        if not self.alive or flow is not self.flow or flow.over["client"]:
            return
        quiet = max(flow.refreshed, self.heard)
        if unanswered_since is None and t < quiet + settings.keepalive_idle_seconds:
            self.later(quiet + settings.keepalive_idle_seconds, lambda now: self._probe(flow, now, None))
            return
        if unanswered_since is not None:
            limit = settings.user_timeout_seconds or settings.keepalive_interval_seconds * settings.keepalive_count
            if t - unanswered_since >= limit:
                self.stage.close(flow, t, flags="RA")
                self._lost(t)
                return
        if self.stage.probe_alive(flow, t, "client"):
            self.later(t + settings.keepalive_idle_seconds, lambda now: self._probe(flow, now, None))
        else:
            since = unanswered_since if unanswered_since is not None else t
            self.later(t + settings.keepalive_interval_seconds, lambda now: self._probe(flow, now, since))

    def _server_probe(self, flow: Connection, t: float) -> None:
        idle = self.stage.plan.timing.server_keepalive_idle_seconds
        assert idle is not None
        if flow.over["server"]:
            return
        if t >= flow.refreshed + idle and not self.stage.probe_alive(flow, t, "server"):
            return
        self.later(flow.refreshed + idle, lambda now: self._server_probe(flow, now))

    def _read_timeout(self, flow: Connection, t: float) -> None:
        if self.alive and flow is self.flow and not flow.over["client"]:
            self.stage.close(flow, t)
            self._lost(t)

    def _watch_timeout(self, flow: Connection, t: float) -> None:
        """The server ends the response; the client asks again on the same connection, if it hears of it."""
        if self.alive and flow is self.flow and not flow.over["client"] and self.stage.say(flow, t, "server", 5):
            self.stage.say(flow, t + 0.01, "client", 300)
            self.stage.say(flow, t + 0.02, "server", 300)
            self.watch(flow, t + 0.02)

    def _told(self, t: float) -> None:
        """A reset by the path reaches the client between two of its own acts."""
        self.stage.expire(t)
        if self.alive and self.flow is not None and self.flow.over["client"]:
            idle, delay = self.stage.plan.timing.idle_timeout_seconds, self.stage.plan.timing.end_delay_seconds
            assert idle is not None
            self._lost(self.flow.refreshed + idle + delay)

    def _lost(self, t: float) -> None:
        self.flow = None
        retry = self.settings.retry_seconds
        if self.deaf:
            return
        if retry is None:
            self.alive = False
            self.stage.program(t + 0.1, "error", message="connection reset")
            self.stage.program(t + 0.2, "exited", status=1)
        else:
            self.later(t + retry, self._reconnect)

    def _reconnect(self, t: float) -> None:
        if not self.alive:
            return
        flow = self.stage.open(t)
        if self.touched_at is not None:
            self.stage.program(t + 0.01, "observed", nonce="touch")
        self.watch(flow, t + 0.006)

    def event(self, t: float) -> None:
        """The server sends the event of the touch on every connection that it still has."""
        self.touched_at = t
        for flow in [*self.stage.connections]:
            if not flow.over["server"]:
                arrived = self.stage.say(flow, t, "server")
                if arrived and flow is self.flow and self.alive and not self.deaf:
                    self.stage.program(t + 0.001, "observed", nonce="touch")


def act(cell: CellPlan, **switches: Any) -> Stage:
    """Plays a whole cell. ``switches`` set attributes of the stage, as ``answers=False``."""
    stage = Stage(cell)
    for name, value in switches.items():
        setattr(stage, name, value)
    first = stage.begin()
    timing = cell.timing
    touch = timing.touch_after_seconds
    over = touch + timing.window_seconds
    if cell.control is Control.PERFECT:
        stage.the_touch(touch)
        stage.program(touch + 0.002, "observed", nonce="touch")
        stage.end(touch + 2)
        return stage
    client = Client(stage, deaf=cell.control is Control.DEAF)
    client.watch(first, 0.0)
    if cell.fault == "blackhole" and stage.forgets:
        client.play(timing.fault_after_seconds)
        stage.apply_fault(timing.fault_after_seconds, "client", "server")
    client.play(touch)
    stage.the_touch(touch)
    client.event(touch + 0.003)
    client.play(over)
    stage.end(over + 1, exits=client.alive)
    return stage


def cell_of(scenario: str, profile: str, **changes: Any) -> CellPlan:
    return plan(scenario, SETTINGS[profile], profile=profile, **changes)


def controls(scenario: str, **changes: Any) -> list[CellPlan]:
    return [plan(scenario, stack=control.value, profile="control", control=control, **changes) for control in Control]
