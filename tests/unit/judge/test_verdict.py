"""Each verdict, and the order in which they apply."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.unit.judge.clients import SETTINGS, act, cell_of, controls
from tests.unit.judge.stage import Stage, plan
from tests.unit.judge.verdicts import judged, judged_without, said
from watcher.model import Settings, Touch, Verdict
from watcher.records import (
    Conntrack,
    Dropped,
    LabError,
    Packet,
    Planned,
    Probed,
    Program,
    Record,
    Settled,
    Socket,
    Sockets,
    Sysctls,
    Touched,
    Unserved,
)

TOUCH = 150.0


def quiet(settings: Settings | None = None, *, observed: float | None = 0.01, **changes: object) -> Stage:
    """A cell of ``control`` whose event crosses the path; ``observed`` is when the program says so, after the touch."""
    stage = Stage(plan("control", settings, **changes))
    flow = stage.begin()
    stage.the_touch(TOUCH)
    stage.say(flow, TOUCH + 0.003, "server")
    if observed is not None:
        stage.program(TOUCH + observed, "observed", nonce="touch")
    return stage


def closed(stage: Stage, *, exits: bool = True) -> Stage:
    stage.end(TOUCH + 121, exits=exits)
    return stage


def with_touch(stage: Stage, took: float, **fields: object) -> list[Record]:
    """The records, with another answer to the touch."""
    other = Stage(stage.plan)
    other.touched(Touch.TOUCH, TOUCH, took, **fields)
    [touch] = other.records
    return [touch if isinstance(r, Touched) and r.role is Touch.TOUCH else r for r in stage.records]


def test_ok_with_delay() -> None:
    """The good news itself: a change that was seen at once."""
    stage = closed(quiet())
    found = judged(stage.records, stage)
    assert said(found) == ("ok", "saw the change after 10 ms")
    assert (found.outcome.delay_seconds, found.outcome.proof) == (0.01, "happened")


def test_ok_although_it_exits_afterwards() -> None:
    """A program that does its work and ends is called dead."""
    stage = quiet()
    stage.program(TOUCH + 0.5, "exited", status=1)
    assert said(judged(closed(stage, exits=False).records, stage))[0] == "ok"


def test_line_read_after_the_exit_was_noticed_still_counts() -> None:
    """Output that was in the pipe when the program ended is lost, and it is called dead."""
    stage = quiet()
    stage.program(TOUCH + 0.009, "exited", status=0)
    assert said(judged(closed(stage, exits=False).records, stage))[0] == "ok"


def test_late_with_delay() -> None:
    """A client that sees a change after a minute passes as one that sees it at once."""
    stage = closed(quiet(observed=45.2))
    found = judged(stage.records, stage)
    assert said(found) == ("late", "saw the change after 45.2 s")
    assert found.outcome.delay_seconds == 45.2


@pytest.mark.parametrize("status", [0, 1, -9])
def test_exit_before_observing_is_death_whatever_its_status(status: int) -> None:
    """A controller that ends quietly, with status 0, is taken for one that watches."""
    stage = quiet(observed=None)
    stage.program(TOUCH - 130, "error", message="connection reset\nby peer")
    stage.program(TOUCH - 129.9, "exited", status=status)
    verdict, reason = said(judged(closed(stage, exits=False).records, stage))
    how = "was ended by signal 9" if status < 0 else f"exited with status {status}"
    assert (verdict, reason) == ("died", f"{how}, 20.1 s after the last packet: connection reset by peer")


def test_violation_is_an_exit_even_if_the_harness_ended_it() -> None:
    """A program that prints garbage is killed for it, and then counted as stuck."""
    stage = quiet(observed=None)
    stage.program(TOUCH - 10, "violation", message="a line of more than 1048576 bytes")
    stage.program(TOUCH - 9, "exited", status=-9, by_harness=True)
    verdict, reason = said(judged(closed(stage, exits=False).records, stage))
    assert verdict == "died"
    assert reason.startswith("broke the contract: a line of more than 1048576 bytes")


def test_stuck_says_for_how_long_and_with_what() -> None:
    """The worst verdict comes without the words that make a user believe it."""
    stage = closed(quiet(observed=None))
    assert said(judged(stage.records, stage)) == (
        "stuck",
        "never saw the change; its connection was still open when the window closed 120.0 s later",
    )


def test_stuck_names_a_keepalive_that_was_asked_for_and_not_set() -> None:
    """A client says itself that it has no keepalive, and nobody tells the user who asked for it."""
    stage = quiet(SETTINGS["tcp-keepalive"], observed=None)
    for keepalive, expected in ((False, True), (True, False)):
        socket = Socket(port=40_001, state="ESTABLISHED", timer=None, timer_seconds=None, keepalive=keepalive)
        looked = Sockets(t=stage.at(1), cell=stage.cell, moment="watching", sockets=(socket,))
        claim = {"keepalive": keepalive, "keepalive_idle_seconds": 7200}
        other = closed(Stage(stage.plan))
        records = [
            r.model_copy(update={"settings": claim}) if isinstance(r, Program) and r.event == "started" else r
            for r in [*stage.records, looked, *other.records]
        ]
        verdict, reason = said(judged(records, stage))
        assert verdict == "stuck"
        assert ("but its socket had none" in reason) is expected


def test_unsupported_is_127_before_started() -> None:
    """A profile that a stack cannot do is charged to it as a failure; or 127 later on hides a crash."""
    stage = Stage(plan("control"))
    stage.begin()
    early = judged_without(
        closed(_exits(stage, 127), exits=False), lambda r: isinstance(r, Program) and r.event != "exited"
    )
    assert early.outcome.verdict is Verdict.UNSUPPORTED
    late = quiet(observed=None)
    assert said(judged(closed(_exits(late, 127), exits=False).records, late))[0] == "died"


def _exits(stage: Stage, status: int) -> Stage:
    stage.program(5, "exited", status=status)
    return stage


@pytest.mark.parametrize("event", ["watching", "observed"])
def test_never_observed_the_control_touch(event: str) -> None:
    """A program that never worked at all is charged with the network's faults."""
    stage = closed(quiet(observed=None))
    found = judged_without(stage, lambda r: isinstance(r, Program) and r.event == event)
    assert found.outcome.verdict is Verdict.INVALID
    assert found.outcome.reason.startswith("never observed the control touch: ")


