"""Timelines: what a cell's ladder and lanes are drawn from. Journals are made by hand, in virtual time."""

from __future__ import annotations

import pytest

from tests.unit.judge.clients import SETTINGS, act, cell_of
from tests.unit.judge.stage import PATHS, journal
from watcher.judge.ladder import MOST_STEPS
from watcher.judge.timeline import MAX_PACKETS, timelines
from watcher.model import CellPlan
from watcher.records import Closed, Record
from watcher.timeline import STOPPED, Step, Timeline, What


def records_of(cell: CellPlan) -> list[Record]:
    """With a folder, as the lab names one: that is what timelines are found by."""
    return [
        record.model_copy(update={"folder": "cells/x"}) if isinstance(record, Closed) else record
        for record in journal(act(cell))
    ]


def timeline_of(scenario: str, profile: str) -> Timeline:
    return timelines(records_of(cell_of(scenario, profile)))["cells/x"]


def whats(timeline: Timeline) -> list[What]:
    return [step.what for step in timeline.steps]


@pytest.mark.parametrize("scenario", PATHS)
@pytest.mark.parametrize("profile", SETTINGS)
def test_steps_are_in_order_and_none_is_missing(scenario: str, profile: str) -> None:
    """The ladder shows an effect above its cause, or leaves the touch out."""
    timeline = timeline_of(scenario, profile)
    ats = [step.at for step in timeline.steps]
    assert ats == sorted(ats)
    assert len(timeline.steps) <= MOST_STEPS
    found = whats(timeline)
    assert found.count(What.TOUCH) == found.count(What.CONTROL_TOUCH) == 1
    assert (What.OBSERVED in found) != (What.WINDOW_CLOSED in found)
    assert timeline.begins <= min(ats)
    assert timeline.ends >= max(step.until for step in timeline.steps)
    assert all(step.until >= step.at for step in timeline.steps)
    moments = [at for at, _ in timeline.packets]
    assert moments == sorted(moments)
    assert len(moments) <= MAX_PACKETS


def test_a_forgotten_connection() -> None:
    """The page cannot show that the change was sent, and lost."""
    timeline = timeline_of("gcp-vpc", "default")
    steps = {step.what: step for step in timeline.steps}
    assert steps[What.FORGOTTEN].every_seconds == 600
    lost = steps[What.LOST]
    assert (lost.sender, lost.arrived) == ("server", False)
    assert lost.at > steps[What.TOUCH].at
    assert What.CHANGE not in steps
    assert timeline.idle[0].until - timeline.idle[0].since == pytest.approx(600)
    assert any(code & STOPPED for _, code in timeline.packets)
    assert timeline.connections[-1].ends is None, "the client never learns of it"


def test_a_connection_kept_alive() -> None:
    """The mutant of the test above: with keepalive nothing is forgotten or lost, and the change arrives."""
    timeline = timeline_of("gcp-vpc", "tcp-keepalive")
    found = whats(timeline)
    assert What.FORGOTTEN not in found
    assert What.LOST not in found
    assert found.index(What.CHANGE) < found.index(What.OBSERVED)
    repeated = next(step for step in timeline.steps if step.what is What.REPEATED)
    assert repeated.times > 10
    assert repeated.every_seconds == pytest.approx(30, abs=1)
    assert not any(code & STOPPED for _, code in timeline.packets)


def test_resets_by_the_path() -> None:
    """Who sent a reset, and whether it arrived, is the whole difference between loud and silent."""

    def resets(scenario: str) -> set[tuple[str | None, str | None]]:
        steps = timeline_of(scenario, "default").steps
        return {(step.sender, step.direction) for step in steps if step.what is What.RESET and step.sender == "path"}

    assert resets("azure-slb") == {("path", "to-client"), ("path", "to-server")}
    assert resets("azure-slb-reset-lost") == {("path", "to-server")}
    assert resets("azure-slb-silent") == set()


def test_a_cut_connection_is_replaced() -> None:
    """How long it took to notice is what the reader came for."""
    timeline = timeline_of("blackhole", "tcp-keepalive")
    found = whats(timeline)
    assert found.index(What.FAULT) < found.index(What.LOST) < found.index(What.DEADLINE) < found.index(What.OBSERVED)
    assert len(timeline.connections) == 2
    first, second = timeline.connections
    assert first.ended_by == "client"
    assert first.ends is not None
    assert first.ends < second.begins


def test_what_repeats_is_told_once() -> None:
    """A watch that is replaced every 45 s fills the ladder with the same six lines, and the end is cut off."""
    timeline = timeline_of("gcp-vpc", "read-timeout")
    assert timeline.steps_left_out == 0
    assert len(timeline.steps) < 25
    assert any(step.what is What.REPEATED and step.steps > 1 for step in timeline.steps)
    assert len(timeline.connections) > 10


def test_no_packet_is_told_twice_or_not_at_all() -> None:
    """Steps that are joined or repeated lose packets, and the ladder no longer adds up with the capture."""
    for scenario in PATHS:
        for profile in SETTINGS:
            timeline = timeline_of(scenario, profile)
            if timeline.steps_left_out or timeline.packets_left_out:
                continue
            assert sum(step.packets for step in timeline.steps) == len(timeline.packets), (scenario, profile)


def test_half_a_journal_makes_no_timeline_and_no_traceback() -> None:
    """A run that was interrupted cannot be shown at all."""
    records = records_of(cell_of("gcp-vpc", "default"))
    for length in range(0, len(records), 7):
        assert set(timelines(records[:length])) <= {"cells/x"}
    for left_out in range(len(records)):
        timelines(records[:left_out] + records[left_out + 1 :])


def test_a_silence_is_what_lies_between() -> None:
    """Silences and steps overlap, so that the ladder says there was nothing while something was."""
    steps: tuple[Step, ...] = timeline_of("azure-slb", "retry").steps
    for before, silence, after in zip(steps, steps[1:], steps[2:], strict=False):
        if silence.what is What.SILENCE:
            assert before.until <= silence.at
            assert silence.until == after.at
