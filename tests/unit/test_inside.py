"""The stage's waves, without a lab."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from watcher import plan
from watcher.catalog import Catalog
from watcher.errors import LabFailure
from watcher.model import CellPlan
from watcher.records import Closed, Entry, LabError
from watcher.runner.inside import _groups

CATALOG = Catalog.load()


def cells(*scenarios: str) -> list[CellPlan]:
    found = CATALOG.stacks["python-urllib3"].stack
    choice = plan.Choice(
        stacks=[found],
        profiles=[CATALOG.profiles["default"]],
        scenarios=[CATALOG.scenarios[name] for name in scenarios],
        paths=CATALOG.paths,
        not_built={},
    )
    return list(plan.make(choice))


class OneOfTwo:
    """A service whose second server does not get ready."""

    def own_server(self, number: int, *, service: bool, deaf: bool) -> Any:  # noqa: ARG002 - the lab's balancer needs none
        @asynccontextmanager
        async def start() -> AsyncIterator[str]:
            if number == 2:
                raise LabFailure("not ready after 60 s")
            yield f"server {number}"

        return start()


class Asked:
    """A service that says what was asked of it."""

    def own_server(self, number: int, *, service: bool, deaf: bool) -> Any:  # noqa: ARG002 - the lab's balancer needs none
        @asynccontextmanager
        async def start() -> AsyncIterator[bool]:
            yield deaf

        return start()


async def test_a_server_is_deaf_where_its_scenarios_fault_needs_that() -> None:
    """A pod that honours SIGTERM tells its clients that it goes; one that is deaf where none should be never ends."""
    wave = cells("server-killed", "pod-deleted-kube-proxy-iptables", "pod-deleted-same-node", "server-stopped")
    async with _groups({"watch": cast(Any, Asked())}, wave, cast(Any, print)) as groups:
        deaf = {name.partition("#")[0]: cast(Any, group.own) for name, group in groups.items()}
    assert deaf == {name: name.startswith("pod-deleted") for name in deaf}
    assert len(deaf) == 4


async def test_a_server_that_does_not_get_ready_costs_its_own_cells_only() -> None:
    """A machine that is busy for a minute would end a run of an hour."""
    said: list[Entry] = []
    wave = cells("server-killed", "node-gone")
    async with _groups({"watch": cast(Any, OneOfTwo())}, wave, cast(Any, said.append)) as groups:
        assert list(groups) == ["server-killed#1/watch"]
        assert cast(Any, groups["server-killed#1/watch"].own) == "server 1"
    failed = {str(cell.id) for cell in wave if cell.id.scenario == "node-gone"}
    assert {record.cell for record in said if isinstance(record, LabError)} == failed
    assert {record.cell for record in said if isinstance(record, Closed)} == failed
    assert all(record.message == "not ready after 60 s" for record in said if isinstance(record, LabError))
