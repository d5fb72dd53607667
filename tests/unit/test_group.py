"""Cells that share a server: what one member's fault does to it happens when all of them have come, or left."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import cast

import pytest

from watcher.lab.addresses import Server
from watcher.lab.namespace import Namespace
from watcher.lab.scene import Once, OwnServer
from watcher.runner.group import Group, Together

MEMBERS = ("a", "b", "c")
SOON_SECONDS = 0.2
SECONDS = 60.0


class Standing:
    """An own server that writes down what is done to it, once."""

    server = Server("10.113.0.6", 6444)
    namespace = Namespace("server-1")
    deaf = False

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self._once = Once()

    def signal(self, number: signal.Signals) -> None:
        self._once("signal", lambda: self._log.append(number.name))


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def group(log: list[str]) -> Group:
    return Group(MEMBERS, cast(OwnServer, Standing(log)), 1)


def fault(group: Group, member: str, log: list[str]) -> None:
    log.append(f"{member} looked")
    Together(group, member).signal(signal.SIGKILL)


def test_no_harm_before_the_last_has_looked(group: Group, log: list[str]) -> None:
    """Otherwise the slowest cell finds no flow any more, and its fault is unproven, or proven of nothing."""
    with ThreadPoolExecutor(3) as threads:
        early = [threads.submit(fault, group, member, log) for member in "ab"]
        assert not wait_for(early, SOON_SECONDS).done
        last = threads.submit(fault, group, "c", log)
        assert not wait_for([*early, last], SECONDS).not_done
    assert sorted(log[:3]) == ["a looked", "b looked", "c looked"]
    assert log[3:] == ["SIGKILL"]


@pytest.mark.parametrize("before", [True, False])
def test_who_has_left_is_not_waited_for(before: bool, group: Group, log: list[str]) -> None:
    """Otherwise one cell that the lab broke, or the control outside the path, holds up all the others for ever."""
    if before:
        group.leave("c")
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(fault, group, member, log) for member in "ab"]
        if not before:
            assert not wait_for(both, SOON_SECONDS).done
            group.leave("c")
        assert not wait_for(both, SECONDS).not_done
    assert log[2:] == ["SIGKILL"]


def test_the_test_above_can_fail(group: Group, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the waiting, the first one's harm comes before the last one's look."""
    monkeypatch.setattr(Group, "all_ready", lambda *_: None)
    for member in MEMBERS:
        fault(group, member, log)
    assert log.index("SIGKILL") < log.index("c looked")
