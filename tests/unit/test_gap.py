"""How long after the fault the touch comes, without a lab: the fault is a pause, the rest is the runner's own."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from watcher import faults, plan
from watcher.catalog import Catalog
from watcher.faults import pod_deleted
from watcher.lab.control_plane.own import HEARD_SECONDS
from watcher.model import CellPlan
from watcher.records import Fault
from watcher.runner.cell import CellRun

CATALOG = Catalog.load()
SCALE = 60
"""The gap of 30 s is half a second."""
SETTLED_SECONDS = 1.2
"""Before the fault is due: earlier no fault can begin."""
TAKES = 0.09
"""Of the gap: as much as moving an endpoint and going on for a moment take of 30 s."""


def cell(scenario: str) -> CellPlan:
    found, profile = CATALOG.stacks["echo-python"].stack, CATALOG.profiles["default"]
    choice = plan.Choice([found], [profile], [CATALOG.scenarios[scenario]], CATALOG.paths, {}, scale=SCALE)
    return plan.make(choice)[-1]


async def harmed(
    made: CellPlan, takes_seconds: float, monkeypatch: pytest.MonkeyPatch, **says: float
) -> tuple[float, float, float]:
    """When the touch was planned, when the fault was in force, and when the touch is due after all."""
    said: list[Fault] = []

    def apply(_scene: Any) -> tuple[()]:
        time.sleep(takes_seconds)
        return ()

    pause = SimpleNamespace(apply=apply, **says)
    monkeypatch.setattr(faults, "load", lambda _name: pause)
    run: Any = CellRun.__new__(CellRun)
    run._plan, run._cell = made, str(made.id)
    run._lab, run._place = SimpleNamespace(emit=said.append), SimpleNamespace(scene=None)
    l0 = time.monotonic() + SETTLED_SECONDS - made.timing.fault_after_seconds
    planned = l0 + made.timing.touch_after_seconds
    due = await run._harm(l0 + made.timing.fault_after_seconds, planned)
    return planned, said[0].t, due


async def test_the_gap_begins_when_the_fault_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a fault that takes 2.7 s leaves 27.3 s of 30, and whoever notices after 38 s is late by the lab's doing."""
    made = cell("pod-deleted-kube-proxy-iptables")
    gap = made.timing.gap_seconds
    planned, applied, due = await harmed(made, TAKES * gap, monkeypatch)
    assert applied >= planned - gap + TAKES * gap, "the fault took no time: nothing is tested"
    assert due == pytest.approx(applied + gap)


@pytest.mark.parametrize("says", [{"TAKES_SECONDS": 1.0}, {"TAKES_SECONDS": 60.0}, {}], ids=["told", "too long", "not"])
async def test_a_fault_that_says_what_it_takes_is_begun_earlier(
    says: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every touch of its scenarios is late by that, and a read timeout of 45 s comes about the deadline."""
    made = cell("pod-deleted-kube-proxy-iptables")
    planned, applied, due = await harmed(made, 1.0, monkeypatch, **says)
    late = applied - (planned - made.timing.gap_seconds)
    assert (late < 0.8) is bool(says)
    assert due == max(planned, applied + made.timing.gap_seconds)


@pytest.mark.parametrize("name", ["pod-deleted", "pod-deleted-same-node"])
def test_the_deleted_pods_faults_say_what_they_take(name: str) -> None:
    """The pause for kube-proxy and the moment for which the pod goes on; others are done at once."""
    assert faults.takes_seconds(name) == HEARD_SECONDS + pod_deleted.GOES_ON_SECONDS > 1
    assert faults.takes_seconds("node-gone") == 0


async def test_an_idle_paths_touch_is_due_by_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: counted from the fault, the touch would come before the path has forgotten the flow."""
    made = cell("azure-slb")
    planned, applied, due = await harmed(made, 0.0, monkeypatch)
    assert due == planned > applied + made.timing.gap_seconds
