"""Faults say in known words what they need; those of a server of their own leave nothing to heal."""

from __future__ import annotations

import signal
import time
from typing import Any, cast

import pytest

from watcher import faults
from watcher.catalog import Catalog
from watcher.errors import LabFailure, UsageError
from watcher.faults import Fault, pod_deleted
from watcher.lab import local_pod
from watcher.lab.addresses import Server
from watcher.lab.namespace import Namespace
from watcher.lab.scene import OwnServer, Scene
from watcher.model import Balancer

CATALOG = Catalog.load()
ON_OWN_SERVERS = [name for name in faults.names() if "own-backend" in faults.load(name).NEEDS]
"""Those that ``tests/lab/test_healing.py`` leaves out: what they harm ends with its scenario."""


@pytest.mark.parametrize("name", faults.names())
def test_a_scenario_that_has_nothing_is_refused_in_words_or_taken(name: str) -> None:
    """An unknown need would be an error of Python's in the face of a user."""
    scenario = CATALOG.scenarios["control"].model_copy(update={"fault": name})
    path = CATALOG.paths["kube-proxy-nftables"]
    try:
        faults.check(scenario, path)
    except UsageError as refused:
        assert f"fault {name} needs" in str(refused)  # noqa: PT017 - taken or refused, both are well


@pytest.mark.parametrize("name", CATALOG.scenarios)
def test_every_scenario_has_what_its_fault_needs(name: str) -> None:
    """One that comes with the software and cannot be run."""
    scenario = CATALOG.scenarios[name]
    faults.check(scenario, CATALOG.paths[scenario.path])


class Broken:
    """A path without flows, or a server, on which every act fails but those that are named."""

    balancer = Balancer.LAB
    server = Server("192.0.2.2", 443)

    def __init__(self, *works: str) -> None:
        self.works = works

    def established(self) -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        def act(*_: object) -> None:
            if name not in self.works:
                raise LabFailure(f"{name} is out of order")

        return act


def scene(*works: str, own: bool = True) -> Scene:
    path, server, nowhere = cast(Any, Broken(*works)), cast(OwnServer, Broken(*works)), cast(Namespace, Broken())
    return Scene(path=path, cluster=nowhere, shared=Server("192.0.2.1", 443), own=server if own else None)


def healed_twice(fault: Fault, where: Scene) -> None:
    for _ in range(2):
        fault.heal(where)


@pytest.mark.parametrize("name", ON_OWN_SERVERS)
def test_healing_without_a_harm_is_harmless(name: str) -> None:
    """A cell that ended before its fault, or without a server, is spoilt by the clean-up that follows."""
    healed_twice(faults.load(name), scene())
    healed_twice(faults.load(name), scene(own=False))


@pytest.mark.parametrize("works", ["nothing", "lead_to"])
@pytest.mark.parametrize("name", ON_OWN_SERVERS)
def test_healing_after_a_failure_is_harmless(name: str, works: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure of the harm is what must be reported, and not another one of the clean-up that follows it."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(local_pod, "delete", Broken().delete)
    fault, where = faults.load(name), scene(works)
    with pytest.raises(LabFailure):
        fault.apply(where)
    healed_twice(fault, where)


def test_a_healing_that_acts_on_the_server_is_found() -> None:
    """The mutant of the tests above."""

    class Eager:
        NEEDS = frozenset({"own-backend"})

        def apply(self, scene: Scene) -> None:
            raise AssertionError(scene)

        def heal(self, scene: Scene) -> None:
            assert scene.own is not None
            scene.own.vanish("silence")

    with pytest.raises(LabFailure):
        healed_twice(Eager(), scene())
    with pytest.raises(AssertionError):
        healed_twice(Eager(), scene(own=False))
    assert len(ON_OWN_SERVERS) >= 6


class Acted:
    """A scene, its path and its own server in one: it writes down what is done to it."""

    def __init__(self, *, deaf: bool) -> None:
        self.deaf = deaf
        self.done: list[str] = []
        self.own = self.path = self

    def established(self) -> tuple[str, ...]:
        self.done.append("looked")
        return ("flow",)

    def take_over(self) -> None:
        self.done.append("taken over")

    def signal(self, number: signal.Signals) -> None:
        self.done.append(number.name)

    def vanish(self, answer: str) -> None:
        self.done.append(answer)


@pytest.mark.parametrize("deaf", [False, True], ids=["kube-apiserver", "of-ours"])
def test_a_deleted_pod_is_told_to_end_where_it_is_deaf(deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report's pod is sent SIGTERM; sent to a server that honours it, it would be another scenario."""
    monkeypatch.setattr(pod_deleted, "GOES_ON_SECONDS", 0.0)
    scene: Any = Acted(deaf=deaf)
    found: Any = pod_deleted.apply(scene)
    assert found == ("flow",)
    assert scene.done == ["looked", "taken over", *(["SIGTERM"] if deaf else []), "silence"]
