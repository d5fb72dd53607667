"""Whether a soak's counts agree with the API server's audit log; each kind of contradiction is made once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watcher.rehearsal.audit import disagreements, touches
from watcher.rehearsal.order import Touches
from watcher.totals import Totals, Update, WatcherTotals

USER = "system:serviceaccount:watcher:watcher"


def event(**changes: Any) -> str:
    made: dict[str, Any] = {
        "stage": "ResponseComplete",
        "verb": "patch",
        "user": {"username": USER},
        "objectRef": {"resource": "configmaps", "namespace": "watcher", "name": "trigger"},
        "responseStatus": {"code": 200},
        "requestObject": {"data": {"nonce": "n1"}},
    }
    return json.dumps({**made, **changes})


def totals(updates: dict[Update, int], *, observed: int = 0, missed: int = 0, dropped: int = 0) -> Totals:
    watcher = WatcherTotals(stack="python-urllib3", profile="default", observed=observed, missed=missed)
    return Totals(
        instance="soak",
        interval="600",
        deadline_seconds=10,
        began_at="2026-11-21T00:00:00Z",
        last_at="2026-11-21T01:00:00Z",
        updates=updates,
        failures_dropped=dropped,
        watchers=(watcher,),
    )


def failure(nonce: str) -> dict[str, str]:
    return {"stack": "python-urllib3", "profile": "default", "nonce": nonce}


def test_the_soaks_own_answered_touches_are_counted() -> None:
    """Otherwise the counts of a soak are checked against somebody else's."""
    lines = [
        event(),
        event(requestObject={"data": {"nonce": "n2"}}),
        event(responseStatus={"code": 403}),
        event(responseStatus={"code": 403}),
        event(user={"username": "system:serviceaccount:other:watcher"}),
        event(objectRef={"resource": "configmaps", "namespace": "watcher", "name": "totals-soak"}),
        event(objectRef={"resource": "configmaps", "namespace": "other", "name": "trigger"}),
        event(verb="get"),
        event(stage="Panic"),
        "null",
        event()[:40],
    ]
    assert touches(lines, USER, "watcher") == Touches(answered=2, others={"403": 2}, nonces=("n1", "n2"))


@pytest.mark.parametrize(
    ("updates", "answered"),
    [
        ({Update.OK: 3}, 3),
        ({Update.OK: 2, Update.NOT_VISIBLE: 1}, 3),
        ({Update.OK: 2, Update.AWAY: 2}, 3),
        ({Update.OK: 3, Update.INTERRUPTED: 1, Update.DENIED: 4}, 3),
    ],
)
def test_counts_that_agree(updates: dict[Update, int], answered: int) -> None:
    """Otherwise a soak that a kill interrupted, or whose answer was lost, is called a liar."""
    assert disagreements([totals(updates, observed=2)], [], audit_of(answered)) == ()


@pytest.mark.parametrize("answered", [1, 3])
def test_a_touch_too_many_or_too_few_is_said(answered: int) -> None:
    """Otherwise a soak may count what never happened, or lose what did."""
    assert disagreements([totals({Update.OK: 2, Update.REFUSED: 5}, observed=2)], [], audit_of(answered)) == (
        f"the totals say 2 answered touches, the audit log {answered}",
    )


def test_instances_are_added_up() -> None:
    """Otherwise two soaks in one namespace are never right."""
    assert disagreements([totals({Update.OK: 2}), totals({Update.OK: 1})], [], audit_of(3)) == ()


def test_a_failure_needs_a_touch_of_its_nonce() -> None:
    """Otherwise a miss can be invented."""
    said = disagreements([totals({Update.OK: 2}, missed=2)], [failure("n1"), failure("made-up")], audit_of(2))
    assert said == ("failure of python-urllib3/default: no touch of nonce made-up is in the audit log",)


@pytest.mark.parametrize(
    ("missed", "dropped", "written", "wrong"), [(2, 0, 1, True), (1, 0, 2, True), (3, 1, 2, False)]
)
def test_every_miss_has_its_failure(missed: int, dropped: int, written: int, wrong: bool) -> None:
    """Otherwise a miss can get lost between the count and its record."""
    failures = [failure(f"n{number + 1}") for number in range(written)]
    said = disagreements([totals({Update.OK: 5}, missed=missed, dropped=dropped)], failures, audit_of(5))
    assert bool(said) is wrong


def test_nobody_is_charged_twice_or_with_more_than_there_was() -> None:
    """Otherwise a restart that judges again doubles a miss."""
    said = disagreements([totals({Update.OK: 1}, missed=2)], [failure("n1"), failure("n1")], audit_of(1))
    assert said == (
        "python-urllib3/default: 2 touches judged of 1",
        "python-urllib3/default is charged more than once with nonce n1",
    )


def test_without_an_audit_log_the_rest_is_still_looked_at() -> None:
    """Otherwise the embedded control plane would hide a lost miss."""
    assert disagreements([totals({Update.OK: 1}, missed=1)], [], None)
    assert disagreements([totals({Update.OK: 1}, missed=1)], [failure("any")], None) == ()


def audit_of(answered: int) -> Touches:
    return Touches(answered=answered, nonces=tuple(f"n{number + 1}" for number in range(answered)))
