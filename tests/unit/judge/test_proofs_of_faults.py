"""Proofs of what a fault did: each both ways, and the fault itself switched off, which must never pass."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.judge.findings import Change, case_of, finding, on, only, without
from tests.unit.judge.stage import HOP, SERVER, Connection, Side, Stage, plan
from watcher.judge.proofs import PROOFS
from watcher.judge.proving import prove
from watcher.model import Ending, Evidence
from watcher.records import Conntrack, Counters, Fault, FlowKey, Packet, Probed, ProcessState, Record, Sockets

FAULT = 2.0
TOUCH = 32.0
HEALED = 62.0
OUTAGE_TOUCH = 92.0
NO_ROUTE = "OSError: [Errno 113] No route to host"


def stage_of(fault: str, *proofs: str, **changes: Any) -> tuple[Stage, Connection]:
    """A cell of that fault, up to L0; ``proofs`` are the scenario's."""
    stage = Stage(plan("blackhole", fault=fault, proof=Evidence(before=proofs), **changes))
    return stage, stage.begin()


def touched(stage: Stage, t: float = TOUCH, **probes: str | None) -> Stage:
    """The touch with the probe, and others ``to`` somewhere with their errors; then the end."""
    stage.the_touch(t)
    for to, error in probes.items():
        stage.probed(t, 0.3, error, to=to, port=61_000)
    stage.end(t + 121)
    return stage


# -- one way ------------------------------------------------------------------------------------------------------


def one_way(stopped: Side) -> Stage:
    stage, flow = stage_of("one-way")
    stage.apply_fault(FAULT, stopped)
    stage.probe_alive(flow, 30, "client")
    stage.the_touch(TOUCH)
    stage.say(flow, TOUCH + 0.003, "server")
    stage.send(flow, TOUCH + 0.2, "client", "A")
    stage.end(TOUCH + 121)
    return stage


@pytest.mark.parametrize(("stopped", "way"), [("server", "to-client"), ("client", "to-server")])
def test_flow_cut_one_way(stopped: Side, way: str) -> None:
    """A scenario of one dead direction kills both, and a client is charged with more than its column says."""
    stage, other = one_way(stopped), {"to-client": "to-server", "to-server": "to-client"}[way]
    assert finding(f"flow-cut-{way}", stage).holds, finding(f"flow-cut-{way}", stage)
    assert not finding("flow-cut", stage).holds
    assert not finding(f"flow-cut-{other}", stage).holds
    assert not finding(f"flow-cut-{way}", one_way(stopped), without(lambda r: isinstance(r, Fault))).holds
    both, flow = stage_of("one-way")
    both.apply_fault(FAULT, "client", "server")
    both.probe_alive(flow, 30, "client")
    both.say(flow, 31, "server")
    assert "were stopped too" in finding(f"flow-cut-{way}", touched(both)).seen

    counted = only(Counters, packets={f"blackhole-{way}": 1, f"blackhole-{other}": 2})
    assert finding(f"flow-cut-{way}", stage, counted).seen == f"2 packets {other} were counted as dropped too"


def test_what_crosses_when_the_cell_is_cleaned_up_is_no_leak() -> None:
    """The lab heals its fault at the end, the program says good-bye, and the whole cell counts as unproven."""
    stage = one_way("server")
    close = stage.records.pop()
    stage.heal(TOUCH + 120)
    stage.records.pop()  # the clean-up's healing leaves no record
    stage.say(stage.connections[0], TOUCH + 120.8, "server")
    stage.records.append(close)
    assert "packets crossed after the fault" in finding("flow-cut-to-client", stage).seen
    looked = Sockets(t=stage.at(TOUCH + 119.9), cell=stage.cell, moment="close", sockets=())
    stage.records.insert(-1, looked)
    assert finding("flow-cut-to-client", stage).holds


# -- everything ---------------------------------------------------------------------------------------------------


