"""Faults say in known words what they need."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from watcher import faults
from watcher.catalog import Catalog
from watcher.errors import UsageError
from watcher.faults import pod_deleted

CATALOG = Catalog.load()


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
