"""Clients that ask: late from their question on, and judged by what became of the connection that they asked on."""

from __future__ import annotations

import pytest

from tests.unit.judge.findings import finding
from tests.unit.judge.stage import Connection, Stage, plan
from tests.unit.judge.verdicts import judged, said
from watcher.judge.fold import Judged
from watcher.model import Ending

ASKS = 600.0
TOUCH = 270.0


def asking(scenario: str, *, touch: float = TOUCH) -> tuple[Stage, Connection]:
    stage = Stage(plan(scenario, ask_after_seconds=ASKS, window_seconds=1000.0))
    flow = stage.begin()
    stage.expire(touch - 1)
    stage.the_touch(touch)
    return stage, flow


def answered(stage: Stage, flow: Connection, after: float) -> None:
    stage.program(ASKS, "asked", message="2")
    stage.say(flow, ASKS + 0.001, "client", 300)
    stage.say(flow, ASKS + after - 0.001, "server", 400)
    stage.program(ASKS + after, "observed", nonce="touch")


def outcome(stage: Stage) -> tuple[Judged, tuple[str, str]]:
    found = judged(stage.records, stage)
    return found, said(found)


def test_the_delay_begins_with_the_question() -> None:
    """Else whoever asks every ten minutes is late by ten minutes, whatever the network does."""
    stage, flow = asking("control", touch=150.0)
    answered(stage, flow, 0.02)
    stage.end(ASKS + 2)
    found, (verdict, _) = outcome(stage)
    assert (verdict, found.outcome.delay_seconds) == ("ok", 0.02)
    assert found.evidence["question"] == {
        "asked": 600.0, "answered_after": 0.02, "port": flow.port, "reused": True,
    }  # fmt: skip


def test_a_question_answered_late_is_late() -> None:
    stage, flow = asking("control", touch=150.0)
    answered(stage, flow, 10.5)
    stage.end(ASKS + 12)
    found, (verdict, _) = outcome(stage)
    assert (verdict, found.outcome.delay_seconds) == ("late", 10.5)


def test_a_reset_that_arrives_makes_a_new_connection() -> None:
    """The first half of the original report."""
    stage, _ = asking("azure-slb", touch=292.6)
    stage.program(ASKS, "asked", message="2")
    fresh = stage.open(ASKS + 0.001)
    stage.say(fresh, ASKS + 0.02, "server", 400)
    stage.program(ASKS + 0.03, "observed", nonce="touch")
    stage.end(ASKS + 2)
    found, (verdict, _) = outcome(stage)
    assert verdict == "ok"
    question = found.evidence["question"]
    assert isinstance(question, dict)
    assert (question["port"], question["reused"]) == (fresh.port, False)


def test_a_connection_that_was_forgotten_in_silence_swallows_the_question() -> None:
    """The second half of the original report: it hangs on the stale connection."""
    stage, flow = asking("azure-slb-silent")
    stage.program(ASKS, "asked", message="2")
    for repeated in (0.001, 0.2, 0.6, 1.4):
        stage.send(flow, ASKS + repeated, "client", "PA", 300)
    stage.end(ASKS + 1001)
    found, (verdict, reason) = outcome(stage)
    assert verdict == "stuck"
    assert "when the window closed 1000.0 s later" in reason
    assert "the client's question" in finding("event-not-forwarded", stage).seen
    question = found.evidence["question"]
    assert isinstance(question, dict)
    assert (question["answered_after"], question["reused"]) == (None, True)


def test_a_question_that_gets_through_proves_nothing_forgotten() -> None:
    """The mutant of the one above: a path that forgets nothing."""
    stage, flow = asking("azure-slb-silent")
    stage.forgets, flow.forgotten = False, False
    stage.program(ASKS, "asked", message="2")
    stage.say(flow, ASKS + 0.001, "client", 300)
    assert not finding("event-not-forwarded", stage).holds


@pytest.mark.parametrize("closed_at", [ASKS + 500, TOUCH + 1001])
def test_a_window_that_did_not_stay_open_after_the_question_tells_nothing(closed_at: float) -> None:
    """Counted from the touch, it would be over before the answer could come."""
    stage, flow = asking("azure-slb-silent")
    stage.program(ASKS, "asked", message="2")
    stage.send(flow, ASKS + 0.001, "client", "PA", 300)
    stage.end(closed_at)
    assert outcome(stage)[1][0] == "invalid"


def test_a_connection_that_the_server_closed_between_two_questions_is_nobodys_fault() -> None:
    """Seen of aiohttp, which says good-bye after 15 s inside TLS, so that the server's FIN is the first one."""
    stage = Stage(plan("azure-slb-silent", ask_after_seconds=ASKS, window_seconds=1000.0))
    flow = stage.begin()
    stage.close(flow, 15.0, "server")
    stage.the_touch(TOUCH)
    stage.program(ASKS, "asked", message="2")
    fresh = stage.open(ASKS + 0.001)
    stage.say(fresh, ASKS + 0.02, "server", 400)
    stage.program(ASKS + 0.03, "observed", nonce="touch")
    stage.end(ASKS + 2)
    found, (verdict, reason) = outcome(stage)
    assert (verdict, found.outcome.proof) == ("ok", "prevented (closed before the fault)")
    assert "between two questions" in reason


def test_closing_an_idle_connection_between_two_questions_is_no_abort() -> None:
    """Seen of Go, which closes one after 90 s: the control would be charged to whoever keeps their house clean."""
    stage = Stage(plan("control", ask_after_seconds=ASKS, window_seconds=1000.0))
    flow = stage.begin()
    stage.close(flow, 90.0, "client")
    stage.the_touch(150.0)
    stage.program(ASKS, "asked", message="2")
    fresh = stage.open(ASKS + 0.001)
    stage.say(fresh, ASKS + 0.02, "server", 400)
    stage.program(ASKS + 0.03, "observed", nonce="touch")
    stage.end(ASKS + 2)
    assert outcome(stage)[1][0] == "ok"


def test_a_question_opens_a_path_that_lets_in_who_was_spoken_to() -> None:
    """Seen on gcp-vpc: the answer that came through was taken for a path that had forgotten nothing."""
    stage, flow = asking("gcp-vpc", touch=640.0)
    assert finding("idle-expired", stage).holds
    stage.plan = stage.plan.model_copy(update={"ending": Ending.BLOCKED_UNTIL_OUTBOUND})
    stage.program(645.0, "asked", message="2")
    flow.forgotten, stage.forgets = False, False
    stage.say(flow, 645.001, "client", 300)
    stage.say(flow, 645.01, "server", 400)
    found = finding("event-not-forwarded", stage)
    assert (found.holds, "opened the path again" in found.seen) == (True, True)


def test_who_says_that_it_asked_when_the_answer_is_there_is_late_all_the_same() -> None:
    """`asked` is the program's own word: a client that hangs for a minute could print it just before its answer."""
    stage, flow = asking("control", touch=150.0)
    stage.say(flow, ASKS + 0.001, "client", 300)
    stage.say(flow, ASKS + 60, "server", 400)
    stage.program(ASKS + 59.9, "asked", message="2")
    stage.program(ASKS + 60.1, "observed", nonce="touch")
    stage.end(ASKS + 62)
    found, (verdict, _) = outcome(stage)
    assert (verdict, found.outcome.delay_seconds) == ("late", 58.1)
