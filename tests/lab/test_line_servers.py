"""The seeds' findings about connections that are no watch: a timer behind a load balancer, an echo in a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.lab.environments import built
from watcher import journal
from watcher.faults.pod_deleted import GOES_ON_SECONDS
from watcher.lab.control_plane.binaries import find
from watcher.model import CellResult, Results
from watcher.programs import environments
from watcher.records import Conntrack, Fault, Packet, Program

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
SCALE = 10
QUIET_SECONDS = 262.6 / SCALE
RUNS = {
    "timer": (
        "--control-plane", "embedded", "--stacks", "timer-curl-*,timer-python-*", "--profiles", "default,retry",
        "--scenarios", "azure-slb-observed,control",
    ),
    "fault off": (
        "--control-plane", "embedded", "--stacks", "timer-curl-600s,echo-python", "--profiles", "default",
        "--scenario", str(HERE / "scenarios" / "no-blackhole.toml"), "--scenarios", "no-blackhole",
    ),
    "echo": (
        "--control-plane", "kubernetes", "--stacks", "echo-python", "--profiles", "default,read-timeout",
        "--scenarios", "pod-deleted-kube-proxy-iptables,pod-ended-kube-proxy-iptables",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    folder: Path
    status: int
    output: str

    def cell(self, stack: str, scenario: str, profile: str = "default") -> CellResult:
        return Results.model_validate_json((self.folder / "results.json").read_text()).by_key()[
            stack, profile, scenario
        ]

    def log(self, server: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / f"{server}.log").read_text().splitlines()]


def run(folder: Path, *arguments: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "run", "--scale", str(SCALE), "--output", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return Ran(folder, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    built("timer-curl-600s", "timer-python-600s", "echo-python")
    real = find("auto", environments.cache_folder())
    with ThreadPoolExecutor(1) as pool:
        yield {
            name: pool.submit(run, tmp_path_factory.mktemp("run") / "out", *arguments)
            for name, arguments in RUNS.items()
            if "kubernetes" not in arguments or real is not None
        }


def test_curl_is_reset_on_the_port_that_is_silent_for_ten_minutes(ran: dict[str, Future[Ran]]) -> None:
    """``curl: (56) Recv failure: Connection reset by peer``, 4 minutes and 22 seconds after the last data."""
    timer = ran["timer"].result()
    assert timer.status == 0, timer.output
    found = timer.cell("timer-curl-600s", "azure-slb-observed")
    assert (found.verdict, found.proof) == ("died", "happened")
    assert "exited with status 56" in found.reason
    assert timer.cell("timer-curl-600s", "azure-slb-observed", "retry").verdict == "ok"
    assert timer.cell("timer-curl-600s", "control").verdict == "ok"


def test_the_server_is_reset_too(ran: dict[str, Future[Ran]]) -> None:
    """Else a server keeps connections of clients that are gone, and nobody would know from its log."""
    ends = [line for line in ran["timer"].result().log("timer-600s") if line["event"] == "closed"]
    resets = [line["quiet_seconds"] for line in ends if line["reason"] == "reset by peer"]
    assert len(resets) >= 4  # both stacks, both profiles
    assert all(QUIET_SECONDS - 0.5 < quiet < QUIET_SECONDS + 3 for quiet in resets), resets


def test_nothing_happens_on_the_port_that_speaks_every_five_seconds(ran: dict[str, Future[Ran]]) -> None:
    """The seeds' own control: it is the silence that ends the connection, not the path."""
    timer = ran["timer"].result()
    for stack in ("timer-curl-5s", "timer-python-5s"):
        found = timer.cell(stack, "azure-slb-observed")
        assert (found.verdict, found.proof) == ("ok", "prevented (kept alive by server)")
    reasons = {line["reason"] for line in timer.log("timer-5s") if line["event"] == "closed"}
    assert "reset by peer" not in reasons or not _reset_by_path(timer)


def _reset_by_path(timer: Ran) -> bool:
    """Whether a path reset one of its clients: they reset connections themselves when they are ended."""
    return any(
        isinstance(record, Packet) and record.cell and record.cell.startswith("timer-") and "-5s/" in record.cell
        and "R" in record.flags and record.direction == "to-client"
        for record in journal.read(timer.folder)
    )  # fmt: skip