def test_exit_before_the_control_touch_gives_its_last_words() -> None:
    """A missing package shows as ``invalid`` and nobody says what it was."""
    stage = Stage(plan("control"))
    stage.program(-3, "spawned")
    stage.program(-2, "error", message="No module named 'x'")
    stage.program(-1, "exited", status=1)
    begun = Stage(stage.plan)
    begun.begin()
    stage.end(0, exits=False)
    found = judged([begun.records[0], *stage.records], stage)
    assert said(found) == (
        "invalid",
        "never observed the control touch: it never began to watch: exited with status 1: No module named 'x'",
    )


@pytest.mark.parametrize("kind", [Settled, Touched, Conntrack, Packet, Program])
def test_missing_records_are_never_ok(kind: type[Record]) -> None:
    """A hole in the journal turns into a verdict."""
    stage = act(cell_of("azure-slb-silent", "tcp-keepalive"))
    assert said(judged(stage.records, stage))[0] == "ok"
    found = judged_without(stage, lambda r: isinstance(r, kind))
    assert found.outcome.verdict is Verdict.INVALID, found.outcome


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (LabError(t=1, cell="", message="veth is gone"), "lab failure: veth is gone"),
        (Dropped(t=1, cell="", packets=3), "lab failure: the capture lost 3 packets"),
        (Unserved(t=1, cell="", what="GET /api/v1/pods"), "needs the real control plane: GET /api/v1/pods"),
        (
            Sysctls(t=1, cell="", moment="touch", wrong={"net.ipv4.tcp_retries2": "8"}),
            "lab failure: sysctls had changed at touch: net.ipv4.tcp_retries2 is 8",
        ),
    ],
)
def test_lab_failures_are_charged_to_nobody(trouble: Record, reason: str) -> None:
    """What broke in the lab is published as a client's behaviour."""
    stage = quiet()
    stage.add(trouble.model_copy(update={"cell": stage.cell}))
    assert said(judged(closed(stage).records, stage)) == ("invalid", reason)
    harmless = quiet()
    harmless.add(
        Dropped(t=1, cell=harmless.cell, packets=0), Sysctls(t=1, cell=harmless.cell, moment="touch", wrong={})
    )
    assert said(judged(closed(harmless).records, harmless))[0] == "ok"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": 500}, "failed update: the touch: status 500"),
        ({"answered": None, "status": None, "error": "timed out"}, "failed update: the touch: timed out"),
    ],
)
def test_failed_update(fields: dict[str, object], reason: str) -> None:
    """A change that was never made is a change that a client missed."""
    stage = closed(quiet(observed=None))
    assert said(judged(with_touch(stage, 0.01, **fields), stage)) == ("invalid", reason)