def outage(*, dark: bool = True, survives: bool = True) -> Stage:
    """60 s of it, probed in its midst; the touch comes 30 s after the healing."""
    stage = Stage(plan("blackhole", fault="outage", fault_seconds=60.0))
    flow = stage.begin()
    stage.apply_fault(FAULT)
    stage.dark = dark
    probe = Connection(60_500)
    stage.send(probe, 32, "client", "S")
    stage.probed(32, 20, "TimeoutError: timed out" if dark else None, port=60_500)
    stage.probe_alive(flow, 33, "client")
    if not survives:
        stage.close(flow, 50, flags="RA")
    stage.heal(HEALED)
    if not survives:
        flow = stage.open(70)
    stage.the_touch(OUTAGE_TOUCH)
    stage.say(flow, OUTAGE_TOUCH + 0.003, "server")
    stage.end(OUTAGE_TOUCH + 121)
    return stage


def test_path_dark() -> None:
    """An outage that let something through, or that nobody met, passes for one."""
    stage = outage()
    assert finding("path-dark", stage).seen == "2 packets stopped in 60.0 s, 2 counted as dropped; none crossed"
    assert not finding("path-dark", outage(dark=False)).holds
    assert finding("path-dark", stage, without(lambda r: isinstance(r, Fault))).seen == "no fault was applied"

    def untried(record: Record) -> Record | None:
        if isinstance(record, Packet) and stage.at(FAULT) < record.t < stage.at(HEALED):
            return None
        return record.model_copy(update={"packets": {}}) if isinstance(record, Counters) else record

    assert "nobody sent anything" in finding("path-dark", stage, untried).seen


def test_path_dark_counts_every_connection() -> None:
    """The old connection is dark and new ones work: that is a blackhole, and clients survive it otherwise."""
    stage = outage()
    syn = next(r for r in stage.records if isinstance(r, Packet) and r.port == 60_500)
    stage.records.insert(-1, syn.model_copy(update={"link": "server", "t": syn.t + HOP}))
    assert "1 packets crossed meanwhile" in finding("path-dark", stage).seen


def test_what_crosses_while_it_is_being_healed_is_no_leak() -> None:
    """Healing takes a moment; whatever waited comes through before it is recorded, and the cell is thrown away."""
    stage = outage()
    late = only(Fault)
    stage.say(stage.connections[0], HEALED + 0.05, "client")

    def slow(record: Record) -> Record | None:
        healing = isinstance(record, Fault) and record.action == "heal"
        return record.model_copy(update={"t": stage.at(HEALED + 0.4)}) if healing else late(record)

    assert finding("path-dark", stage, slow).holds


def test_reset_by_path() -> None:
    """A reset that the client's kernel ignores passes for one that told it."""
    for off, t, holds in ((0, FAULT + 0.01, True), (7, FAULT + 0.01, False), (0, 1.0, False), (0, TOUCH + 1, False)):
        stage, flow = stage_of("reset")
        stage.path_reset(flow, t, "client", off=off)
        stage.apply_fault(FAULT)
        assert finding("reset-by-path", touched(stage)).holds is holds, (off, t)
    stage, flow = stage_of("reset")
    stage.apply_fault(FAULT)
    stage.close(flow, FAULT + 0.01, "server", "R")
    assert finding("reset-by-path", touched(stage)).seen.endswith("not at all")


# -- the proxy ----------------------------------------------------------------------------------------------------


def closing(side: Side = "server", flags: str = "FA", lag: float = 0.1) -> Stage:
    """A proxy with an idle timeout of 20 s: TCP's own probes are nothing to it."""
    stage = Stage(plan("gcp-vpc", idle_timeout_seconds=20.0, ending=Ending.CLOSE, proxy=True))
    stage.forgets = False
    flow = stage.begin()
    stage.probe_alive(flow, 10, "client")
    stage.close(flow, 20 + lag, side, flags)
    stage.the_touch(50)
    stage.end(171)
    return stage


def test_closed_on_idle() -> None:
    """A connection that ended otherwise, or much later, passes for one that the proxy closed."""
    assert finding("closed-on-idle", closing()).holds, finding("closed-on-idle", closing())
    assert "closed only 1.2" in finding("closed-on-idle", closing(lag=1.2)).seen
    assert "by the server, by RST" in finding("closed-on-idle", closing(flags="R")).seen
    assert "by the client, by FIN" in finding("closed-on-idle", closing("client")).seen
    lost = without(on("client", "to-client", "F"))
    assert not finding("closed-on-idle", closing(), lost).holds
    assert not finding(
        "closed-on-idle", closing(), without(lambda r: on("server", "to-client", "F")(r) or lost(r) is None)
    ).holds
    assert "nobody there closes" in finding("closed-on-idle", outage()).seen


