"""A packet that conntrack calls INVALID: each proof holds for its own way of that packet and for no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.judge.stage import HOP, Connection, Stage, plan
from watcher.judge import flows
from watcher.judge.case import Case
from watcher.judge.facts import CellFacts
from watcher.judge.proofs import PROOFS, Finding
from watcher.judge.proving import prove
from watcher.model import Evidence
from watcher.records import Direction, Fault, FlowKey, Link, Packet, Record, Socket, Sockets

SERVER = "10.112.0.1"
FAULT, TOUCH = 2.0, 32.0
AHEAD = 3 << 29
WAYS = ("dropped", "leaked", "translated")
PROOF_OF = {way: f"packet-{way}" for way in WAYS}

Change = Callable[[Record], Record | None]


class Play:
    """One cell up to its touch; what became of the packet on each flow is up to the test."""

    def __init__(self, *ways: str, ahead: int = AHEAD, fault: bool = True, sockets: bool = True) -> None:
        proof = Evidence(before=(PROOF_OF[ways[0]],) if ways else (), after=("delivered-unless-closed",))
        self.stage = Stage(plan("blackhole", fault="conntrack-invalid" if fault else "none", proof=proof))
        self.flows = [self.stage.begin()] + [self.stage.open(-0.5) for _ in ways[1:]]
        for flow, way in zip(self.flows, ways, strict=False):
            self._meet(flow, way, ahead)
        if fault:
            keys = tuple(FlowKey(port=f.port, state="ESTABLISHED", server=f"{SERVER}:6444") for f in self.flows)
            at = self.stage.at(FAULT + 0.001)
            self.stage.add(Fault(t=at, cell=self.stage.cell, name="conntrack-invalid", action="apply", flows=keys))
        self.sockets = sockets

    def _meet(self, flow: Connection, way: str, ahead: int) -> None:
        seq, ack = (flow.sent["server"] + ahead) % 2**32, flow.got["server"]
        self.packet(FAULT, "server", "to-client", flow.port, "PA", seq, ack, 100)
        if way == "dropped":
            return
        peer = SERVER if way == "leaked" else None
        self.packet(FAULT + HOP, "client", "to-client", flow.port, "PA", seq, ack, 100, peer)
        if way == "leaked":
            self.packet(FAULT + 2 * HOP, "client", "to-server", flow.port, "R", ack, 0, 0, peer)
            self.packet(FAULT + 3 * HOP, "server", "to-server", flow.port, "R", ack, 0, 0)
            flow.over["server"] = True
        else:
            self.stage.send(flow, FAULT + 2 * HOP, "client", "A")

    def packet(
        self, t: float, link: Link, towards: Direction, port: int, flags: str, seq: int, ack: int, length: int,
        peer: str | None = None,
    ) -> None:  # fmt: skip
        self.stage.add(
            Packet(
                t=self.stage.at(t), cell=self.stage.cell, link=link, direction=towards, port=port, flags=flags,
                seq=seq, ack=ack, length=length, peer=peer,
            )
        )  # fmt: skip

    def case(self, change: Change | None = None) -> Case:
        """To the end of the cell: the server sends the event on what is left to it."""
        stage = self.stage
        if self.sockets:
            left = tuple(Socket(port=flow.port, state="ESTABLISHED") for flow in self.flows if not flow.over["server"])
            at = stage.at(TOUCH - 0.05)
            stage.add(Sockets(t=at, cell=stage.cell, side="server", moment="touch", sockets=left))
        stage.the_touch(TOUCH)
        for flow in self.flows:
            if not flow.over["server"]:
                stage.say(flow, TOUCH + 0.01, "server")
        stage.end(TOUCH + 120)
        facts = CellFacts(stage.plan)
        for record in stage.records:
            changed = record if change is None else change(record)
            if changed is not None:
                facts.take(changed)
        return Case(facts, stage.records[-1].t)

    def finding(self, name: str, change: Change | None = None) -> Finding:
        return PROOFS[name](self.case(change))


def on(link: str, towards: str, flags: str) -> Callable[[Record], bool]:
    """Packets of the time of the fault."""
    return lambda record: (
        isinstance(record, Packet)
        and (record.link, record.direction, record.flags) == (link, towards, flags)
        and 1_000 + FAULT <= record.t < 1_000 + FAULT + 1
    )


def without(unwanted: Callable[[Record], bool]) -> Change:
    return lambda record: None if unwanted(record) else record


def changed(wanted: Callable[[Record], bool], **fields: object) -> Change:
    return lambda record: record.model_copy(update=fields) if wanted(record) else record


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("proof", WAYS)
def test_each_way_has_one_proof(way: str, proof: str) -> None:
    """A path that leaks is taken for one that drops, and the table says that its users are safe."""
    assert Play(way).finding(PROOF_OF[proof]).holds is (way == proof)


def test_the_words_name_what_was_seen() -> None:
    """Whoever reads the evidence must find the report's packets in it."""
    seen = Play("leaked").finding("packet-leaked").seen
    assert seen == f"port 40001: a packet came from {SERVER} itself, the client's kernel reset that, the server closed"


@pytest.mark.parametrize("way", WAYS)
def test_a_fault_that_is_switched_off_proves_nothing(way: str) -> None:
    """A lab whose fault does nothing blames or praises clients for nothing."""
    play = Play(fault=False)
    case = play.case()
    proof = Evidence(before=(PROOF_OF[way],), after=("delivered-unless-closed",))
    case.facts.plan = case.plan.model_copy(update={"proof": proof})
    assert prove(case)[0].kind == "unproven"


