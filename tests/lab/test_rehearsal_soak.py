"""The soak in front of the issue's two clusters, scaled: what the paths predict is what it brings home.

A third cluster, whose path forgets nothing, shows that it is the path that decides.
"""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from tests.lab import rehearsing
from watcher.catalog import Catalog
from watcher.rehearsal.inside import MEASURED
from watcher.rehearsal.options import RehearsalOptions
from watcher.rehearsal.order import Ended
from watcher.rehearsal.run import Rehearsed, rehearse
from watcher.totals import Totals, WatcherTotals

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

SCALE = 12.0
TOUCHES = 4
STACKS = ("python-kubernetes", "python-urllib3")


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    """A touch every 35 s; the paths forget after 20 and 25 s."""
    rehearsing.real_control_plane()
    options = RehearsalOptions(
        clusters={"public": "azure-slb", "private": "azure-private-link", "direct": "direct"},
        stacks=",".join(STACKS),
        profiles="default,tcp-keepalive",
        touches=TOUCHES,
        interval_seconds=420,
        deadline_seconds=72,
        scale=SCALE,
        measure=True,
        output=tmp_path_factory.mktemp("rehearsal") / "out",
    )
    said = io.StringIO()
    done = rehearse(options, Catalog.load(), Console(file=said, width=500))
    assert done.trusted, said.getvalue()
    return done


def totals(rehearsed: Rehearsed, cluster: str) -> Totals:
    (found,) = rehearsed.clusters[cluster].totals
    return found


def watchers(rehearsed: Rehearsed, cluster: str, profile: str) -> list[WatcherTotals]:
    found = [each for each in totals(rehearsed, cluster).watchers if each.profile == profile]
    assert {each.stack for each in found} == set(STACKS)
    return found


def failures(rehearsed: Rehearsed, cluster: str) -> list[dict[str, str]]:
    items = json.loads((rehearsed.folder / cluster / "configmaps.json").read_text())["items"]
    return [each["data"] for each in items if each["metadata"]["name"].startswith("failure-")]


def test_where_the_reset_arrives_default_clients_die_and_are_started_again(rehearsed: Rehearsed) -> None:
    """The table would not say that a client passes only because something restarts it."""
    for each in watchers(rehearsed, "public", "default"):
        assert each.missed == 0
        assert each.restarts >= TOUCHES - 1
        assert each.after_restart >= TOUCHES - 1


def test_where_nobody_is_told_default_clients_miss_everything(rehearsed: Rehearsed) -> None:
    """The table would say PASS for a client that never sees a change again."""
    audit = rehearsed.clusters["private"].audit
    assert audit is not None
    for each in watchers(rehearsed, "private", "default"):
        missed = {failure["nonce"] for failure in failures(rehearsed, "private") if failure["stack"] == each.stack}
        # A program that began late on a busy machine has not been quiet for long enough when the first touch comes.
        assert each.observed <= (0 if audit.nonces[0] in missed else 1)
        assert each.missed >= TOUCHES - 1
        assert each.restarts == 0


@pytest.mark.parametrize("cluster", ["public", "private", "direct"])
def test_with_keepalive_all_is_seen(rehearsed: Rehearsed, cluster: str) -> None:
    """The table would not name the setting that helps."""
    for each in watchers(rehearsed, cluster, "tcp-keepalive"):
        assert (each.missed, each.restarts) == (0, 0)
        assert each.observed >= TOUCHES - 1
        assert each.keepalive is not None
        assert each.keepalive.by == "client"


def test_without_a_timeout_default_clients_see_all(rehearsed: Rehearsed) -> None:
    """It would not be known that the path decides: this is the check on all the others."""
    for each in watchers(rehearsed, "direct", "default"):
        assert (each.missed, each.restarts, each.after_restart) == (0, 0, 0)


@pytest.mark.parametrize(("cluster", "outcome"), [("public", "reset"), ("private", "silent"), ("direct", "alive")])
def test_the_connection_that_nobody_uses_tells_how_the_path_ends(
    rehearsed: Rehearsed, cluster: str, outcome: str
) -> None:
    """ "The old connection was dead" could not be told from "the API server was away"."""
    tried = {str(each): count for each, count in totals(rehearsed, cluster).reused.items() if count}
    assert set(tried) == {outcome}, tried
    assert totals(rehearsed, cluster).new_failed == 0


def test_every_miss_is_a_failure_with_its_touch(rehearsed: Rehearsed) -> None:
    """A miss that is only a number helps nobody to find its cause."""
    found = failures(rehearsed, "private")
    missed = sum(each.missed for each in totals(rehearsed, "private").watchers)
    audit = rehearsed.clusters["private"].audit
    assert audit is not None
    assert len(found) == missed
    assert {each["nonce"] for each in found} <= set(audit.nonces)
    assert {each["profile"] for each in found} == {"default"}
    for name in ("public", "direct"):
        assert rehearsed.clusters[name].failures == 0


def finding(rehearsed: Rehearsed, cluster: str) -> tuple[dict[str, Any], list[str]]:
    said = json.loads((rehearsed.folder / cluster / MEASURED).read_text())
    return said["finding"], [each["path"] for each in said["nearest"]]


@pytest.mark.parametrize(("cluster", "seconds", "ending"), [("public", 20, "reset"), ("private", 25, "silent")])
def test_watcher_path_finds_the_paths_timeout_and_its_ending(
    rehearsed: Rehearsed, cluster: str, seconds: float, ending: str
) -> None:
    """A user would set a keepalive by a number that is not the path's."""
    found, _ = finding(rehearsed, cluster)
    assert found["result"] == "timeout"
    assert found["ending"] == ending
    assert found["alive_seconds"] <= seconds + 1
    assert seconds - 1 <= found["dead_seconds"] <= seconds + 5


def test_watcher_path_finds_no_timeout_where_there_is_none(rehearsed: Rehearsed) -> None:
    """A user would look for a keepalive that is not needed."""
    found, _ = finding(rehearsed, "direct")
    assert found["result"] == "none"


def test_the_supervisor_is_small(rehearsed: Rehearsed) -> None:
    """It would take a node's memory from what the node is for."""
    for ended in rehearsed.clusters.values():
        assert isinstance(ended, Ended)
        assert 0 < ended.figures["supervisor_memory_mib"] < 60