def test_data_keeps_a_proxys_connection_and_nothing_else_does() -> None:
    """Keepalive probes get the praise for data; or a client that talks is said to have been closed."""
    stage = Stage(plan("gcp-vpc", idle_timeout_seconds=20.0, ending=Ending.CLOSE, proxy=True, proof=CLOSED))
    stage.forgets = False
    flow = stage.begin()
    for number in range(3):
        stage.say(flow, 15.0 * (number + 1), "server")
        stage.probe_alive(flow, 15.0 * number + 7, "client")
    stage.the_touch(50)
    stage.end(171)
    assert not finding("closed-on-idle", stage).holds
    assert prove(case_of(stage))[0].kind == "prevented (kept alive by server)"


CLOSED = Evidence(before=("closed-on-idle",))


def closed_by(side: Side, flags: str = "FA", t: float = FAULT + 0.01) -> Stage:
    stage, flow = stage_of("proxy-closed")
    keys = (FlowKey(port=flow.port, state="ESTABLISHED", server=SERVER),)
    stage.close(flow, t, side, flags)
    stage.add(Fault(t=stage.at(FAULT + 0.05), cell=stage.cell, name="proxy-closed", action="apply", flows=keys))
    return touched(stage)


def test_closed_by_proxy() -> None:
    """A client that went by itself, or a reset, or an end at another time passes for the proxy's closing."""
    assert finding("closed-by-proxy", closed_by("server")).holds, finding("closed-by-proxy", closed_by("server"))
    assert "first by the client, by FIN" in finding("closed-by-proxy", closed_by("client")).seen
    assert "first by the server, by RST" in finding("closed-by-proxy", closed_by("server", "R")).seen
    assert "not by it" in finding("closed-by-proxy", closed_by("server", t=FAULT + 5)).seen
    assert "not by it" in finding("closed-by-proxy", closed_by("server", t=1.0)).seen
    assert "by nobody" in finding("closed-by-proxy", closed_by("server", t=TOUCH + 5)).seen


# -- new connections ----------------------------------------------------------------------------------------------


def test_new_connections_work_at_the_touch_and_not_before() -> None:
    """A probe that failed in the midst of an outage makes every cell of it invalid; or one that worked proves it."""
    stage = outage()
    assert finding("new-connections-work", stage).holds
    early = without(lambda r: isinstance(r, Probed) and r.t > stage.at(HEALED))
    assert finding("new-connections-work", outage(dark=False), early).seen == "no probe was made"
    elsewhere = only(Probed, to="server")
    assert finding("new-connections-work", stage, elsewhere).seen == "no probe was made"


def test_new_connections_fail() -> None:
    """A proxy that was to be gone took connections all the time."""
    assert finding("new-connections-fail", outage()).holds
    assert "a probe was answered" in finding("new-connections-fail", outage(dark=False)).seen
    untried = without(lambda r: isinstance(r, Probed) and r.t < outage().at(HEALED))
    assert "no probe was made" in finding("new-connections-fail", outage(), untried).seen


def unanswered(error: str = "TimeoutError: The handshake operation timed out", octets: int = 0) -> Stage:
    stage, _ = stage_of("server-stopped")
    stage.apply_fault(FAULT)
    stage.the_touch(TOUCH)
    stage.records.pop()
    probe = Connection(60_700)
    stage.send(probe, TOUCH, "client", "S")
    stage.send(probe, TOUCH + 0.001, "server", "SA")
    stage.send(probe, TOUCH + 0.002, "client", "A")
    stage.send(probe, TOUCH + 0.003, "client", "PA", 517)
    if octets:
        stage.send(probe, TOUCH + 0.2, "server", "PA", octets)
    stage.probed(TOUCH, 10, error, port=60_700)
    stage.end(TOUCH + 121)
    return stage


def test_new_connections_unanswered() -> None:
    """A server that refuses passes for one that takes connections and is silent."""
    assert finding("new-connections-unanswered", unanswered()).holds, finding(
        "new-connections-unanswered", unanswered()
    )
    assert "another cause" in finding("new-connections-unanswered", unanswered("ConnectionRefusedError: x")).seen
    assert "was sent 1400 octets" in finding("new-connections-unanswered", unanswered(octets=1400)).seen
    no_answer = without(lambda r: isinstance(r, Packet) and r.port == 60_700 and "S" in r.flags and "A" in r.flags)
    assert "did not come up" in finding("new-connections-unanswered", unanswered(), no_answer).seen
    assert (
        "no fault" in finding("new-connections-unanswered", unanswered(), without(lambda r: isinstance(r, Fault))).seen
    )


