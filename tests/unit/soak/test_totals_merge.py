"""Portions become totals: each once, in any order, never too large."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest

from tests.unit.soak.counts import counted, totals
from watcher.soak.totals_merge import MOST_OCTETS, NO_ROOM, merge
from watcher.totals import MOST_SESSIONS, MOST_VERSIONS, MOST_WATCHERS, Keepalive, Totals, Tried, Update

COUNTS = ("observed", "missed", "late", "after_restart", "restarts", "reconnects")


def anything(source: random.Random) -> Totals:
    """A portion as a soak might send it."""
    watchers = [
        counted(
            stack,
            profile,
            delay_sum_seconds=source.randrange(1000) / 8,
            worst_delay_seconds=source.randrange(1000) / 8,
            **{name: source.randrange(50) for name in COUNTS},
        )
        for stack in ("a", "b", "c")
        for profile in ("default", "retry")
        if source.random() < 0.7
    ]
    return totals(
        *watchers,
        began_at=f"2026-11-{source.randrange(10, 29)}T00:00:00+00:00",
        last_at=f"2026-11-{source.randrange(10, 29)}T00:00:00+00:00",
        running_seconds=source.randrange(10**6) / 8,
        updates={outcome: source.randrange(9) for outcome in Update if source.random() < 0.5},
        reused={outcome: source.randrange(9) for outcome in Tried if source.random() < 0.5},
        new_failed=source.randrange(9),
        failures_dropped=source.randrange(9),
    )


def all_counts(of: Totals) -> dict[str, Any]:
    """Everything that must not depend on the order."""
    return {
        "updates": {name: count for name, count in of.updates.items() if count},
        "reused": {name: count for name, count in of.reused.items() if count},
        "rest": (of.running_seconds, of.new_failed, of.failures_dropped, of.began_at, of.last_at, of.sessions_ever),
        "sessions": of.sessions,
        "watchers": {
            (each.stack, each.profile): (
                *(getattr(each, name) for name in COUNTS),
                each.delay_sum_seconds,
                each.worst_delay_seconds,
            )
            for each in of.watchers
        },
    }


@pytest.mark.parametrize("seed", range(25))
def test_counts_do_not_depend_on_order_or_on_how_often_a_portion_is_sent(seed: int) -> None:
    """Two instances' rollout, lost answers: the table must show each touch once."""
    source = random.Random(seed)  # noqa: S311 - no secret
    portions = [(f"session-{number}", 1, anything(source)) for number in range(4)]
    ways = []
    for order in source.sample(list(permutations(portions)), 6):
        merged: Totals | None = None
        for portion in order:
            merged = merge(merged, *portion)
            for sent in source.choices(order[: order.index(portion) + 1], k=2):
                assert merge(merged, *sent) is merged
        assert merged is not None
        ways.append(all_counts(merged))
    assert all(way == ways[0] for way in ways)
    assert ways[0]["rest"][1] == sum(delta.new_failed for _, _, delta in portions)
    for name, count in ways[0]["updates"].items():
        assert count == sum(delta.updates.get(name, 0) for _, _, delta in portions)
    for key, counts in ways[0]["watchers"].items():
        found = [each for _, _, delta in portions for each in delta.watchers if (each.stack, each.profile) == key]
        assert counts[1] == sum(each.missed for each in found)
        assert counts[-1] == max(each.worst_delay_seconds for each in found)


def test_a_portion_counts_once_and_the_next_one_counts() -> None:
    """An answer that was lost is followed by the same portion again."""
    portion = totals(counted(missed=1), updates={Update.OK: 1})
    once = merge(None, "s", 1, portion)
    assert merge(once, "s", 1, portion) is once
    twice = merge(once, "s", 2, portion)
    assert twice.watchers[0].missed == 2
    assert merge(twice, "s", 1, portion) is twice
    assert (twice.sessions, twice.sessions_ever) == ({"s": 2}, 1)
    assert merge(twice, "t", 1, portion).sessions_ever == 2


