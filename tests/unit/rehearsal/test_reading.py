"""What a soak left in its cluster, read and told."""

from __future__ import annotations

from typing import Any

from watcher.rehearsal.order import Ended, Progress, Ready, Touches
from watcher.rehearsal.progress import words
from watcher.rehearsal.reading import left, touches
from watcher.totals import Totals, Update, WatcherTotals

TOTALS = Totals(
    instance="soak",
    interval="600",
    deadline_seconds=10,
    began_at="2026-11-21T00:00:00Z",
    last_at="2026-11-21T01:00:00Z",
    updates={Update.OK: 3, Update.AWAY: 1, Update.DENIED: 0},
    watchers=(
        WatcherTotals(stack="python-urllib3", profile="default", observed=1, missed=2, restarts=4),
        WatcherTotals(stack="python-urllib3", profile="tcp-keepalive", observed=3),
    ),
)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_totals_and_failures_are_found_by_their_names() -> None:
    """Otherwise a rehearsal ends without its counts, or takes the trigger for a failure."""
    found = left(
        [
            config_map("trigger", nonce="n"),
            config_map("totals-soak", **{"totals.json": TOTALS.model_dump_json()}),
            config_map("failure-1", nonce="a"),
            config_map("faliure-2", nonce="b"),
            config_map("kube-root-ca.crt"),
        ]
    )
    assert found.totals == (TOTALS,)
    assert [failure["nonce"] for failure in found.failures] == ["a", "b"]
    assert not found.problems
    assert touches(found.totals) == 4


def test_totals_that_cannot_be_read_are_a_problem() -> None:
    """Otherwise they would look like a soak that never touched."""
    found = left([config_map("totals-soak", **{"totals.json": "{}"}), {"metadata": {"name": "totals-other"}}])
    assert len(found.problems) == 2
    assert not found.totals


def test_the_user_is_told_in_lines() -> None:
    """Otherwise an hour passes without a word, or a failure in one that nobody reads."""
    assert words(Ready(control_plane="v1", seconds=3.21)) == "v1 is ready after 3.2 s, the soak has been started"
    assert words(Progress(seconds=61, totals=(TOTALS,))) == (
        "1 min 01 s: touches: 3 ok, 1 away; python-urllib3/default missed 2 of 3, 4 restarts"
    )
    assert words(Progress(seconds=1, totals=())) == "1 s: touches: none yet"
    ended = Ended(
        status=0,
        seconds=3600,
        totals=(TOTALS,),
        failures=2,
        audit=Touches(answered=4),
        disagreements=("too many",),
        problems=("early",),
    )
    assert words(ended).splitlines() == [
        "ended after 60 min 00 s: touches: 3 ok, 1 away; python-urllib3/default missed 2 of 3, 4 restarts;"
        " 2 failures written; the audit log has 4 answered touches",
        "  early",
        "  too many",
    ]
