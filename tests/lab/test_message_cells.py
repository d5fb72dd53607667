"""Whole cells of message protocols, with the shipped programs and the real servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.test_run import Ran, run
from watcher import protocols
from watcher.catalog import Catalog
from watcher.programs import environments

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

CLIENTS = Path(__file__).parent / "clients" / "messages"
RUNS = {
    "cells": (
        "--stacks", "quick-*", "--profiles", "default,ping",
        "--scenarios", "control,blackhole,azure-slb-silent,proxy-closed",
    ),
    "shipped": ("--stacks", "nats-*,mqtt-*", "--scenarios", "control,blackhole,server-killed"),
    "vanished": ("--stacks", "killer", "--profiles", "default", "--scenarios", "blackhole"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ran]]]:
    for protocol in ("nats", "mqtt"):
        if (wanted := protocols.build(protocol)) is not None:
            environments.build(wanted.folder, wanted.build)
        if (lacking := protocols.load(protocol).missing()) is not None:
            pytest.skip(lacking)
    catalog = Catalog.load([CLIENTS])
    for name in ("quick-nats", "nats-py", "mqtt-aiomqtt"):
        environments.build(catalog.stacks[name].folder, catalog.stacks[name].build)
    with ThreadPoolExecutor(1) as pool:
        yield {
            name: pool.submit(run, tmp_path_factory.mktemp("run") / "out", "--client", str(CLIENTS), *arguments)
            for name, arguments in RUNS.items()
        }


def cell(ran: dict[str, Future[Ran]], stack: str, scenario: str, profile: str) -> tuple[str, str]:
    found = ran["cells"].result().cell(stack, scenario, profile)
    return found.verdict, found.proof


@pytest.mark.parametrize("profile", ["default", "ping"])
@pytest.mark.parametrize("stack", ["quick-nats", "quick-mqtt"])
def test_a_healthy_subscription_is_ok(stack: str, profile: str, ran: dict[str, Future[Ran]]) -> None:
    """Whoever is charged with a deaf subscription must be able to have a good one in the same lab."""
    assert cell(ran, stack, "control", profile) == ("ok", "happened")
    cells = ran["cells"].result()
    assert cells.status == 0, cells.output + cells.errors


def test_only_a_ping_finds_a_dead_flow(ran: dict[str, Future[Ran]]) -> None:
    """The seeds' finding about NATS; and that the message is lost on who comes back late."""
    assert cell(ran, "quick-nats", "blackhole", "default") == ("stuck", "happened")
    assert cell(ran, "quick-nats", "blackhole", "ping") == ("ok", "happened")
    assert cell(ran, "quick-mqtt", "blackhole", "default")[0] in ("stuck", "died")


def test_a_fin_is_noticed_at_once(ran: dict[str, Future[Ran]]) -> None:
    """The same end, told: who connects again by itself sees the touch, who does not ends with an error."""
    assert cell(ran, "quick-nats", "proxy-closed", "default") == ("ok", "happened")
    assert cell(ran, "quick-mqtt", "proxy-closed", "default") == ("died", "happened")
    assert cell(ran, "quick-mqtt", "proxy-closed", "ping") == ("ok", "happened")


def test_pings_keep_an_idle_flow_alive(ran: dict[str, Future[Ran]]) -> None:
    """Whose they are is what a user has to know: a NATS server sends its own every two minutes, a broker none."""
    assert cell(ran, "quick-nats", "azure-slb-silent", "default") == ("ok", "prevented (kept alive by server)")
    assert cell(ran, "quick-nats", "azure-slb-silent", "ping")[0] == "ok"
    assert cell(ran, "quick-mqtt", "azure-slb-silent", "ping") == ("ok", "prevented (kept alive by client)")


def test_what_no_scale_can_shorten_is_left_out(ran: dict[str, Future[Ran]]) -> None:
    """A verdict at scale that true time would not give is worse than none."""
    shipped = ran["shipped"].result()
    assert shipped.cell("nats-py", "blackhole", "ping").verdict == "ok"
    for stack, profile in (("nats-py", "default"), ("nats-go", "default"), ("mqtt-aiomqtt", "ping")):
        left_out = shipped.cell(stack, "control", profile)
        assert left_out.verdict == "invalid"
        assert left_out.reason.startswith("not scalable: the library's own "), left_out.reason
    # The embedded control plane has no servers of scenarios' own, whatever they speak.
    assert shipped.cell("nats-py", "server-killed", "ping").verdict == "invalid"


def test_a_server_that_vanishes_charges_no_client(ran: dict[str, Future[Ran]]) -> None:
    """A lab that has broken must not say that a library is deaf."""
    vanished = ran["vanished"].result()
    found = vanished.cell("killer", "blackhole")
    assert found.verdict == "invalid"
    assert "the control touch failed" in found.reason
    assert vanished.status == 3
