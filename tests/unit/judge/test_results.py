"""From outcomes to results: controls, repeats, and trust in the run."""

from __future__ import annotations

import pytest

from tests.unit.judge.clients import act, cell_of, controls
from tests.unit.judge.stage import Stage, journal, plan, run_started
from watcher.errors import UsageError
from watcher.judge.fold import Judge
from watcher.judge.results import Docket, results_of
from watcher.model import CellPlan, Control, Results, Skip, Verdict
from watcher.records import Began, Closed, LabError, LabReady, Packet, Program, Record

SCENARIO = "azure-slb-silent"


def rows(results: Results) -> dict[str, str]:
    return {cell.profile: cell.verdict.value for cell in results.cells}


def run(*cells: CellPlan, changed: dict[Control, Stage] | None = None) -> Results:
    """A run of these cells with the scenario's controls, some of them replaced."""
    stages = [(changed or {}).get(each.control or Control.DEAF) or act(each) for each in controls(SCENARIO)]
    return results_of(journal(*stages, *(act(cell) for cell in cells)))


def silenced(stage: Stage) -> Stage:
    """The program never says that it saw the touch."""
    stage.records = [r for r in stage.records if not (isinstance(r, Program) and r.nonce == "touch")]
    return stage


def test_a_sound_run() -> None:
    """A good run is thrown away; or its controls are counted among the user's own cells."""
    results = run(cell_of(SCENARIO, "default"), cell_of(SCENARIO, "tcp-keepalive"))
    assert results.run.trusted, results.run.distrust
    assert rows(results) == {"default": "stuck", "tcp-keepalive": "ok"}
    assert {cell.control: cell.verdict.value for cell in results.controls} == {"perfect": "ok", "deaf": "stuck"}
    assert Results.model_validate_json(results.model_dump_json()) == results


def test_a_failed_control_takes_its_scenario_along_and_no_other() -> None:
    """The lab's own update was lost, and every client of the scenario is called stuck."""
    perfect, deaf = controls(SCENARIO)
    lost = act(perfect)
    silenced(lost).end(500)
    stages = [lost, act(deaf), act(cell_of(SCENARIO, "default"))]
    others = [act(cell) for cell in [*controls("control"), cell_of("control", "retry")]]
    results = results_of(journal(*stages, *others))
    by_scenario = {cell.scenario: cell for cell in results.cells}
    assert by_scenario[SCENARIO].verdict is Verdict.INVALID
    assert by_scenario[SCENARIO].reason.startswith("control failed: perfect was ")
    assert by_scenario["control"].verdict is Verdict.OK
    assert not results.run.trusted


def test_deaf_control_that_sees_or_is_unproven_fails() -> None:
    """A lab that counts too much as seen is trusted, for its perfect client is always perfect."""
    perfect, deaf = controls(SCENARIO)
    hears = act(deaf)
    hears.program(271, "observed", nonce="touch")
    hears.records[-1], hears.records[-2] = hears.records[-2], hears.records[-1]
    results = results_of(journal(act(perfect), hears, act(cell_of(SCENARIO, "default"))))
    assert results.cells[0].reason.startswith("control failed: deaf was ok, not stuck: ")
    results = results_of(journal(act(perfect), act(deaf, forgets=False), act(cell_of(SCENARIO, "default"))))
    assert results.cells[0].reason.startswith("control failed: deaf was invalid, not stuck: unproven: idle-expired")


def test_deaf_control_kept_alive_by_a_client_fails() -> None:
    """The control that must never send has keepalive on, and hides that the path does not forget."""
    perfect, deaf = controls(SCENARIO)
    chatty = act(cell_of(SCENARIO, "tcp-keepalive"))
    loud = Stage(deaf)
    loud.records = [
        record.model_copy(update={"cell": str(deaf.id)})
        for record in silenced(chatty).records
        if not isinstance(record, Began | Closed)
    ]
    loud.records.insert(0, Began(t=0, cell=loud.cell))
    loud.end(400)
    [row] = results_of(journal(act(perfect), loud, act(cell_of(SCENARIO, "default")))).cells
    assert row.reason == "control failed: deaf was stuck, but its proof is prevented (kept alive by client)"


@pytest.mark.parametrize("missing", list(Control))
def test_missing_control(missing: Control) -> None:
    """A scenario without one of its controls is believed."""
    kept = [act(each) for each in controls(SCENARIO) if each.control is not missing]
    [row] = results_of(journal(*kept, act(cell_of(SCENARIO, "default")))).cells
    assert row.reason == f"control failed: no {missing.value} control was planned"
    unrun = [each for each in controls(SCENARIO) if each.control is missing]
    [row] = results_of(journal(*kept, act(cell_of(SCENARIO, "default")), more=unrun)).cells
    assert row.reason == f"control failed: {missing.value} did not run to its end"