@pytest.mark.parametrize("stack", ["timer-curl-600s", "echo-python"])
def test_a_fault_that_is_switched_off_is_unproven(stack: str, ran: dict[str, Future[Ran]]) -> None:
    """The mutant: a proof that needs a watch to see nothing would let every cell of another protocol pass."""
    found = ran["fault off"].result().cell(stack, "no-blackhole")
    assert (found.verdict, found.proof) == ("invalid", "unproven")


def echo(ran: dict[str, Future[Ran]]) -> Ran:
    if "echo" not in ran:
        pytest.skip("the real control plane is not built: watcher build control-plane")
    return ran["echo"].result()


def test_the_deleted_pods_client_retransmits_to_nobody(ran: dict[str, Future[Ran]]) -> None:
    """The report's ladder: its request is sent again, ever later, neither answered nor reset; conntrack keeps it.

    As far as a read timeout lets it; how it goes on without one takes a quarter of an hour of true time, and is in
    tests/recorded.
    """
    this, scenario = echo(ran), "pod-deleted-kube-proxy-iptables"
    assert this.status == 0, this.output
    left_out = this.cell("echo-python", scenario)
    assert (left_out.verdict, left_out.reason.startswith("not scalable: what the client sends")) == ("invalid", True)
    found = this.cell("echo-python", scenario, "read-timeout")
    assert found.verdict in ("ok", "late")
    assert found.proof == "happened"
    cell = f"echo-python/read-timeout/{scenario}#1"
    mine = [record for record in journal.read(this.folder) if record.cell == cell]
    [fault] = [record for record in mine if isinstance(record, Fault) and record.action == "apply"]
    sent = [
        record.t
        for record in mine
        if isinstance(record, Packet) and record.link == "client" and record.direction == "to-server"
        and record.length and record.t > fault.t and record.port == fault.flows[0].port
    ]  # fmt: skip
    pauses = [later - earlier for earlier, later in pairwise(sent)]
    assert len(pauses) >= 3
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses[1:])), pauses
    [known] = [record for record in mine if isinstance(record, Conntrack) and record.moment == "touch"]
    assert [flow.state for flow in known.flows if flow.port == fault.flows[0].port] == ["ESTABLISHED"]


def own_logs(ran: Ran) -> dict[str, list[dict[str, Any]]]:
    """Of the scenarios' own servers, by their names."""
    return {file.stem: ran.log(file.stem) for file in sorted(ran.folder.glob("echo-own-*.log"))}


def test_the_deleted_pod_answers_after_sigterm(ran: dict[str, Future[Ran]]) -> None:
    """The report's condition: a pod that ends when it is told says goodbye to its clients, and none is stuck.

    The mutant runs beside it: the server of the other scenario is no deaf one, and ends with the same signal.
    """
    this, cell = echo(ran), "echo-python/read-timeout/pod-deleted-kube-proxy-iptables#1"
    events = {name: [line["event"] for line in lines] for name, lines in own_logs(this).items()}
    assert sorted(said[-1] for said in events.values()) == ["ended", "ignored"], events
    [deaf] = [lines for lines in own_logs(this).values() if lines[-1]["event"] == "ignored"]
    # The log's time of day, by the journal's clock, which is this machine's.
    told = datetime.fromisoformat(deaf[-1]["time"]).timestamp() - time.time() + time.monotonic()
    mine = [record for record in journal.read(this.folder) if record.cell == cell]
    [fault] = [record for record in mine if isinstance(record, Fault) and record.action == "apply"]
    assert 0 < fault.t - told < GOES_ON_SECONDS + 5
    answers = [
        record.t
        for record in mine
        if isinstance(record, Packet) and record.link == "client" and record.direction == "to-client"
        and record.length and record.port == fault.flows[0].port and record.t > told
    ]  # fmt: skip
    assert answers, "nobody answered once SIGTERM was sent"
    assert max(answers) < fault.t


def test_a_pod_that_honours_sigterm_says_goodbye(ran: dict[str, Future[Ran]]) -> None:
    """The report's own negative control: with FIN the client knows at once."""
    this, scenario = echo(ran), "pod-ended-kube-proxy-iptables"
    assert this.cell("echo-python", scenario).verdict == "died"
    assert this.cell("echo-python", scenario, "read-timeout").verdict == "ok"
    cell = f"echo-python/default/{scenario}#1"
    said = [record for record in journal.read(this.folder) if isinstance(record, Program) and record.cell == cell]
    assert "the server closed the connection" in [record.message for record in said]
