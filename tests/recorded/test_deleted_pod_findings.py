"""The report of the force-deleted pod (projectcalico/calico#7983) with its negative controls, recorded in true time.

One program, four cells: a line every 5 s to a pod behind a ClusterIP, to one that honours SIGTERM, to one on the
client's own node, and to one behind a headless Service.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.recorded.test_recorded import records_of
from watcher.model import Touch
from watcher.records import Conntrack, Fault, Packet, Program, Record, Touched

RUN = Path(__file__).parent / "true-time-negative-controls"
CLUSTER_IP, ENDED = "pod-deleted-kube-proxy-iptables", "pod-ended-kube-proxy-iptables"
SAME_NODE, HEADLESS = "pod-deleted-same-node", "pod-deleted-headless"
LINE_SECONDS = 5.0
WINDOW_SECONDS = 120.0
SUCCESSOR = "10.112.0.1"


@cache
def run() -> list[Record]:
    return records_of(RUN)


def of(scenario: str, stack: str = "echo-python") -> list[Record]:
    return [record for record in run() if getattr(record, "cell", None) == f"{stack}/default/{scenario}#1"]


def fault(scenario: str, stack: str = "echo-python") -> Fault:
    return next(r for r in of(scenario, stack) if isinstance(r, Fault) and r.action == "apply")


def after(scenario: str, link: str, direction: str, stack: str = "echo-python") -> list[Packet]:
    """What was seen of the flow that the fault found, from the fault on."""
    found = fault(scenario, stack)
    return [
        record
        for record in of(scenario, stack)
        if isinstance(record, Packet) and record.t > found.t and record.port == found.flows[0].port
        and (record.link, record.direction) == (link, direction)
    ]  # fmt: skip


def exited(scenario: str) -> Program:
    return next(r for r in of(scenario) if isinstance(r, Program) and r.event == "exited")


def test_where_it_is_told_the_client_ends_with_its_next_line() -> None:
    """The two controls that the report is right about: the same program, the same force, and no quarter of an hour."""
    for scenario in (SAME_NODE, ENDED):
        end = exited(scenario)
        assert not end.by_harness
        assert end.t - fault(scenario).t < LINE_SECONDS + 1, scenario


def test_on_the_same_node_it_is_reset_by_a_pod_that_never_had_the_connection() -> None:
    """Else the reset is the lab's own, and shows nothing of Kubernetes."""
    [reset] = after(SAME_NODE, "server", "to-client")
    assert ("R" in reset.flags, reset.server) == (True, SUCCESSOR)
    [line] = [packet for packet in after(SAME_NODE, "server", "to-server") if packet.length]
    assert line.server == SUCCESSOR
    assert 0 < reset.t - line.t < 0.1
    assert [packet.flags for packet in after(SAME_NODE, "client", "to-client")] == ["R"]


@pytest.mark.parametrize("scenario", [CLUSTER_IP, HEADLESS])
def test_with_and_without_a_cluster_ip_it_climbs_the_same_ladder(scenario: str) -> None:
    """A headless Service passes for a cure: nobody answers or resets, until the kernel gives up after tcp_retries2."""
    sent = [packet for packet in after(scenario, "client", "to-server") if packet.length]
    assert after(scenario, "client", "to-client") == []
    assert {packet.seq for packet in sent} == {sent[0].seq}
    assert len(sent) > 15
    assert {packet.server for packet in after(scenario, "server", "to-server")} == {None}, "to the pod that is gone"
    pauses = [later.t - earlier.t for earlier, later in pairwise(sent)]
    assert all(later > 0.95 * earlier for earlier, later in pairwise(pauses[1:])), pauses
    assert 900 < exited(scenario).t - sent[0].t < 960
    assert exited(scenario).status == 1


@pytest.mark.parametrize("scenario", [CLUSTER_IP, HEADLESS])
def test_conntrack_has_the_flow_after_the_client_gave_up(scenario: str) -> None:
    """The entry that the report shows is there without any translation, too: it is a sign, and not the cause."""
    old = fault(scenario).flows[0]
    [close] = [record for record in of(scenario) if isinstance(record, Conntrack) and record.moment == "close"]
    assert close.t > exited(scenario).t
    known = {flow.port: (flow.state, flow.server) for flow in close.flows}
    assert known[old.port] == ("ESTABLISHED", old.server)


def test_the_same_node_has_no_such_entry() -> None:
    """It is what its agent took away."""
    [look] = [record for record in of(SAME_NODE) if isinstance(record, Conntrack) and record.moment == "touch"]
    assert fault(SAME_NODE).flows[0].server not in {flow.server for flow in look.flows}


def test_a_watch_that_sends_nothing_is_told_nothing_on_the_same_node_either() -> None:
    """Who reads that the same node is safe, and watches without keepalive, is deaf there as elsewhere."""
    [touch] = [r for r in of(SAME_NODE, "python-kubernetes") if isinstance(r, Touched) and r.role is Touch.TOUCH]
    seen = [
        packet
        for link in ("client", "server")
        for direction in ("to-client", "to-server")
        for packet in after(SAME_NODE, link, direction, "python-kubernetes")
    ]
    assert [packet for packet in seen if packet.t < touch.sent + WINDOW_SECONDS] == [], "until it is ended from outside"