def test_sessions_are_bounded_and_the_active_ones_stay() -> None:
    """Weeks of crash loops must not fill the ConfigMap, nor push out the session that is counting."""
    merged: Totals | None = None
    for number in range(1, 100):
        merged = merge(merged, f"crashed-{number}", 1, totals())
        merged = merge(merged, "steady", number, totals())
    assert merged is not None
    assert len(merged.sessions) == MOST_SESSIONS
    assert merged.sessions["steady"] == 99
    assert "crashed-99" in merged.sessions
    assert merged.sessions_ever == 100


def test_what_changes_under_the_counts_is_said() -> None:
    """An interval that was changed halfway: the table must not show the new one for all of the touches."""
    before = merge(None, "s", 1, totals(counted(version="1.0"), interval="600"))
    assert "interval" not in before.versions
    after = merge(before, "s", 2, totals(counted(version="2.0"), interval="900", deadline_seconds=5))
    assert after.versions["interval"] == ("600", "900")
    assert after.versions["deadline"] == ("10 s", "5 s")
    assert after.versions["library of python-kubernetes"] == ("1.0", "2.0")
    assert (after.interval, after.watchers[0].version) == ("900", "2.0")
    back = merge(after, "s", 3, totals(counted(), interval="600"))
    assert back.versions["interval"] == ("900", "600")
    assert back.watchers[0].version == "2.0"


def test_a_measured_keepalive_is_not_undone_by_not_knowing() -> None:
    """The first minutes after a restart measure nothing."""
    known = Keepalive(by="client", interval_seconds=30, quiet_seconds=600)
    merged = merge(None, "s", 1, totals(counted(keepalive=known)))
    for later in (None, Keepalive(by="unknown")):
        assert merge(merged, "s", 2, totals(counted(keepalive=later))).watchers[0].keepalive == known
    changed = Keepalive(by="none", quiet_seconds=60)
    assert merge(merged, "s", 2, totals(counted(keepalive=changed))).watchers[0].keepalive == changed


def test_watchers_without_room_are_named() -> None:
    """Those that are running now must be counted, whatever ran before."""
    merged = merge(None, "s", 1, totals(*(counted(f"old-{n}", observed=n) for n in range(MOST_WATCHERS))))
    merged = merge(merged, "s", 2, totals(counted("new")))
    assert len(merged.watchers) == MOST_WATCHERS
    assert {"new", "old-1"} <= {each.stack for each in merged.watchers}
    assert merged.versions[NO_ROOM] == ("old-0/default",)


@pytest.mark.parametrize("character", ["x", "\x00", '"', "\\", "\U0001f600", "\u2028"])
def test_the_totals_of_200_watchers_fit_into_a_config_map(character: str) -> None:
    """A library that says a novel of itself must not stop the counting: nothing above 1 MiB can be written."""
    text = character * 200
    merged: Totals | None = None
    for number in range(1, 12):
        watchers = [
            counted(
                f"{n:0>50}",
                "p" * 50,
                library=text,
                version=f"{number}{text}"[:200],
                runtime=text,
                language=text,
                delay_sum_seconds=1e10 / 3,
                worst_delay_seconds=1e10 / 3,
                keepalive={"by": "unknown", "interval_seconds": 1 / 3, "quiet_seconds": 1e10 / 3, "option": text},
                settings={"keepalive": True, "read_timeout_seconds": 1 / 3, "watch_timeout_seconds": 1 / 3},
                **dict.fromkeys(COUNTS, 10**15),
            )
            for n in range(MOST_WATCHERS)
        ]
        versions = {f"{number}-{n}{text}"[:200]: (f"{n}{text}"[:200],) * 20 for n in range(50)}
        portion = totals(*watchers, cluster=text, interval=text, versions=versions)
        for session in range(50):
            merged = merge(merged, f"{number}-{session}-{'s' * 150}", 10**15, portion if not session else totals())
    assert merged is not None
    assert len(merged.model_dump_json().encode()) <= MOST_OCTETS
    assert len(merged.watchers) == MOST_WATCHERS
    assert merged.watchers[0].observed == 10**15
    assert all(len(values) <= MOST_VERSIONS for values in merged.versions.values())
    assert Totals.model_validate_json(merged.model_dump_json()) == merged
