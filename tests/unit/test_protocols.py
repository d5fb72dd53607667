"""What each protocol's module says of itself, before anything runs."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from watcher import plan, protocols
from watcher.catalog import Catalog
from watcher.cli.serving import parse_periods
from watcher.errors import UsageError
from watcher.model import Backend, Scenario, Stack, Verdict

CATALOG = Catalog.load()
TIMER = CATALOG.stacks["timer-curl-600s"].stack
ECHO = CATALOG.stacks["echo-python"].stack
POLL = CATALOG.stacks["poll-curl"].stack
WATCH = CATALOG.stacks["python-urllib3"].stack


def unfit(stack: Stack, scenario: str, scale: float = 1.0) -> str | None:
    found = CATALOG.scenarios[scenario]
    return protocols.load(stack.protocol).unfit(stack, found, CATALOG.paths[found.path], scale)


@pytest.mark.parametrize("stack", CATALOG.stacks)
def test_every_stack_speaks_a_protocol_in_a_variant_that_there_is(stack: str) -> None:
    """A manifest with a typing error must not be found out in the midst of a run."""
    this = CATALOG.stacks[stack].stack
    for scenario in CATALOG.scenarios:
        unfit(this, scenario)
    with pytest.raises(UsageError, match="has no variant 'other'"):
        unfit(this.model_copy(update={"variant": "other"}), "control")


@pytest.mark.parametrize("scenario", CATALOG.scenarios)
def test_watch_has_a_part_in_all(scenario: str) -> None:
    """They were made for it."""
    assert unfit(WATCH, scenario) is None


@pytest.mark.parametrize("stack", [TIMER, ECHO, POLL], ids=lambda stack: stack.protocol)
def test_what_is_about_the_api_server_is_left_out_and_says_why(stack: Stack) -> None:
    """Else a scenario's name would stand over a cell in which its cause was not there."""
    assert unfit(stack, "azure-slb-observed") is None
    assert unfit(stack, "blackhole") is None
    assert unfit(stack, "haproxy-20s") is None
    assert unfit(stack, "server-killed") is None
    assert "keepalive" in str(unfit(stack, "azure-slb-server-180s"))
    assert "kube-proxy" in str(unfit(stack, "blackhole-kube-proxy-iptables"))
    assert "history" in str(unfit(stack, "history-lost"))


OWN = [scenario for scenario in CATALOG.scenarios.values() if scenario.backend is Backend.OWN]


@pytest.mark.parametrize("protocol", protocols.names())
@pytest.mark.parametrize("scenario", OWN, ids=lambda scenario: scenario.name)
def test_every_protocol_has_a_server_of_a_scenarios_own(scenario: Scenario, protocol: str) -> None:
    """Each needs its table with the pod that is deleted by force; only what nobody keeps cannot be lost."""
    stack = next(entry.stack for entry in CATALOG.stacks.values() if entry.stack.protocol == protocol)
    fits = unfit(stack, scenario.name) is None
    assert fits is (protocol == "watch" or "history-gone" not in scenario.proof.after)


def test_a_scale_at_which_lines_run_into_each_other() -> None:
    """L0 is the last packet before a quiet time; where there is none, the cell would fail as if the lab had."""
    five = CATALOG.stacks["timer-curl-5s"].stack
    assert unfit(five, "control", 10) is None
    assert "not scalable" in str(unfit(five, "control", 30))
    assert "not scalable" in str(unfit(ECHO, "control", 30))
    assert unfit(TIMER, "control", 30) is None


def test_the_planner_leaves_out_what_does_not_fit() -> None:
    """With the module's own words, and uncharged."""
    found = CATALOG.scenarios["history-lost"]
    choice = plan.Choice(
        stacks=[TIMER, WATCH],
        profiles=[CATALOG.profiles["default"]],
        scenarios=[found],
        paths=CATALOG.paths,
        not_built={},
        unfit=lambda stack, scenario, path: protocols.load(stack.protocol).unfit(stack, scenario, path, 1),
    )
    skipped = {cell.id.stack: cell.skip for cell in plan.make(choice)}
    left_out = skipped[TIMER.name]
    assert left_out is not None
    assert left_out.verdict is Verdict.INVALID
    assert left_out.reason == "its server keeps no history that could be lost"
    assert skipped[WATCH.name] is None


def test_cells_that_share_a_server_speak_to_the_same_one() -> None:
    """A group's server is one protocol's; the controls' is the API server, whatever else the scenario runs."""
    found = CATALOG.scenarios["pod-deleted-kube-proxy-iptables"]
    choice = plan.Choice(
        stacks=[ECHO, WATCH],
        profiles=[CATALOG.profiles["default"]],
        scenarios=[found],
        paths=CATALOG.paths,
        not_built={},
    )
    groups = {cell.id.stack: cell.group for cell in plan.make(choice)}
    assert groups["perfect"] == groups["deaf"] == groups[WATCH.name] == f"{found.name}#1/watch"
    assert groups[ECHO.name] == f"{found.name}#1/echo"


@pytest.mark.parametrize(
    "given", [["8005"], ["x=5"], ["8005="], ["8005=0"], ["8005=-1"], ["8005=nan"], ["70000=5"], ["8005=5", "8005=6"],
              ["8005=1e9"]]
)  # fmt: skip
def test_what_is_no_port_and_period(given: list[str]) -> None:
    """The error says the form, not a traceback where the period is used."""
    with pytest.raises(UsageError, match=r"not PORT=SECONDS|given twice"):
        parse_periods(given)


def test_ports_and_periods() -> None:
    """As the help says."""
    assert parse_periods(["8005=5", "0=0.5"]) == {8005: 5.0, 0: 0.5}


@pytest.mark.parametrize("what", ["timer", "echo"])
def test_a_port_in_use_is_a_usage_error_of_the_command(what: str) -> None:
    """A container whose port is taken must say so in its first line, and not restart for ever without a word."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = f"{port}=5" if what == "timer" else str(port)
        command = [sys.executable, "-m", "watcher", "serve", what, "--address", "127.0.0.1", "--port", given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "give another port" in done.stderr
    assert "Traceback" not in done.stderr
