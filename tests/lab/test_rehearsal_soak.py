"""The soak in front of the issue's two clusters, scaled: what the paths predict is what it brings home.

A third cluster, whose path forgets nothing, shows that it is the path that decides.
"""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.lab import rehearsing
from watcher import cli
from watcher.catalog import Catalog
from watcher.cli.rehearsing import EXPORTS, leave_tables
from watcher.idle.nearest import nearest
from watcher.idle.verdict import Finding
from watcher.rehearsal.inside import MEASURED
from watcher.rehearsal.options import RehearsalOptions
from watcher.rehearsal.order import Ended
from watcher.rehearsal.run import Rehearsed, rehearse
from watcher.report.summary import Cell, Summary
from watcher.report.summary_words import Word
from watcher.totals import Totals, WatcherTotals

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

SCALE = 12.0
TOUCHES = 4
STACKS = ("python-kubernetes", "python-urllib3")
PATHS = {"public": "azure-slb", "private": "azure-private-link", "direct": "direct"}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    """A touch every 35 s; the paths forget after 20 and 25 s."""
    rehearsing.real_control_plane()
    options = RehearsalOptions(
        clusters=PATHS,
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
    leave_tables(done, options)
    return done


@pytest.fixture(scope="module")
def summary(rehearsed: Rehearsed) -> Summary:
    """Of what the rehearsal left, with limits that half an hour of true time can reach."""
    files = [f"--from={rehearsed.folder / EXPORTS / name}.json" for name in PATHS]
    said = [f"--path={name}={path}" for name, path in PATHS.items()]
    limits = ["--least-hours=0.2", f"--least-touches={TOUCHES - 1}"]
    result = CliRunner().invoke(cli.app, ["summarize", *files, *said, *limits, "--format", "json"])
    assert result.exit_code == 0, result.output
    return Summary.model_validate_json(result.stdout)


def cells(summary: Summary, cluster: str, profile: str) -> dict[str, Cell]:
    """By stack."""
    column = [each.name for each in summary.clusters].index(cluster)
    found = {row.stack: row.cells[column] for row in summary.rows if row.profile == profile}
    assert found.keys() == set(STACKS)
    return found


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
    """The table would say PASS for a client that never sees a change again.

    On a busy machine the last program begins to watch less than the path's 25 s before the first touch, and sees that
    one; none sees any other.
    """
    audit = rehearsed.clusters["private"].audit
    assert audit is not None
    missed = failures(rehearsed, "private")
    for each in watchers(rehearsed, "private", "default"):
        assert {miss["nonce"] for miss in missed if miss["stack"] == each.stack} >= set(audit.nonces[1:])
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


@pytest.mark.parametrize(
    ("cluster", "profile", "word", "keepalive"),
    [
        ("public", "default", Word.PASS_WITH_RESTARTS, "NO"),
        ("private", "default", Word.FAIL, "NO"),
        ("direct", "default", Word.PASS, "NO"),
        *((cluster, "tcp-keepalive", Word.PASS, "by client)") for cluster in PATHS),
    ],
)
def test_the_table_says_what_the_paths_predict(
    summary: Summary, cluster: str, profile: str, word: Word, keepalive: str
) -> None:
    """What a user reads is this table: all before it may be right, and it wrong."""
    for stack, cell in cells(summary, cluster, profile).items():
        assert cell.word is word, (stack, cell)
        assert cell.keepalive.endswith(keepalive), (stack, cell)
        assert "server" not in cell.keepalive, (stack, cell)


@pytest.mark.parametrize("cluster", PATHS)
def test_the_labs_word_stands_beside_and_is_the_same(summary: Summary, cluster: str) -> None:
    """The table's two halves contradict each other, and nobody knows which one is the client's."""
    scenario = {"direct": "control"}.get(cluster, PATHS[cluster])
    told = {
        f"{stack}/{profile}": (each.reading, cell.word.value)
        for profile in ("default", "tcp-keepalive")
        for stack, cell in cells(summary, cluster, profile).items()
        for each in cell.predicted
        if each.scenario == scenario and each.verdict is not None
    }
    assert {"python-kubernetes/default", "python-kubernetes/tcp-keepalive"} <= told.keys()
    assert all(lab == soak for lab, soak in told.values()), told


def test_a_short_soak_passes_nobody_by_the_usual_limits(rehearsed: Rehearsed) -> None:
    """Half an hour's table reads like a day's. It is the check on the limits above, too."""
    left = Summary.model_validate_json((rehearsed.folder / "summary.json").read_bytes())
    words = {cell.word for row in left.rows for cell in row.cells}
    assert words == {Word.NOT_ENOUGH, Word.FAIL}


def finding(rehearsed: Rehearsed, cluster: str) -> tuple[dict[str, Any], list[str]]:
    said = json.loads((rehearsed.folder / cluster / MEASURED).read_text())
    return said["finding"], [each["path"] for each in said["nearest"]]


@pytest.mark.parametrize(("cluster", "seconds", "ending"), [("public", 20, "reset"), ("private", 25, "silent")])
def test_watcher_path_finds_the_paths_timeout_and_its_ending(
    rehearsed: Rehearsed, cluster: str, seconds: float, ending: str
) -> None:
    """A user would set a keepalive by a number that is not the path's."""
    found, said = finding(rehearsed, cluster)
    assert found["result"] == "timeout"
    assert said
    assert found["ending"] == ending
    assert found["alive_seconds"] <= seconds + 1
    assert seconds - 1 <= found["dead_seconds"] <= seconds + 5


@pytest.mark.parametrize("cluster", PATHS)
def test_what_was_measured_leads_to_the_path_it_was_measured_on(rehearsed: Rehearsed, cluster: str) -> None:
    """A user would be told another path's cure. What was measured is in scaled seconds, the catalog in true ones."""

    def near(scale: float) -> str:
        found, _ = finding(rehearsed, cluster)
        seconds = {name: found[name] and found[name] * scale for name in ("alive_seconds", "dead_seconds")}
        return nearest(Finding.model_validate({**found, **seconds}), Catalog.load().paths.values())[0].path

    assert near(SCALE) == PATHS[cluster]
    if cluster == "private":
        assert near(SCALE * 0.8) != PATHS[cluster]  # the mutant: the same ending at 240 s is another path's


def test_watcher_path_finds_no_timeout_where_there_is_none(rehearsed: Rehearsed) -> None:
    """A user would look for a keepalive that is not needed."""
    found, said = finding(rehearsed, "direct")
    assert found["result"] == "none"
    assert said[0] == "direct"


def test_the_supervisor_is_small(rehearsed: Rehearsed) -> None:
    """It would take a node's memory from what the node is for."""
    for ended in rehearsed.clusters.values():
        assert isinstance(ended, Ended)
        assert 0 < ended.figures["supervisor_memory_mib"] < 60