@pytest.mark.parametrize(
    ("took", "observed", "expected"),
    [
        (0.004, 9.99, "ok"),
        (0.004, 10.01, "invalid"),  # 10.006 s after the answer would be late, 10.01 s after sending is
        (0.02, 10.01, "invalid"),
        (0.02, 10.03, "late"),
        (9.9, 10.5, "invalid"),
        (9.9, 9.5, "ok"),
        (9.9, 25.0, "late"),
        (10.1, 10.2, "invalid"),
        (10.1, None, "invalid"),
        (10.1, 0.5, "invalid"),
    ],
)
def test_slow_updates(took: float, observed: float | None, expected: str) -> None:
    """A slow API server makes a client late, or an early answer makes it punctual."""
    stage = closed(quiet(observed=observed))
    if (took, observed) == (0.004, 10.01):
        expected = "late"  # after sending 10.01, after the answer 10.006: both are too late
    verdict, reason = said(judged(with_touch(stage, took), stage))
    assert verdict == expected
    assert reason.startswith("slow update: ") is (expected == "invalid")


@pytest.mark.parametrize(("observed", "expected"), [(0.2, "ok"), (0.6, "invalid"), (1.2, "late")])
def test_between_scaled_deadline_and_its_floor_nothing_is_decided(observed: float, expected: str) -> None:
    """A fast run calls a client punctual that true time would call late."""
    stage = closed(quiet(observed=observed, deadline_seconds=1.0, scaled_deadline_seconds=0.5, scale=20.0))
    verdict, reason = said(judged(stage.records, stage))
    assert verdict == expected
    assert reason.startswith("not decidable at this scale") is (expected == "invalid")


def test_window_that_closed_early_decides_nothing_about_a_silent_program() -> None:
    """A run cut short calls every client stuck that would have recovered."""
    stage = quiet(observed=None)
    stage.end(TOUCH + 60)
    verdict, reason = said(judged(stage.records, stage))
    assert (verdict, reason) == ("invalid", "incomplete record: the window closed after 60.0 s instead of 120.0 s")


def test_unproven_before_any_word_on_the_client() -> None:
    """A client is praised or blamed for a fault that did not happen."""
    stage = closed(quiet())
    for flags in ("R", "RA"):
        changed = Stage(stage.plan)
        changed.path_reset(stage.connections[0], 20, "client", seq=stage.connections[0].got["client"])
        reset = changed.records[0].model_copy(update={"flags": flags})
        assert said(judged([*stage.records[:-1], reset, stage.records[-1]], stage)) == (
            "invalid",
            "unproven: no-fault: the path itself sent 1 RST",
        )


@pytest.mark.parametrize("flags", ["FA", "RA"])
@pytest.mark.parametrize("reconnects", [True, False])
def test_false_abort(flags: str, reconnects: bool) -> None:
    """A client that ends healthy watches is called ok, or merely dead."""
    stage = _ends_itself(Settings(), 30.0, flags, reconnects=reconnects)
    found = judged(stage.records, stage)
    flag = "RST" if "R" in flags else "FIN"
    assert said(found) == ("false-abort", f"ended a healthy watch itself, by {flag}, 30.0 s after the last packet")
    assert found.outcome.proof == ("happened" if reconnects else "prevented (closed before the fault)")