@pytest.mark.parametrize(
    ("error", "holds"),
    [
        ("410 as HTTP status", True),
        ("410 as ERROR event", True),
        (None, False),
        ("401 as HTTP status", False),
        ("TimeoutError: timed out", False),
    ],
)
def test_history_gone(error: str | None, holds: bool) -> None:
    """The server still knew its past, and every client is praised for surviving its loss."""
    stage, _ = stage_of("history-lost")
    stage.apply_fault(FAULT)
    found = finding("history-gone", touched(stage, history=error))
    assert found.holds is holds
    assert not holds or str(error) in found.seen
    assert finding("history-gone", touched(stage_of("history-lost")[0])).seen == "no watch was resumed"


# -- the server ---------------------------------------------------------------------------------------------------


def ended(side: Side, flags: str, t: float = FAULT + 0.01, *, good_bye: bool = False) -> Stage:
    """The record of the fault is written half a second after it began to act."""
    stage, flow = stage_of("server-killed")
    keys = (FlowKey(port=flow.port, state="ESTABLISHED", server=SERVER),)
    if good_bye:
        stage.say(flow, t - 0.005, "server", 60)
    stage.send(flow, t, side, flags)
    if side == "client":
        stage.send(flow, t + 0.01, "server", "FA")
    stage.add(Fault(t=stage.at(FAULT + 0.5), cell=stage.cell, name="server-killed", action="apply", flows=keys))
    return touched(stage)


def test_ended_by_server() -> None:
    """A watch that the client itself gave up, or that went on, counts as ended by the server."""
    assert "by FIN, -0.490 s from the fault" in finding("ended-by-server", ended("server", "FA")).seen
    assert "by RST" in finding("ended-by-server", ended("server", "R")).seen
    assert finding("ended-by-server", ended("server", "FA", t=TOUCH + 1)).seen.startswith("the server did not end")
    assert finding("ended-by-server", ended("server", "FA", t=1.0)).seen.startswith("the server did not end")
    assert "first by the client, by FIN" in finding("ended-by-server", ended("client", "FA")).seen
    told = finding("ended-by-server", ended("client", "FA", good_bye=True))
    assert told.holds
    assert "by its last data, upon which the client closed, -0.490 s from the fault" in told.seen
    assert finding("ended-by-server", ended("server", "FA")).seen.endswith("from the fault")
    off = without(lambda r: isinstance(r, Fault))
    assert not finding("ended-by-server", ended("server", "FA"), off).holds


def gone(error: str | None, *, heard: bool = False) -> Stage:
    stage, flow = stage_of("node-gone")
    stage.apply_fault(FAULT, *(() if heard else ("client", "server")))
    stage.send(flow, 20, "client", "A", back=1)
    if heard:
        stage.send(flow, 20.001, "server", "A")
    return touched(stage, server=error)


def vanished(heard: bool = False) -> Change:
    """What the server sends gets nowhere, not even to the path."""
    return without(lambda r: on("server", "to-client")(r) and r.t > START_OF_SILENCE and not heard)


START_OF_SILENCE = 1_000.0 + FAULT


@pytest.mark.parametrize(
    ("error", "is_gone", "unreachable"),
    [("TimeoutError: timed out", True, False), (NO_ROUTE, True, True), (None, False, False)],
)
def test_server_gone_and_unreachable(error: str | None, is_gone: bool, unreachable: bool) -> None:
    """The server lived on, and the client is charged for having waited for it; or silence passes for an answer."""
    assert finding("server-gone", gone(error), vanished()).holds is is_gone
    assert finding("server-unreachable", gone(error), vanished()).holds is unreachable


@pytest.mark.parametrize("name", ["server-gone", "server-unreachable"])
def test_a_server_that_answers_is_not_gone(name: str) -> None:
    """Its new connections fail, but the old one works: another scenario."""
    assert "packets of the server's" in finding(name, gone(NO_ROUTE, heard=True)).seen
    assert "nobody tried" in finding(name, gone(NO_ROUTE), only(Probed, to="virtual")).seen
    assert finding(name, gone(NO_ROUTE), without(lambda r: isinstance(r, Fault))).seen == "no fault was applied"


