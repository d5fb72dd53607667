"""A busy scenario: many touches, each of which must be seen in time, itself or by a newer one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.judge.findings import finding
from tests.unit.judge.stage import Stage, plan
from tests.unit.judge.verdicts import judged, judged_without, said
from watcher.judge import facts
from watcher.judge.fold import Judged
from watcher.model import Touch
from watcher.records import Program, Touched

EVERY = 2.0
LENGTH = 30.0
COUNT = 14
"""Busy touches, before the last one."""


def busy(delays: Mapping[int, float | None] | None = None, *, last: float | None = 0.01, **update: Any) -> Stage:
    """All are seen after 10 ms but those of ``delays`` (None: never), by their numbers from 1.

    ``update`` is what was otherwise with the third.
    """
    stage = Stage(plan("control", quiet_seconds=LENGTH, busy_interval_seconds=EVERY))
    flow = stage.begin()
    for number in range(1, COUNT + 1):
        at = EVERY * number
        stage.touched(Touch.BUSY, at, nonce=f"busy-{number}", **(update if number == 3 else {}))
        stage.say(flow, at + 0.003, "server")
        delay = (delays or {}).get(number, 0.01)
        if delay is not None:
            stage.program(at + delay, "observed", nonce=f"busy-{number}")
    stage.the_touch(LENGTH)
    stage.say(flow, LENGTH + 0.003, "server")
    if last is not None:
        stage.program(LENGTH + last, "observed", nonce="touch")
    stage.end(LENGTH + 121)
    return stage


def verdict(stage: Stage) -> tuple[str, str, float | None]:
    found = judged(stage.records, stage)
    return (*said(found), found.outcome.delay_seconds)


def test_all_seen() -> None:
    """The control that touches often says nothing about how it went."""
    assert verdict(busy({3: 0.4})) == ("ok", "saw all 15 changes, at worst after 0.40 s", 0.4)
    found = judged(busy({3: 0.4}).records, busy())
    assert found.evidence["busy"] == {"count": 15, "unseen": 0, "worst": 0.4, "median": 0.01}
    assert found.evidence["observations"] == {"distinct": 16, "wrong": 0}
    assert finding("no-fault", busy()).holds
    assert finding("delivered-on-established-flow", busy()).holds


def test_one_late_change_is_late() -> None:
    """Eighty-nine quick changes hide the one that came after a quarter of a minute."""
    late = dict.fromkeys(range(2, 10))
    assert verdict(busy(late)) == ("late", "saw all 15 changes, at worst after 16.0 s", 16.01)


def test_a_newer_state_is_as_good() -> None:
    """Informers fold changes that follow each other quickly, and are charged for each that they folded."""
    assert verdict(busy({4: None, 5: None})) == ("ok", "saw all 15 changes, at worst after 4.0 s", 4.01)


def test_an_older_state_is_not() -> None:
    """What a program printed of an earlier change counts for a later one."""
    stage = busy(dict.fromkeys(range(8, COUNT + 1)), last=None)
    verdict_said, reason, delay = verdict(stage)
    assert (verdict_said, delay) == ("stuck", None)
    assert reason.endswith("; of 15 changes it had seen 7")


def test_the_last_one_unseen_is_stuck_however_many_were_seen() -> None:
    """A watch that broke at the end passes because it had worked before."""
    assert verdict(busy(last=None))[0] == "stuck"


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ({"status": 500}, "failed update: a busy touch: status 500"),
        ({"answered": None, "error": "ConnectionRefusedError"}, "failed update: a busy touch: ConnectionRefusedError"),
        ({"took": 11.0}, "slow update: it took 11.0 s, the deadline is 10 s"),
    ],
)
def test_an_update_that_failed_is_charged_to_nobody(update: dict[str, Any], reason: str) -> None:
    """The API server was slow once, and the client is late."""
    assert verdict(busy(**update))[:2] == ("invalid", reason)


def test_a_change_is_late_where_the_slow_update_of_another_is_in_doubt() -> None:
    """One doubtful update takes the verdict from a cell that is late without any doubt."""

    def doubtful(until: int) -> Judged:
        stage = busy({1: 10.5, **dict.fromkeys(range(2, until))})
        slow = [
            r.model_copy(update={"answered": r.sent + 1.0}) if isinstance(r, Touched) and r.nonce == "busy-1" else r
            for r in stage.records
        ]
        return judged(slow, stage)

    alone = doubtful(6)
    assert said(alone) == (
        "invalid",
        "slow update: it took 1.00 s, which decides whether 10.01 s is late",
    )
    beside = doubtful(7)
    assert (said(beside)[0], beside.outcome.delay_seconds) == ("late", 10.5)


def test_a_quiet_cell_is_not_busy() -> None:
    """The runner forgets its touches, and the busy control is the quiet one by another name."""
    stage = busy()
    few = judged_without(stage, lambda r: isinstance(r, Touched) and r.nonce in ("busy-4", "busy-5", "busy-6"))
    assert said(few) == ("invalid", "incomplete record: 11 busy touches instead of 14")
    dead = busy(last=None)
    dead.records = [r for r in dead.records if not (isinstance(r, Touched) and r.role is Touch.BUSY)]
    dead.records = [r for r in dead.records if not (isinstance(r, Program) and r.event == "exited")]
    dead.program(1, "exited", status=1)
    dead.records[-2:] = reversed(dead.records[-2:])
    assert verdict(dead)[0] == "died"


def test_more_touches_than_the_judge_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not bounded; or the last touch is lost among the many, without a word."""
    monkeypatch.setattr(facts, "MAX_TOUCHES", 5)
    assert verdict(busy())[:2] == ("invalid", "incomplete record: more touches than can be judged")