def test_false_abort_right_after_the_control_touch() -> None:
    """A client that hangs up after every event is excused by the event."""
    stage = _ends_itself(Settings(), 0.3)
    assert said(judged(stage.records, stage))[0] == "false-abort"


def _ends_itself(settings: Settings, after: float, flags: str = "FA", *, reconnects: bool = True) -> Stage:
    stage = Stage(plan("control", settings))
    flow = stage.begin()
    stage.close(flow, after, flags=flags)
    if reconnects:
        flow = stage.open(after + 1)
    else:
        stage.program(after + 0.1, "exited", status=1)
    stage.the_touch(TOUCH)
    if reconnects:
        stage.say(flow, TOUCH + 0.003, "server")
        stage.program(TOUCH + 0.01, "observed", nonce="touch")
    return closed(stage, exits=reconnects)


@pytest.mark.parametrize(
    ("settings", "after", "expected"),
    [
        (SETTINGS["read-timeout"], 45.0, "ok"),
        (SETTINGS["read-timeout"], 44.0, "ok"),
        (SETTINGS["read-timeout"], 10.0, "false-abort"),
        (SETTINGS["watch-timeout"], 100.0, "ok"),
        (SETTINGS["watch-timeout"], 50.0, "false-abort"),
        (SETTINGS["tcp-keepalive"], 45.0, "false-abort"),
    ],
)
def test_end_that_a_setting_asked_for_is_no_false_abort(settings: Settings, after: float, expected: str) -> None:
    """read-timeout is a setting that works, and the matrix says that it breaks healthy watches."""
    stage = _ends_itself(settings, after)
    found = judged(stage.records, stage)
    assert said(found)[0] == expected
    asked = found.evidence["ends_asked_for"]
    assert isinstance(asked, list)
    assert len(asked) == (1 if expected == "ok" else 0)


def test_end_by_the_server_is_no_false_abort() -> None:
    """API servers end watches now and then; clients are charged with it."""
    stage = Stage(plan("control"))
    flow = stage.begin()
    stage.close(flow, 30, "server")
    stage.close(flow, 30.01, "client")
    flow = stage.open(31)
    stage.the_touch(TOUCH)
    stage.say(flow, TOUCH + 0.003, "server")
    stage.program(TOUCH + 0.01, "observed", nonce="touch")
    closed(stage)
    assert said(judged(stage.records, stage))[0] == "ok"


def test_aborts_count_in_control_scenarios_only() -> None:
    """A client that replaces its watch to survive an idle timeout is called broken for it."""
    stage = act(cell_of("azure-slb-silent", "read-timeout"))
    assert said(judged(stage.records, stage))[0] == "ok"


def test_nonce_printed_before_it_was_sent_does_not_count_and_is_noted() -> None:
    """A program that guesses is believed."""
    stage = quiet(observed=None)
    stage.program(TOUCH - 0.01, "observed", nonce="touch")
    found = judged(closed(stage).records, stage)
    assert found.outcome.verdict is Verdict.STUCK
    assert found.outcome.reason.endswith("it printed the nonce 1 times before it was sent")
    assert found.evidence["foretold"] == 1


def test_program_that_prints_every_nonce_it_can_guess_sees_nothing() -> None:
    """A program that floods its output with guesses is believed, or floods the judge's memory."""
    stage = quiet(observed=None)
    for number in range(12_000):
        stage.program(TOUCH + 1 + number / 1000, "observed", nonce=f"guess-{number}")
    found = judged(closed(stage).records, stage)
    assert found.outcome.verdict is Verdict.STUCK
    assert found.evidence["observations"] == {"distinct": 12_001, "wrong": 12_000}


def test_true_observation_among_many_wrong_ones_counts() -> None:
    """A chatty program loses its true observation among its wrong ones."""
    stage = quiet()
    for number in range(6_000):
        stage.program(TOUCH + 1 + number / 1000, "observed", nonce=f"guess-{number}")
    assert said(judged(closed(stage).records, stage))[0] == "ok"