def test_conntrack_stale() -> None:
    """The path had led the flow elsewhere, or forgotten it, and its silence is called a stale entry."""
    stage = gone("x")
    assert finding("conntrack-stale", stage, vanished()).holds, finding("conntrack-stale", stage, vanished())

    def entry(**changes: object) -> Change:
        def change(record: Record) -> Record | None:
            if isinstance(record, Conntrack):
                flows = tuple(flow.model_copy(update=changes) for flow in record.flows)
                return record.model_copy(update={"flows": flows})
            return vanished()(record)

        return change

    assert "to 192.0.2.2:6443 at the touch" in finding("conntrack-stale", stage, entry(server="192.0.2.2:6443")).seen
    assert "not ESTABLISHED any more: CLOSE" in finding("conntrack-stale", stage, entry(state="CLOSE")).seen
    assert "packets of the server's" in finding("conntrack-stale", gone("x", heard=True)).seen
    failed = only(Probed, ok=False)
    assert not finding("conntrack-stale", stage, lambda r: failed(r) if isinstance(r, Probed) else vanished()(r)).holds
    assert not finding("conntrack-stale", stage, without(lambda r: isinstance(r, Fault))).holds


def test_conntrack_stale_needs_new_connections_elsewhere() -> None:
    """Everything leads to the dead server, new connections too: no stale entry, a dead service."""
    stage = gone("x")
    key = FlowKey(port=60_000, state="TIME_WAIT", server=SERVER)
    stage.records.insert(-1, Conntrack(t=stage.at(TOUCH + 100), cell=stage.cell, moment="close", flows=(key,)))
    assert "was led to 192.0.2.1:6443, too" in finding("conntrack-stale", stage, vanished()).seen
    stage.records[-2] = stage.records[-2].model_copy(update={"flows": (key.model_copy(update={"server": "other"}),)})
    assert finding("conntrack-stale", stage, vanished()).holds


def test_conntrack_stale_of_a_client_that_gave_up() -> None:
    """A client with keepalive leaves no entry behind, and its cell is invalid for having done well."""
    for forwarded in (True, False):
        stage, flow = stage_of("node-gone")
        stage.apply_fault(FAULT, *(() if forwarded else ("client",)))
        stage.send(flow, 12, "client", "A", back=1)
        stage.send(flow, 22, "client", "RA")
        flow.state = "CLOSE"
        assert finding("conntrack-stale", touched(stage)).holds is forwarded


SUCCESSOR = "192.0.2.2"


def led_anew(
    *answers: str, to: str | None = SUCCESSOR, dropped: bool = False, entry: str | None = None, says: str = "PA"
) -> tuple[Stage, Change]:
    """The client speaks once between fault and touch. ``answers``: the flags of what came back from where it was led;
    ``entry``: where conntrack leads the flow at the touch."""
    stage, flow = stage_of("pod-deleted-same-node")
    stage.apply_fault(FAULT, *(("client",) if dropped else ()))
    stage.send(flow, 10, "client", says, 10)
    for flags in answers:
        stage.send(flow, 10.0005, "server", flags)

    def change(record: Record) -> Record:
        if isinstance(record, Packet) and record.link == "server" and record.t > START_OF_SILENCE:
            return record.model_copy(update={"server": to})
        if isinstance(record, Conntrack):
            keys = (FlowKey(port=flow.port, state="ESTABLISHED", server=entry),) if entry else ()
            return record.model_copy(update={"flows": keys})
        return record

    return touched(stage, server="TimeoutError: timed out"), change


def test_flow_forgotten() -> None:
    """A flow that still leads to the dead pod passes for one that its node forgot."""
    said = finding("flow-forgotten", *led_anew("R"))
    assert (said.holds, "192.0.2.2 reset it +8.000 s" in said.seen) == (True, True), said
    assert "nobody answered" in finding("flow-forgotten", *led_anew()).seen
    assert finding("flow-forgotten", *led_anew("R", entry=f"{SUCCESSOR}:6443")).holds
    stale = finding("flow-forgotten", *led_anew(entry=SERVER))
    assert (stale.holds, "still led to 192.0.2.1:6443" in stale.seen) == (False, True)
    old = finding("flow-forgotten", *led_anew(to=None))
    assert (old.holds, "went to the server that is gone" in old.seen) == (False, True)
    lost = finding("flow-forgotten", *led_anew(dropped=True))
    assert (lost.holds, "went to nobody" in lost.seen) == (False, True)
    assert finding("flow-forgotten", *led_anew(dropped=True, says="FA")).holds, "an end opens nothing anew"