@pytest.mark.parametrize("way", WAYS)
def test_a_fault_that_says_so_and_sends_nothing_proves_nothing(way: str) -> None:
    """The fault's own word would be its proof."""
    found = Play("dropped").finding(PROOF_OF[way], without(on("server", "to-client", "PA")))
    assert (found.holds, found.seen) == (False, "no packet outside the window was seen on port 40001")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ahead", [0, 1_000_000, -1_000])
def test_a_packet_that_conntrack_lets_through_is_none(way: str, ahead: int) -> None:
    """Ordinary data that happened to get lost would be called a dropped INVALID packet."""
    assert "no packet outside the window" in Play(way, ahead=ahead).finding(PROOF_OF[way]).seen


@pytest.mark.parametrize("way", WAYS)
def test_every_flow_must_have_met_it(way: str) -> None:
    """A client with two connections, of which one was spared, is judged by the spared one."""
    assert Play(way, way).finding(PROOF_OF[way]).holds
    other = WAYS[(WAYS.index(way) + 1) % 3]
    found = Play(way, other).finding(PROOF_OF[way])
    assert not found.holds
    assert found.seen.startswith("port 40002: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without(on("client", "to-server", "R")), "the client did not reset 10.112.0.1"),
        (without(on("server", "to-server", "R")), "the client's RST to 10.112.0.1 did not reach it"),
        (changed(on("client", "to-client", "PA"), peer="10.112.0.9"), "came from 10.112.0.9"),
        (changed(on("client", "to-server", "R"), peer="10.112.0.9"), "the client did not reset 10.112.0.1"),
    ],
)
def test_a_leak_needs_each_step_of_the_report(change: Change, said: str) -> None:
    """A reset that never reached the server leaves the watch alive: the client would be blamed for another cause."""
    found = Play("leaked").finding("packet-leaked", change)
    assert not found.holds
    assert said in found.seen


def test_a_leak_needs_the_exact_number() -> None:
    """A RST with another number is ignored (RFC 5961): the server did not close for it."""
    reset = [on("client", "to-server", "R"), on("server", "to-server", "R")]
    found = Play("leaked").finding("packet-leaked", changed(lambda r: any(each(r) for each in reset), seq=1))
    assert "another number than the server expects" in found.seen


def test_a_leak_needs_a_server_that_closed() -> None:
    """Where the server kept its socket, the client's silence has another reason."""
    play = Play("leaked")
    play.flows[0].over["server"] = False
    assert "still had its socket" in play.finding("packet-leaked").seen


@pytest.mark.parametrize("told", [True, False])
def test_without_a_look_at_its_sockets_the_servers_own_reset_shows_that_it_closed(told: bool) -> None:
    """A client that exits before the touch ends the looks at sockets; it must not become invalid for that."""
    play = Play("leaked", sockets=False)
    flow = play.flows[0]
    if told:
        play.stage.send(flow, 20.0, "client", "A", back=1)
        play.stage.send(flow, 20.001, "server", "R")
    proven = prove(play.case())[0]
    findings = {True: "the server ended port 40001", False: "the server's sockets at the touch were not recorded"}
    assert findings[told] in proven.detail
    if told:
        assert PROOFS["packet-leaked"](play.case()).holds


def test_a_dropped_packet_must_not_come_late() -> None:
    """A packet that was held up for longer than a capture's jitter is not stopped."""
    play = Play("dropped")
    seq = (play.flows[0].sent["server"] + AHEAD) % 2**32
    play.packet(FAULT + 0.5, "client", "to-client", play.flows[0].port, "PA", seq, 0, 100)
    assert play.finding("packet-dropped").seen == "port 40001: the packet outside the window reached the client"


def test_a_translated_packet_is_not_answered_with_a_reset() -> None:
    """A client's kernel that resets what it ought to ignore would pass for one that is safe."""
    play = Play("translated")
    play.packet(FAULT + 0.01, "client", "to-server", play.flows[0].port, "R", 1, 0, 0)
    assert "answered with a RST" in play.finding("packet-translated").seen


def test_after_a_translated_packet_the_server_is_still_there() -> None:
    """Otherwise a server that closed unseen would count as undisturbed."""
    play = Play("translated")
    play.flows[0].over["server"] = True
    assert "had no socket any more" in play.finding("packet-translated").seen


@pytest.mark.parametrize("guarded", [True, False])
def test_a_packet_beyond_the_window_moves_no_number(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it, every reset of the path's would be taken for an inexact one, which the client ignores."""
    if not guarded:
        monkeypatch.setattr(flows, "beyond_window", lambda _known, _seen: False)
    play = Play("translated")
    play.stage.path_reset(play.flows[0], 10.0, "client")
    end = play.case().flows[0].ends[0]
    assert (end.by, end.exact) == ("path", guarded)


def test_delivered_unless_closed() -> None:
    """A library that ends an idle watch by itself must be judged for that, and the lab's silence never be."""
    assert Play("dropped").finding("delivered-unless-closed").seen == "200 octets on port 40001, +0.010 s"
    lost = Play("dropped").finding(
        "delivered-unless-closed",
        without(lambda r: isinstance(r, Packet) and r.t > 1_000 + TOUCH and r.link == "client"),
    )
    assert lost == Finding(False, "no data reached the client after the touch on port 40001")
    by_client = Play("dropped")
    by_client.stage.close(by_client.flows[0], 20.0)
    assert (
        by_client.finding("delivered-unless-closed").seen == "the client itself had ended every flow before the touch"
    )
    by_server = Play("dropped")
    by_server.stage.close(by_server.flows[0], 20.0, "server")
    assert by_server.finding("delivered-unless-closed").seen == "the server ended port 40001 with FIN before the touch"