def test_old_nonce_never_counts() -> None:
    """A program that repeats what it knows already is believed to have seen the change."""
    stage = quiet(observed=None)
    stage.program(TOUCH + 0.01, "observed", nonce="control")
    assert said(judged(closed(stage).records, stage))[0] == "stuck"


def test_perfect_control_needs_no_packets() -> None:
    """The control outside the path fails for want of a path, and takes its scenario along."""
    perfect, deaf = controls("blackhole")
    stage = act(perfect)
    found = judged(stage.records, stage)
    assert (found.outcome.verdict, found.outcome.proof) == (Verdict.OK, "none")
    stage = act(deaf)
    found = judged_without(stage, lambda r: isinstance(r, Packet))
    assert found.outcome.verdict is Verdict.INVALID


def test_order_of_verdicts() -> None:
    """A worse verdict hides behind a better one: each layer is taken away and the next must come out."""
    stage = _ends_itself(Settings(), 30.0, reconnects=True)
    stage.records.insert(1, Program(t=stage.at(-1.9), cell=stage.cell, event="exited", status=127))
    stage.records.insert(1, LabError(t=stage.at(-1.9), cell=stage.cell, message="x"))
    layers: list[tuple[str, Callable[[Record], bool]]] = [
        ("unsupported", lambda r: isinstance(r, Program) and r.event == "started"),
        ("invalid", lambda r: isinstance(r, Sockets)),
        ("false-abort", lambda r: isinstance(r, LabError)),
        ("ok", lambda r: isinstance(r, Packet) and "F" in r.flags),
        ("died", lambda r: isinstance(r, Program) and r.nonce == "touch"),
        ("stuck", lambda r: isinstance(r, Program) and r.status == 127),
    ]
    removed: list[Callable[[Record], bool]] = []
    for expected, unwanted in layers:
        if expected == "unsupported":
            found = judged_without(stage, unwanted)
        else:
            removed.append(unwanted)
            found = judged_without(stage, lambda r: any(each(r) for each in removed))
        assert found.outcome.verdict.value == expected, found.outcome


def test_probe_flow_is_not_the_clients() -> None:
    """The lab's own probe passes for the client's connection, and keeps its silence from being seen."""
    stage = Stage(cell_of("azure-slb-silent", "default"))
    flow = stage.begin()
    stage.the_touch(270)
    stage.say(flow, 270.003, "server")
    probe = stage.open(270.004, port=60_000)
    stage.close(probe, 270.02)
    stage.end(392)
    found = judged(stage.records, stage)
    assert (found.outcome.verdict, found.outcome.proof) == (Verdict.STUCK, "happened")
    assert found.evidence["flows_total"] == 1


def test_probe_may_use_the_port_of_a_dead_program() -> None:
    """The evidence of a program's death is taken for the lab's own, because the kernel gave out its port again."""
    stage = act(cell_of("azure-slb", "default"))
    [first] = stage.connections
    close = stage.records.pop()
    probe = stage.open(stage.plan.timing.touch_after_seconds + 0.004, port=first.port)
    stage.close(probe, stage.plan.timing.touch_after_seconds + 0.02)
    records = [r.model_copy(update={"port": first.port}) if isinstance(r, Probed) else r for r in stage.records]
    found = judged([*records, close], stage)
    assert (found.outcome.verdict, found.outcome.proof) == (Verdict.DIED, "happened")


def test_skipped_cells_are_outcomes_of_their_plan() -> None:
    """Cells that cannot run vanish from the matrix instead of saying why."""
    from watcher.judge.fold import Judge
    from watcher.model import Skip

    for verdict, reason in itertools.product([Verdict.UNSUPPORTED, Verdict.INVALID], ["not scalable: x"]):
        cell = plan("control", skip=Skip(verdict=verdict, reason=reason))
        [(cell_id, outcome)] = Judge().feed(Planned(t=0, cell=str(cell.id), plan=cell))
        assert cell_id == cell.id
        assert (outcome.verdict, outcome.reason, outcome.proof) == (verdict, reason, "none")