def test_controls_of_a_repeat_judge_that_repeat() -> None:
    """One bad wave spoils the good ones, or is excused by them."""
    stages = [act(each) for repeat in (1, 2) for each in controls(SCENARIO, repeat=repeat)]
    silenced(stages[2]).end(500)
    cells = [act(cell_of(SCENARIO, "default", repeat=repeat)) for repeat in (1, 2)]
    [row] = results_of(journal(*stages, *cells)).cells
    assert [repeat.verdict.value for repeat in row.repeats] == ["stuck", "invalid"]
    assert row.verdict is Verdict.STUCK
    [row] = results_of(journal(*stages[:2], *cells)).cells
    assert [repeat.verdict.value for repeat in row.repeats] == ["stuck", "stuck"]


def observing(repeat: int, delay: float | None) -> Stage:
    stage = Stage(plan("control", repeat=repeat))
    flow = stage.begin()
    stage.the_touch(150)
    stage.say(flow, 150.003, "server")
    if delay is not None:
        stage.program(150 + delay, "observed", nonce="touch")
    stage.end(271)
    return stage


@pytest.mark.parametrize(
    ("delays", "verdict", "delay", "reason"),
    [
        ((0.5, 3.0, 1.0), Verdict.OK, 3.0, "saw the change after 3.0 s"),
        ((20.0, 40.0), Verdict.LATE, 40.0, "saw the change after 40.0 s"),
        ((0.5, None, 1.0), Verdict.FLAKY, 1.0, "ok 2 of 3, stuck 1 of 3; stuck: never saw the change"),
        ((0.5, 20.0), Verdict.FLAKY, 20.0, "ok 1 of 2, late 1 of 2; late: saw the change after 20.0 s"),
    ],
)
def test_repeats(delays: tuple[float | None, ...], verdict: Verdict, delay: float, reason: str) -> None:
    """A cell that fails every third time is published by its best or its first time."""
    stages = [observing(number, each) for number, each in enumerate(delays, start=1)]
    [row] = results_of(journal(*(act(each) for each in controls("control")), *stages)).cells
    assert (row.verdict, row.delay_seconds) == (verdict, delay)
    assert row.reason.startswith(reason)
    assert len(row.repeats) == len(delays)


def test_invalid_repeats_do_not_count_unless_all_are() -> None:
    """The lab's bad luck makes a cell flaky."""
    stages = [observing(1, 0.5), observing(2, 0.5)]
    stages[1].records.insert(1, LabError(t=0, cell=stages[1].cell, message="x"))
    head = [act(each) for each in controls("control")]
    [row] = results_of(journal(*head, *stages)).cells
    assert row.verdict is Verdict.OK
    stages[0].records.insert(1, LabError(t=0, cell=stages[0].cell, message="y"))
    [row] = results_of(journal(*head, *stages)).cells
    assert (row.verdict, row.reason) == (Verdict.INVALID, "lab failure: y")


def test_planned_cells_that_never_closed_are_not_run() -> None:
    """An interrupted run looks complete."""
    begun = act(cell_of(SCENARIO, "default"))
    begun.records.pop()
    results = results_of(
        journal(*(act(each) for each in controls(SCENARIO)), begun, more=[cell_of(SCENARIO, "tcp-keepalive")])
    )
    assert {cell.profile: cell.reason for cell in results.cells} == {
        "default": "it began, but never closed",
        "tcp-keepalive": "the run ended before it began",
    }
    assert results.run.distrust == ("2 of 2 cells were planned, but not run to their end",)


@pytest.mark.parametrize("planned", ["not scalable: keepalive", "needs kube-proxy, which is not here"])
@pytest.mark.parametrize(("bad", "trusted"), [(1, True), (2, False)])
def test_more_than_five_percent_invalid_is_no_run_to_trust(bad: int, trusted: bool, planned: str) -> None:
    """A run full of holes is published, since no client of it did anything wrong."""
    stages = [act(each) for each in controls(SCENARIO)]
    for number in range(20):
        stage = act(cell_of(SCENARIO, "default", stack=f"s{number}"))
        if number < bad:
            stage.records.insert(1, LabError(t=0, cell=stage.cell, message="x"))
        stages.append(stage)
    skip = Skip(verdict=Verdict.INVALID, reason=planned)
    unscaled = [cell_of(SCENARIO, "retry", stack=f"t{number}", skip=skip) for number in range(20)]
    results = results_of(journal(*stages, more=unscaled))
    assert results.run.trusted is trusted, results.run.distrust
    assert sum(cell.verdict is Verdict.INVALID for cell in results.cells) == bad + 20


def test_cause_must_be_named() -> None:
    """An invalid cell that says nothing hides whatever the judge did not understand."""
    docket = Docket()
    cells = [cell_of(SCENARIO, "default", stack=f"s{number}") for number in range(30)]
    for record in journal(*(act(each) for each in [*controls(SCENARIO), *cells])):
        docket.take(record)
    assert docket.results().run.trusted
    odd = docket._judged[str(cells[0].id)]
    mute = odd.outcome.model_copy(update={"verdict": Verdict.INVALID, "reason": "hm"})
    docket._judged[str(cells[0].id)] = type(odd)(odd.plan, mute, odd.evidence)
    assert docket.results().run.distrust == ("s0/default/azure-slb-silent is invalid without a cause",)