def test_flow_forgotten_of_a_client_that_says_nothing() -> None:
    """A watch without keepalive is told nothing by anybody; its cell is invalid, and nobody learns that it is deaf."""
    stage, _ = stage_of("pod-deleted-same-node")
    stage.apply_fault(FAULT, "server")
    forgotten = only(Conntrack, flows=())
    said = finding("flow-forgotten", touched(stage), forgotten)
    assert (said.holds, "nothing was sent on it" in said.seen) == (True, True)
    assert not finding("flow-forgotten", stage).holds, "the entry is still there"


def test_a_reset_by_the_server_that_took_over_is_no_life_of_the_old_one() -> None:
    """On the same node the old flow is reset by a pod that never had it, and every such cell would be invalid."""
    assert finding("server-gone", *led_anew("R")).holds
    assert "packets of the server's" in finding("server-gone", *led_anew("R", to=None)).seen


# -- the process --------------------------------------------------------------------------------------------------


def frozen(states: tuple[str, str] = ("T", "T"), cpu: float = 0.0, says: bool = False, **changes: Any) -> Stage:
    """On a silent path, for longer than its idle timeout; woken before the touch."""
    proof = Evidence(before=("client-frozen", "idle-expired"))
    settings: dict[str, Any] = {"fault": "client-frozen", "fault_seconds": 300.0, "proof": proof, **changes}
    stage = Stage(plan("azure-slb-silent", **settings))
    flow = stage.begin()
    if settings["fault"] != "none":
        stage.apply_fault(FAULT)
        stage.looked_at_process(152, "fault", states[0], 1.5)
        stage.looked_at_process(301.9, "healed", states[1], 1.5 + cpu)
    for number in range(10 if says else 0):
        stage.say(flow, 30.0 * (number + 1), "client")
    if settings["fault"] != "none":
        stage.heal(302)
    stage.the_touch(332)
    stage.end(453)
    return stage


def kept_alive(stage: Stage) -> Stage:
    """The client's kernel probes on, whatever became of its process."""
    fresh = Stage(stage.plan)
    flow = fresh.begin()
    for number in range(11):
        fresh.probe_alive(flow, 30.0 * (number + 1), "client")
    fresh.add(*(r for r in stage.records if isinstance(r, Fault | ProcessState)))
    fresh.the_touch(332)
    fresh.end(453)
    return fresh


def test_client_frozen() -> None:
    """A client that ran all the time is praised for surviving its freezing."""
    assert finding("client-frozen", frozen()).holds
    assert "state S 150.0 s after" in finding("client-frozen", frozen(("S", "T"))).seen
    assert "state ST" in finding("client-frozen", frozen(("T", "ST"))).seen
    assert finding("client-frozen", frozen(cpu=0.01)).holds
    assert "used 0.02 s of CPU" in finding("client-frozen", frozen(cpu=0.02)).seen
    assert "sent data on port 40001" in finding("client-frozen", frozen(says=True)).seen
    unseen = without(lambda r: isinstance(r, ProcessState))
    assert "nobody looked" in finding("client-frozen", frozen(), unseen).seen
    assert finding("client-frozen", frozen(), without(lambda r: isinstance(r, Fault))).seen == "no fault was applied"


# -- what excuses a proof that fails ------------------------------------------------------------------------------


def test_a_frozen_client_may_be_kept_alive_by_its_kernel() -> None:
    """Keepalive of the kernel carries a stopped process over the timeout, and its cell is thrown away."""
    assert prove(case_of(frozen()))[0].kind == "happened"
    assert prove(case_of(kept_alive(frozen())))[0].kind == "prevented (kept alive by client)"


@pytest.mark.parametrize("states", [("S", "S"), ("T", "S")])
def test_nothing_excuses_what_was_to_be_done_to_the_cell(states: tuple[str, str]) -> None:
    """The fault never happened, the client kept its connection, and that passes for having survived it."""
    proven, _ = prove(case_of(kept_alive(frozen(states))))
    assert proven.kind == "unproven"
    assert proven.detail.startswith("client-frozen: ")


