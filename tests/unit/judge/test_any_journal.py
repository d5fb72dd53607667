"""What holds for every journal: cut short anywhere, in another order, or far too long."""

from __future__ import annotations

import random
import time
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.judge.clients import SETTINGS, act, cell_of, controls
from tests.unit.judge.stage import PATHS, Stage, journal, plan
from tests.unit.judge.verdicts import judged
from watcher.judge.flows import Seen, flows, later
from watcher.judge.results import results_of
from watcher.model import Verdict
from watcher.records import Closed, Record

CHOICES = st.tuples(st.sampled_from(sorted(PATHS)), st.sampled_from(sorted(SETTINGS)))


@cache
def played(scenario: str, profile: str) -> Stage:
    return act(cell_of(scenario, profile))


@cache
def whole(scenario: str, profile: str) -> tuple[Record, ...]:
    return tuple(journal(*(act(each) for each in [*controls(scenario), cell_of(scenario, profile)])))


@given(choice=CHOICES, share=st.floats(0, 1))
@settings(deadline=None, max_examples=150)
def test_a_journal_cut_short_never_passes(choice: tuple[str, str], share: float) -> None:
    """A run that was killed shows a matrix that nobody measured."""
    records = whole(*choice)
    full = results_of(records).cells[0]
    cut = max(1, int(share * len(records)))
    for cell in results_of(records[:cut]).cells:
        if cut < len(records) - 1:  # the last record only ends the run
            assert cell.verdict is Verdict.NOT_RUN
        else:
            assert cell.verdict is full.verdict


@given(choice=CHOICES, share=st.floats(0, 1))
@settings(deadline=None, max_examples=150)
def test_a_cell_closed_too_early_is_never_a_word_on_its_client(choice: tuple[str, str], share: float) -> None:
    """A cell that was ended in its middle is called stuck, or ok without its evidence."""
    stage = played(*choice)
    cut = max(1, int(share * (len(stage.records) - 2)))
    head = stage.records[:cut]
    latest = max(record.t for record in head)
    found = judged([*head, Closed(t=latest, cell=stage.cell)], stage).outcome
    full = judged(stage.records, stage).outcome
    assert found.verdict in (Verdict.INVALID, full.verdict)
    if found.verdict is Verdict.STUCK:
        assert latest >= stage.at(stage.plan.timing.touch_after_seconds + stage.plan.timing.window_seconds * 0.9)


@given(choice=CHOICES, seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=100)
def test_order_within_a_cell_is_of_no_account(choice: tuple[str, str], seed: int) -> None:
    """The capture is a moment behind the program's output, and the verdict depends on it."""
    stage = played(*choice)
    middle = stage.records[1:-1]
    random.Random(seed).shuffle(middle)  # noqa: S311 - no secret
    assert judged([stage.records[0], *middle, stage.records[-1]], stage) == judged(stage.records, stage)


@given(choice=CHOICES, data=st.data())
@settings(deadline=None, max_examples=150)
def test_no_loss_of_records_crashes_the_judge(choice: tuple[str, str], data: st.DataObject) -> None:
    """One odd journal ends the whole judgement in a stack trace."""
    stage = played(*choice)
    middle = stage.records[1:-1]
    kept = data.draw(st.sets(st.integers(0, len(middle) - 1)))
    records = [record for number, record in enumerate(middle) if number in kept]
    found = judged([stage.records[0], *records, stage.records[-1]], stage).outcome
    assert found.reason
    # A program can be found to have died or aborted only by what is there, never by what is missing.
    if found.verdict is not Verdict.INVALID:
        assert found.proof != "unproven"


def test_sequence_numbers_wrap() -> None:
    """Every four billionth octet a proof fails."""
    stage = played("azure-slb", "retry")
    numbers = [packet.seq for packet in stage.records if packet.kind == "packet" and packet.direction == "to-client"]
    assert min(numbers) < 10_000 < 4_294_000_000 < max(numbers)
    assert judged(stage.records, stage).outcome.proof == "happened"
    last = Seen(0, "to-client", "PA", 2**32 - 100, 0, 150, 0, 0)
    assert last.next_seq == 50
    assert later(2**32 - 1, 5) == later(5, 2**32 - 1) == 5


def test_port_used_again_is_another_flow() -> None:
    """Two connections from one port melt into one that was never silent."""
    stage = Stage(plan("control"))
    first = stage.begin()
    stage.close(first, 10)
    stage.open(20, port=first.port)
    from watcher.judge.facts import CellFacts

    facts = CellFacts(stage.plan)
    for record in stage.records:
        facts.take(record)
    found = flows(facts.packets)
    assert [flow.port for flow in found] == [first.port, first.port]
    assert [flow.open_at(stage.at(30)) for flow in found] == [False, True]


def test_hundred_thousand_packets_within_seconds() -> None:
    """Judging a published run again takes minutes, and nobody does it."""
    template = played("azure-slb-silent", "tcp-keepalive")
    stages = []
    for number in range(300):
        cell = cell_of("azure-slb-silent", "tcp-keepalive", stack=f"s{number}")
        stage = Stage(cell)
        stage.records = [record.model_copy(update={"cell": stage.cell}) for record in template.records]
        flow = stage.open(270.1)
        close = stage.records.pop(template.records.index(template.records[-1]))
        for burst in range(80):
            stage.say(flow, 271 + burst / 10, "server")
        stages.append(stage)
        stage.records.append(close)
    records = journal(*(act(each) for each in controls("azure-slb-silent")), *stages)
    packets = sum(record.kind == "packet" for record in records)
    assert packets > 100_000
    # Of this process alone: it waits for nothing, and what else the machine does is not its affair.
    began = time.process_time()
    results = results_of(records)
    seconds = time.process_time() - began
    assert {cell.verdict for cell in results.cells} == {Verdict.OK}
    assert seconds < 10, f"{packets} packets took {seconds:.1f} s"
