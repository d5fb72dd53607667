"""Every scenario with every profile: the proof and the verdict that the mechanisms of TCP leave no choice about."""

from __future__ import annotations

import pytest

from tests.unit.judge.clients import SETTINGS, act, cell_of, controls
from tests.unit.judge.stage import PATHS, journal
from tests.unit.judge.verdicts import judged
from watcher.judge.results import results_of
from watcher.model import Verdict

HAPPENED = "happened"
KEPT = "prevented (kept alive by client)"
REPLACED = "prevented (replaced)"

IDLE = {
    "tcp-keepalive": (KEPT, "ok"),
    "tcp-user-timeout": (KEPT, "ok"),
    "read-timeout": (REPLACED, "ok"),
    "watch-timeout": (KEPT, "ok"),
}
DEAF = dict.fromkeys(("default", "retry", "tcp-keepalive-os"), (HAPPENED, "stuck"))
EXPECTED = {
    "control": dict.fromkeys(SETTINGS, (HAPPENED, "ok")),
    "azure-slb": {
        "default": (HAPPENED, "died"),
        "retry": (HAPPENED, "ok"),
        "tcp-keepalive-os": (HAPPENED, "ok"),
        **IDLE,
    },
    "azure-slb-reset-lost": {**DEAF, **IDLE},
    "azure-slb-silent": {**DEAF, **IDLE},
    "aws-nlb": {**DEAF, **IDLE},
    "gcp-vpc": {**DEAF, **IDLE},
    "blackhole": {
        **DEAF,
        "tcp-keepalive": (HAPPENED, "late"),
        "tcp-user-timeout": (HAPPENED, "late"),
        "read-timeout": (HAPPENED, "late"),
        # It asks the server to end the watch, and the end is lost, too.
        "watch-timeout": (HAPPENED, "stuck"),
    },
}


@pytest.mark.parametrize("scenario", PATHS)
def test_each_profile_of_a_scenario(scenario: str) -> None:
    """A column of the matrix shows what the network could not have done, or charges the client with the lab's word."""
    cells = [cell_of(scenario, profile) for profile in SETTINGS]
    results = results_of(journal(*(act(cell) for cell in [*controls(scenario), *cells])))
    assert results.run.trusted, results.run.distrust
    found = {cell.profile: (cell.proof, cell.verdict.value) for cell in results.cells}
    assert found == EXPECTED[scenario], {cell.profile: cell.reason for cell in results.cells}


@pytest.mark.parametrize("scenario", [name for name in PATHS if name != "control"])
def test_fault_switched_off_proves_nothing(scenario: str) -> None:
    """The lab did not do what it says, and clients are praised for surviving it."""
    cell = cell_of(scenario, "retry")
    results = results_of(journal(*(act(each, forgets=False) for each in [*controls(scenario), cell])))
    [row] = results.cells
    assert row.verdict is Verdict.INVALID
    assert row.reason.startswith("unproven: " + cell.proof.before[0])
    assert not results.run.trusted


def test_a_reset_that_was_never_sent_is_missed() -> None:
    """``azure-slb`` promises a delivered reset; without it a stuck client is charged for what it could not know."""
    cells = [*controls("azure-slb"), cell_of("azure-slb", "retry")]
    [cell] = results_of(journal(*(act(each, answers=False) for each in cells))).cells
    assert (cell.verdict, cell.proof) == (Verdict.INVALID, "unproven")
    assert cell.reason.startswith("unproven: reset-to-client: no RST to-client on port 40001")


def test_server_keepalive_prevents_by_the_server() -> None:
    """A server's own keepalive hides a client's lack of one, and the table says that the client kept it alive."""
    cell = cell_of("azure-slb-silent", "default", server_keepalive_idle_seconds=180.0)
    both = controls("azure-slb-silent", server_keepalive_idle_seconds=180.0)
    results = results_of(journal(*(act(each) for each in [*both, cell])))
    [row] = results.cells
    assert (row.verdict, row.proof) == (Verdict.OK, "prevented (kept alive by server)")
    assert row.reason == "kept alive by server: a packet every 180 s"
    assert row.evidence["keepalive_probes"] == {"server": {"count": 1, "interval_seconds": pytest.approx(180, abs=0.1)}}
    deaf = next(control for control in results.controls if control.stack == "deaf")
    assert (deaf.verdict, deaf.proof) == (Verdict.STUCK, "prevented (kept alive by server)")


def test_measured_keepalive_is_what_packets_show() -> None:
    """A stack is said to have keepalive because its settings claim it."""
    scenarios = ("control", "blackhole")
    cells = [cell_of(scenario, profile) for profile in ("default", "tcp-keepalive") for scenario in scenarios]
    both = [control for scenario in scenarios for control in controls(scenario)]
    results = results_of(journal(*(act(cell) for cell in [*both, *cells])))
    assert results.stacks["python"].measured_keepalive == "default: none in 150 s; tcp-keepalive: every 30 s"
    results = results_of(journal(*(act(cell) for cell in [*both, cell_of("blackhole", "tcp-keepalive")])))
    assert results.stacks["python"].measured_keepalive == "tcp-keepalive: none in 2 s"
    assert results.stacks["python"].runtime == "3.11"


def test_requests_are_no_keepalive_probes() -> None:
    """A client that renews its watch is said to have TCP keepalive."""
    stage = act(cell_of("azure-slb-silent", "watch-timeout"))
    evidence = judged(stage.records, stage).evidence
    assert evidence["keepalive_probes"] == {}
    assert evidence["quiet_time_senders"] == {"client": 0, "server": 2}
