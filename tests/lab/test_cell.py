"""One cell in the lab, and what may not get into its evidence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from tests.lab.environments import built
from tests.lab.sandboxed import run_inside
from watcher import plan
from watcher.catalog import Catalog
from watcher.lab import nftables
from watcher.lab.namespace import Namespace
from watcher.programs import environments
from watcher.records import Entry, Fault, Packet, Program
from watcher.runner import inside
from watcher.runner.order import Launch, Order

pytestmark = pytest.mark.lab

STACK = "python-urllib3"
SCALE = 12.0
SLOW_SECONDS = 1.0
"""Longer than the kernel waits before it sends an unanswered FIN again, and again."""


def order(folder: Path) -> Order:
    """One cell in which a client that has been cut off hears nothing, and is ended for that."""
    catalog = Catalog.load()
    found = catalog.stacks[STACK]
    choice = plan.Choice(
        [found.stack],
        [catalog.profiles["default"]],
        [catalog.scenarios["blackhole"]],
        catalog.paths,
        {},
        scale=SCALE,
        deadline_seconds=1.0,
    )
    (cell,) = [each for each in plan.make(choice) if each.control is None]
    environment = environments.environment_for(found.folder, found.build)
    arguments = tuple(part.format(environment=environment, folder=found.folder) for part in found.stack.command)
    launches = {STACK: Launch(arguments=arguments)}
    return Order(
        run="run", folder=str(folder), scale=SCALE, deadline_seconds=1.0, launches=launches, cells=(cell,)
    )  # fmt: skip


async def slow_mending_scene(given: str) -> dict[str, Any]:
    """The machine is busy just when the path is made whole again."""
    mend, seen = nftables.mend, list[Entry]()

    def slow(path: Namespace) -> None:
        mend(path)
        time.sleep(SLOW_SECONDS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nftables, "mend", slow)
        await inside.stage(Order.model_validate_json(given), cast(inside.Outlet, seen.append), time.monotonic())
    (fault,) = [each for each in seen if isinstance(each, Fault)]
    (ended,) = [each for each in seen if isinstance(each, Program) and each.event == "exited"]
    cut = {flow.port for flow in fault.flows}
    after = [each for each in seen if isinstance(each, Packet) and each.port in cut and each.t > fault.t]
    return {
        "by us": ended.by_harness,
        "fin": sum("F" in each.flags for each in after if (each.link, each.direction) == ("client", "to-server")),
        "crossed": [
            each.flags
            for each in after
            if (each.link, each.direction) in {("server", "to-server"), ("client", "to-client")}
        ],
    }


def test_nothing_of_the_clean_up_is_taken_for_a_leak_of_the_fault(tmp_path: Path) -> None:
    """On a busy machine a client that was deaf makes its cell invalid: the FIN of the program that the harness ends is
    sent again, and gets through once the fault is undone.
    """
    built(STACK)
    seen = run_inside(slow_mending_scene, order(tmp_path).model_dump_json())
    assert seen["by us"]
    assert seen["fin"] >= 1, "nothing was sent that could have crossed: this test shows nothing"
    assert seen["crossed"] == []
