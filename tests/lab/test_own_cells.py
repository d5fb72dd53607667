"""Whole cells of each protocol whose server is a scenario's own: deleted, killed, or let alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.test_faults_off import toml
from tests.lab.test_run import Ran, run
from watcher import protocols
from watcher.catalog import Catalog
from watcher.lab.control_plane.binaries import find
from watcher.model import Verdict
from watcher.programs import environments

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

CLIENTS = Path(__file__).parent / "clients" / "messages"
CATALOG = Catalog.load([CLIENTS])
BUILT = ("quick-nats", "quick-mqtt", "poll-python-urllib3")
STACKS = ("timer-python-5s", "echo-python", *BUILT)
DELETED, KILLED, MOVED = "pod-deleted-kube-proxy-nftables", "server-killed", "endpoint-moved"
OFF = f"off-{DELETED}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    if find("auto", environments.cache_folder()) is None:
        pytest.skip("needs the real control plane: `watcher build control-plane`")
    for protocol in ("nats", "mqtt"):
        if (wanted := protocols.build(protocol)) is not None:
            environments.build(wanted.folder, wanted.build)
        if (lacking := protocols.load(protocol).missing()) is not None:
            pytest.skip(lacking)
    for name in BUILT:
        environments.build(CATALOG.stacks[name].folder, CATALOG.stacks[name].build)
    off = tmp_path_factory.mktemp("scenario") / f"{OFF}.toml"
    off.write_text(toml(CATALOG.scenarios[DELETED].model_copy(update={"fault": "none"})))
    chosen = ("--client", str(CLIENTS), "--control-plane", "kubernetes", "--stacks", ",".join(STACKS))
    with ThreadPoolExecutor(1) as pool:
        yield {
            name: pool.submit(run, tmp_path_factory.mktemp("run") / "out", *chosen, *arguments)
            for name, arguments in {
                "on": ("--profiles", "default,read-timeout,ping", "--scenarios", f"{DELETED},{KILLED},{MOVED}"),
                "off": ("--profiles", "default", "--scenario", str(off), "--scenarios", OFF),
            }.items()
        }


def test_every_cell_is_decided_or_says_why_no_scale_can(ran: dict[str, Future[Ran]]) -> None:
    """A protocol whose own server does not start, or is not told what is published, has no table."""
    on = ran["on"].result()
    lab = [
        (cell.stack, cell.profile, cell.scenario, cell.reason)
        for cell in on.results.cells
        if cell.verdict is Verdict.INVALID and not cell.reason.startswith("not scalable")
    ]
    assert lab == []
    assert on.status == 0, on.output + on.errors


@pytest.mark.parametrize("stack", STACKS)
def test_a_killed_server_tells_its_clients(stack: str, ran: dict[str, Future[Ran]]) -> None:
    """Who is told comes again or ends with an error; nobody stays deaf."""
    cell = ran["on"].result().cell(stack, KILLED)
    expected = {"poll-python-urllib3": "ok", "quick-nats": "ok"}.get(stack, "died")
    assert (cell.verdict, cell.proof) == (expected, "happened")


def test_of_a_deleted_pod_nobody_tells(ran: dict[str, Future[Ran]]) -> None:
    """The report's own case: silence for who only reads, and only a client's own bound gets it out."""
    on = ran["on"].result()
    for stack in ("timer-python-5s", "quick-nats", "quick-mqtt"):
        assert (on.cell(stack, DELETED).verdict, on.cell(stack, DELETED).proof) == ("stuck", "happened")
    for stack in ("quick-nats", "quick-mqtt"):
        assert on.cell(stack, DELETED, "ping").verdict == "ok"
    for stack in ("timer-python-5s", "echo-python", "poll-python-urllib3"):
        assert on.cell(stack, DELETED, "read-timeout").verdict in ("ok", "late")


@pytest.mark.parametrize("stack", ["echo-python", "poll-python-urllib3"])
def test_what_is_in_flight_no_scale_decides(stack: str, ran: dict[str, Future[Ran]]) -> None:
    """Its kernel gives up after 924 s of its own."""
    reason = ran["on"].result().cell(stack, DELETED).reason
    assert reason.startswith("not scalable: what the client sends meets silence")


@pytest.mark.parametrize("stack", ["timer-python-5s", "quick-nats", "quick-mqtt"])
def test_without_the_fault_nothing_is_believed(stack: str, ran: dict[str, Future[Ran]]) -> None:
    """Else the tests above would pass in a lab where nothing happens."""
    cell = ran["off"].result().cell(stack, OFF)
    assert (cell.verdict, cell.proof) == ("invalid", "unproven")
    assert cell.reason.startswith("unproven: server-gone")