def test_frozen_judge_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that stopped listening keeps its last, happy word."""
    records = journal(*(act(each) for each in [*controls(SCENARIO), cell_of(SCENARIO, "default")]))
    step = Judge.step

    def frozen(self: Judge, record: Record) -> list[object]:
        return [] if self.records >= 30 else list(step(self, record))

    monkeypatch.setattr(Judge, "step", frozen)
    results = results_of(records)
    assert not results.run.trusted
    assert f"the judge saw 30 of {len(records)} records" in results.run.distrust
    assert results.run.figures["records_judged"] < results.run.figures["records"] == len(records)


def test_deaf_ears_of_the_judge_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that counts records without ever deciding anything leaves an empty matrix that looks finished."""
    records = journal(*(act(each) for each in [*controls(SCENARIO), cell_of(SCENARIO, "default")]))

    def idle(self: Judge, _record: Record) -> list[object]:
        self.records += 1
        return []

    monkeypatch.setattr(Judge, "step", idle)
    assert "3 cells closed without a verdict" in results_of(records).run.distrust


def test_a_new_attempt_voids_the_earlier_one() -> None:
    """A resumed run judges packets of the attempt that was killed."""
    half = act(cell_of(SCENARIO, "tcp-keepalive"))
    whole = act(cell_of(SCENARIO, "tcp-keepalive"))
    half.records = half.records[: len(half.records) // 2]
    both = Stage(whole.plan)
    both.records = [*half.records, *whole.records]
    results = results_of(journal(*(act(each) for each in controls(SCENARIO)), both))
    assert results.run.trusted, results.run.distrust
    assert rows(results) == {"tcp-keepalive": "ok"}


def test_a_new_attempt_voids_even_a_verdict() -> None:
    """A cell is run again, is cut short, and keeps the verdict that its new attempt was to replace."""
    stage = act(cell_of(SCENARIO, "tcp-keepalive"))
    stage.records += stage.records[:30]
    results = results_of(journal(*(act(each) for each in controls(SCENARIO)), stage))
    assert rows(results) == {"tcp-keepalive": "not-run"}


def test_failure_of_the_whole_lab_lasts_until_it_stands_again() -> None:
    """The control plane dies, and every client is called stuck for missing its last change."""
    before, after, later = (act(cell_of(SCENARIO, "default", stack=name)) for name in ("a", "b", "c"))
    broken = LabError(t=0, message="the control plane ended")
    records = [
        *run_started(*controls(SCENARIO), before.plan, after.plan, later.plan),
        *(record for each in controls(SCENARIO) for record in act(each).records),
        *before.records[:-1],
        broken,
        before.records[-1],
        *after.records,
        LabReady(t=0, seconds=1, control_plane="embedded"),
        *later.records,
    ]
    found = {cell.stack: cell.reason for cell in results_of(records).cells}
    assert found["a"] == found["b"] == "lab failure: the control plane ended"
    assert found["c"].startswith("never saw the change")


def test_records_after_closed_are_noticed() -> None:
    """Evidence comes after the verdict, and nobody looks at it."""
    stage = act(cell_of(SCENARIO, "default"))
    packet = next(record for record in stage.records if isinstance(record, Packet))
    stage.records.append(packet)
    results = results_of(journal(*(act(each) for each in controls(SCENARIO)), stage))
    assert results.run.distrust == ("1 records belong to no open cell",)


def test_judge_keeps_nothing_of_closed_cells() -> None:
    """A soak of weeks runs out of memory."""
    judge = Judge()
    for record in journal(*(act(each) for each in [*controls(SCENARIO), cell_of(SCENARIO, "default")])):
        judge.feed(record)
    assert judge.open_cells == 0


def test_journal_without_its_head() -> None:
    """A file that is no journal ends in a stack trace."""
    with pytest.raises(UsageError, match="does not say which run"):
        results_of([])


def test_evidence_is_json_with_what_a_reader_needs() -> None:
    """A verdict cannot be checked against the packets by anybody but us."""
    [row] = run(cell_of(SCENARIO, "default")).cells
    evidence = row.evidence
    assert evidence["touch"] == {"sent": 270.0, "answered": 270.004, "status": 200}
    assert evidence["longest_silence"] == pytest.approx(270, abs=0.01)
    assert evidence["quiet_time_senders"] == {"client": 0, "server": 0}
    assert evidence["expired"] == [
        {"port": 40_001, "silent_since": pytest.approx(0, abs=0.01), "at": pytest.approx(240, abs=0.01)}
    ]
    [row] = run(cell_of("azure-slb", "retry")).cells
    recovery = row.evidence["recovery"]
    assert isinstance(recovery, dict)
    assert recovery["detected"] == pytest.approx(262.6, abs=0.01)
    assert recovery["reconnected"] == pytest.approx(263.6, abs=0.01)
    assert recovery["observed"] == pytest.approx(292.6, abs=0.01)
    resets = row.evidence["resets"]
    assert isinstance(resets, list)
    assert [(each["by"], each["to"], each["exact"]) for each in resets] == [
        ("path", "server", True),
        ("path", "client", True),
    ]