def test_a_fault_that_was_switched_off_prevents_nothing() -> None:
    """A lab whose faults do nothing reports that every client survived them."""
    for stage in (frozen(fault="none"), kept_alive(frozen(fault="none"))):
        assert prove(case_of(stage))[0].kind == "unproven"


OF_FAULTS = sorted(
    set(PROOFS) - {"no-fault", "delivered-on-established-flow", "no-reset-to-client", "new-connections-work"}
)


@pytest.mark.parametrize("name", OF_FAULTS)
@pytest.mark.parametrize("closes", [False, True])
def test_every_proof_of_a_fault_fails_without_one(name: str, closes: bool) -> None:
    """A fault is switched off, and its column is full of verdicts all the same."""
    stage = Stage(plan("control", fault="none", proof=Evidence(before=(name,))))
    flow = stage.begin()
    if closes:
        stage.close(flow, 100)
    stage.the_touch(150)
    if not closes:
        stage.say(flow, 150.003, "server")
    stage.end(272)
    assert prove(case_of(stage))[0].kind == "unproven"


def test_a_fault_that_was_not_applied_prevents_nothing() -> None:
    """The lab forgets to apply its fault, and clients that had no connection just then are called lucky."""
    for applied, kind in ((True, "prevented (closed before the fault)"), (False, "unproven")):
        stage, flow = stage_of("blackhole", "flow-cut")
        stage.close(flow, 1)
        if applied:
            stage.apply_fault(FAULT)
        assert prove(case_of(touched(stage)))[0].kind == kind


def test_a_cut_flow_on_an_idle_path_is_not_excused_by_being_alive() -> None:
    """The cut did nothing; the flow lived on, as it would without any fault; and the cell counts."""
    stage = Stage(plan("azure-slb-silent", fault="blackhole", proof=Evidence(before=("flow-cut",))))
    flow = stage.begin()
    stage.apply_fault(FAULT)
    for number in range(9):
        stage.probe_alive(flow, 30.0 * (number + 1), "client")
    assert prove(case_of(touched(stage, 270)))[0].kind == "unproven"


OF_FLOWS = [
    "flow-cut",
    "flow-cut-to-client",
    "flow-cut-to-server",
    "reset-by-path",
    "closed-by-proxy",
    "ended-by-server",
    "conntrack-stale",
    "flow-forgotten",
]


@pytest.mark.parametrize("name", OF_FLOWS)
def test_a_fault_that_found_no_flow_did_nothing_to_one(name: str) -> None:
    """Of no connections all were cut, all were reset, all were closed: a proof that holds of nothing."""
    stage, _ = stage_of("blackhole")
    stage.apply_fault(FAULT, "client", "server")
    stage.say(stage.connections[0], 20, "server")
    touched(stage)
    nothing = only(Fault, flows=())
    assert finding(name, stage, nothing) == (False, "the client had no established flow at the fault")
    assert finding(name, stage, without(lambda r: isinstance(r, Fault))) == (False, "no fault was applied")


@pytest.mark.parametrize(("dark", "kind"), [(True, "happened"), (False, "unproven")])
def test_a_client_without_a_connection_excuses_no_outage(dark: bool, kind: str) -> None:
    """The outage never came; the client had closed its connection before, and is called lucky instead."""
    stage = Stage(plan("blackhole", fault="outage", fault_seconds=60.0, proof=Evidence(before=("path-dark",))))
    stage.close(stage.begin(), 1)
    stage.apply_fault(FAULT)
    stage.dark = dark
    stage.send(Connection(60_500), 32, "client", "S")
    stage.heal(HEALED)
    assert prove(case_of(touched(stage, OUTAGE_TOUCH)))[0].kind == kind


@pytest.mark.parametrize("scenario", ["control", "azure-slb-silent"])
def test_closed_in_order_before_the_touch(scenario: str) -> None:
    """A client that closes its watch, as its settings ask, turns the control and every idle path invalid."""
    stage = Stage(plan(scenario))
    stage.close(stage.begin(), 100)
    stage = touched(stage, stage.plan.timing.touch_after_seconds)
    assert prove(case_of(stage))[0].kind == "prevented (closed before the fault)"
