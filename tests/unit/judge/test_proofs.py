"""Each proof both ways: what it needs to hold, and a mutant of the lab or the path that must not pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.judge.clients import act, cell_of
from tests.unit.judge.findings import case_of, finding, on, without
from tests.unit.judge.stage import Side, Stage, plan
from watcher.errors import UsageError
from watcher.judge.facts import MAX_PACKETS
from watcher.judge.fold import Judge
from watcher.judge.proofs import IDLE, PROOFS, STANDING, check, proof
from watcher.judge.proving import prove
from watcher.model import Ending, Evidence
from watcher.records import Conntrack, Counters, Fault, FlowKey, Packet, Planned, Probed, Record


@pytest.fixture
def silent() -> Stage:
    return act(cell_of("azure-slb-silent", "default"))


@pytest.fixture
def reset() -> Stage:
    return act(cell_of("azure-slb", "retry"))


@pytest.fixture
def cut() -> Stage:
    return act(cell_of("blackhole", "default"))


@pytest.fixture
def control() -> Stage:
    return act(cell_of("control", "default"))


def test_every_proof_of_the_scenarios_is_known_and_others_are_refused() -> None:
    """A typing error in a scenario file takes a proof away without a word."""
    check(Evidence(before=tuple(PROOFS), after=()))
    with pytest.raises(UsageError, match="unknown proof 'idle-expire'") as error:
        check(Evidence(before=("idle-expire",)))
    assert "idle-expired" in str(error.value.advice)
    cell = plan("control", proof=Evidence(after=("nonsense",)))
    with pytest.raises(UsageError, match="nonsense"):
        Judge().step(Planned(t=0, cell=str(cell.id), plan=cell))


def test_no_proof_proves_nothing() -> None:
    """A scenario without a proof calls everything proven."""
    stage = act(cell_of("control", "default", proof=Evidence()))
    proven, _ = prove(case_of(stage))
    assert (proven.kind, proven.detail) == ("unproven", "the scenario names no proof")


def test_too_many_packets_prove_nothing(control: Stage) -> None:
    """A client that floods its path fills the judge's memory."""
    packet = next(record for record in control.records if isinstance(record, Packet))
    more = [packet.model_copy(update={"t": packet.t + n / 1e6, "seq": n}) for n in range(MAX_PACKETS)]
    control.records[1:1] = more
    case = case_of(control)
    assert len(case.facts.packets) == MAX_PACKETS
    proven, _ = prove(case)
    assert (proven.kind, proven.detail) == ("unproven", "too many packets")


def test_no_fault(control: Stage, cut: Stage, reset: Stage, silent: Stage) -> None:
    """The control column is no control: something was done to the network after all."""
    assert finding("no-fault", control).holds
    assert finding("no-fault", cut).seen == "fault blackhole was applied"
    assert "itself sent" in finding("no-fault", reset).seen
    assert "had expired" in finding("no-fault", silent).seen


def test_idle_expired(silent: Stage, control: Stage) -> None:
    """A path that never forgets is said to have forgotten."""
    assert finding("idle-expired", silent).holds
    assert not finding("idle-expired", control).holds

    def still_known(record: Record) -> Record:
        if isinstance(record, Conntrack):
            return record.model_copy(update={"flows": (FlowKey(port=40_001, state="ESTABLISHED"),)})
        return record

    assert finding("idle-expired", silent, still_known).seen.endswith("conntrack still had it: ESTABLISHED")


@pytest.mark.parametrize("link", ["client", "server"])
@pytest.mark.parametrize(("at", "holds"), [(29.9, True), (35.0, False), (200.0, False), (239.0, False)])
def test_idle_expired_needs_silence_on_both_links(link: str, at: float, holds: bool, silent: Stage) -> None:
    """A packet that only one link saw refreshed the path's memory, and the silence was never long enough."""
    packet = next(record for record in reversed(silent.records) if isinstance(record, Packet))
    extra = packet.model_copy(update={"t": silent.at(at), "link": link, "flags": "A", "length": 0, "seq": 1})
    silent.records.insert(-1, extra)
    assert finding("idle-expired", silent).holds is holds


def test_idle_expired_tolerates_jitter_only() -> None:
    """Jiffies and jitter make an expired flow count as awake; or a flow a second short counts as expired."""
    for early, holds in ((0.0, True), (0.04, True), (0.2, False)):
        stage = Stage(plan("azure-slb-silent"))
        flow = stage.begin()
        stage.forgets = False
        stage.the_touch(240 - early)
        stage.records = [
            record.model_copy(update={"flows": ()}) if isinstance(record, Conntrack) else record
            for record in stage.records
        ]
        stage.end(400)
        assert finding("idle-expired", stage).holds is holds, (early, flow)


def test_idle_expired_needs_every_flow_of_that_time() -> None:
    """A second connection that could carry the event was alive all the time."""
    stage = Stage(plan("azure-slb-silent"))
    stage.begin()
    other = stage.open(-0.5)
    for number in range(13):
        stage.probe_alive(other, 20.0 * (number + 1), "client")
    stage.the_touch(270)
    stage.end(400)
    assert finding("idle-expired", stage).seen.startswith("port 40002 was not silent for 240 s")
    assert prove(case_of(stage))[0].kind == "unproven"


def test_an_idle_spare_connection_is_not_the_watch() -> None:
    """The watch lives, an unused connection of the pool expires, and that passes for the fault."""
    stage = Stage(plan("azure-slb"))
    flow = stage.begin()
    stage.open(-0.5)
    for number in range(9):
        stage.probe_alive(flow, 30.0 * (number + 1), "client")
    stage.expire(280)
    stage.the_touch(292.6)
    stage.end(420)
    assert not finding("idle-expired", stage).holds
    assert prove(case_of(stage))[0].kind == "prevented (kept alive by client)"


@pytest.mark.parametrize(
    ("asks", "octets", "kept_by"),
    [
        ("server", 6, "server"),
        ("client", 6, "client"),
        ("server", 200, "client"),  # who says that much begins something of its own, such as the next watch
    ],
)
def test_who_answers_a_ping_keeps_nothing_alive(asks: Side, octets: int, kept_by: str) -> None:
    """A library is praised for the PINGs of its server, and its user is deaf before one that sends none."""
    stage = Stage(plan("azure-slb"))
    flow = stage.begin()
    for number in range(4):
        stage.say(flow, 60.0 * (number + 1), asks, 6)
        stage.say(flow, 60.0 * (number + 1) + 0.01, "server" if asks == "client" else "client", octets)
    stage.the_touch(292.6)
    stage.end(420)
    assert prove(case_of(stage))[0].kind == f"prevented (kept alive by {kept_by})"


@pytest.mark.parametrize(("used_again", "kind"), [(False, "prevented (replaced)"), (True, "unproven")])
def test_a_forgotten_spare_connection_is_not_the_replaced_watch(used_again: bool, kind: str) -> None:
    """A watch that moved on in time counts as lost; or one that moved to a connection that was lost counts as alive."""
    stage = Stage(plan("azure-slb-silent"))
    flow = stage.begin()
    spare = stage.open(-0.5)
    for number in range(6):
        stage.close(flow, 45.0 * (number + 1))
        flow = stage.open(45.0 * (number + 1) + 1)
        if used_again and number == 0:
            stage.say(spare, 47, "client")
    stage.the_touch(292.6)
    stage.end(420)
    assert not finding("idle-expired", stage).holds
    assert prove(case_of(stage))[0].kind == kind


@pytest.mark.parametrize("side", ["client", "server"])
def test_resets_by_the_path(side: str, reset: Stage) -> None:
    """RFC 5961: a reset with any other sequence number is ignored, and the client is charged for not hearing it."""
    name, towards = f"reset-to-{side}", f"to-{side}"
    is_reset = on(side, towards, "R")
    assert finding(name, reset).holds
    assert "no RST" in finding(name, reset, without(is_reset)).seen

    def off_by_one(record: Record) -> Record:
        return record.model_copy(update={"seq": record.seq + 1}) if is_reset(record) else record  # type: ignore[union-attr]

    assert "wrong sequence number" in finding(name, reset, off_by_one).seen

    def after_touch(record: Record) -> Record:
        return record.model_copy(update={"t": reset.at(293)}) if is_reset(record) else record

    assert not finding(name, reset, after_touch).holds


def test_reset_that_somebody_else_sent_is_not_the_paths() -> None:
    """The server's own reset, forwarded, passes for the load balancer's."""
    stage = Stage(plan("azure-slb"))
    flow = stage.begin()
    stage.close(flow, 100, "server", "R")
    stage.the_touch(292.6)
    stage.end(420)
    assert case_of(stage).path_resets("to-client", stage.at(420)) == []
    assert prove(case_of(stage))[0].kind == "unproven"


def test_no_reset_to_client(reset: Stage, silent: Stage) -> None:
    """A client was told, and is praised for noticing what it could not have noticed."""
    assert finding("no-reset-to-client", silent).holds
    assert finding("no-reset-to-client", reset).seen == "the path reset the client 262.601 s after L0"


def test_flow_cut(cut: Stage) -> None:
    """The blackhole let something through, or nobody ever tried it."""
    assert finding("flow-cut", cut).holds
    assert finding("flow-cut", cut, without(lambda r: isinstance(r, Fault))).seen == "no fault was applied"

    def nothing_cut(record: Record) -> Record:
        return record.model_copy(update={"flows": ()}) if isinstance(record, Fault) else record

    assert finding("flow-cut", cut, nothing_cut).seen == "the client had no established flow at the fault"
    leak = [record for record in cut.records if isinstance(record, Packet) and record.t > cut.at(2.1)]
    assert leak
    assert all(record.link == "server" for record in leak)
    cut.records.insert(-1, leak[0].model_copy(update={"link": "client", "t": leak[0].t + 0.0002}))
    assert "1 packets crossed after the fault" in finding("flow-cut", cut).seen


def test_flow_cut_needs_somebody_who_tried(cut: Stage) -> None:
    """A cut that nothing ever met is no evidence of a cut; kernel counters alone are."""

    def nobody(record: Record) -> Record | None:
        if isinstance(record, Packet) and record.t > cut.at(2.1):
            return None
        return record.model_copy(update={"packets": {}}) if isinstance(record, Counters) else record

    assert "nothing was stopped" in finding("flow-cut", cut, nobody).seen

    def counted(record: Record) -> Record | None:
        return None if isinstance(record, Packet) and record.t > cut.at(2.1) else record

    assert finding("flow-cut", cut, counted).holds


def test_delivered_on_established_flow(control: Stage) -> None:
    """The event never came through, and the client is charged in the column that has no fault."""
    assert finding("delivered-on-established-flow", control).holds
    lost = without(lambda r: on("client", "to-client")(r) and r.t > control.at(150))
    assert not finding("delivered-on-established-flow", control, lost).holds
    only_new = Stage(plan("control"))
    only_new.begin()
    only_new.the_touch(150)
    only_new.say(only_new.open(150.5), 151, "server")
    only_new.end(300)
    assert not finding("delivered-on-established-flow", only_new).holds


def test_event_not_forwarded(silent: Stage) -> None:
    """The path leaked the event, or the server never sent it."""
    assert finding("event-not-forwarded", silent).holds
    nothing = without(lambda r: isinstance(r, Packet) and r.t > silent.at(270))
    assert "sent no event" in finding("event-not-forwarded", silent, nothing).seen
    event = next(r for r in silent.records if on("server", "to-client")(r) and r.t > silent.at(270))
    silent.records.insert(-1, event.model_copy(update={"link": "client", "t": event.t + 0.0002}))
    assert "reached the client" in finding("event-not-forwarded", silent).seen


def test_server_reset_on_next_packet() -> None:
    """The path swallowed the event in silence, which is another scenario."""
    stage = act(cell_of("aws-nlb", "default"))
    assert finding("server-reset-on-next-packet", stage).holds
    is_reset = on("server", "to-server", "R")
    assert not finding("server-reset-on-next-packet", stage, without(is_reset)).holds

    def off_by_one(record: Record) -> Record:
        return record.model_copy(update={"seq": record.seq + 1}) if is_reset(record) else record  # type: ignore[union-attr]

    assert not finding("server-reset-on-next-packet", stage, off_by_one).holds


def test_new_connections_work(silent: Stage) -> None:
    """Nothing worked at all, and the client is charged for not reconnecting."""
    assert finding("new-connections-work", silent).holds
    assert finding("new-connections-work", silent, without(lambda r: isinstance(r, Probed))).seen == "no probe was made"

    def failed(record: Record) -> Record:
        return record.model_copy(update={"ok": False, "error": "refused"}) if isinstance(record, Probed) else record

    assert finding("new-connections-work", silent, failed).seen == "the probe failed: refused"


def test_flow_replaced_after_the_fault_took_hold_is_still_proof() -> None:
    """A client that found out by itself turns the column invalid instead of green."""
    stage = Stage(plan("azure-slb-silent"))
    flow = stage.begin()
    stage.close(flow, 255)  # the path has forgotten it: nobody hears of this
    fresh = stage.open(256)
    stage.the_touch(270)
    stage.say(flow, 270.003, "server")
    stage.say(fresh, 270.003, "server")
    stage.program(270.01, "observed", nonce="touch")
    stage.end(272)
    proven, findings = prove(case_of(stage))
    assert proven.kind == "happened", findings


@pytest.mark.parametrize(("requested", "by"), [(True, "server"), (False, "client"), (False, "server")])
def test_closed_before_the_fault(requested: bool, by: str) -> None:
    """A client without a connection is said to have lost one; or a server that hung up unasked is overlooked."""
    from tests.unit.judge.clients import SETTINGS

    stage = Stage(plan("blackhole", SETTINGS["watch-timeout" if requested else "retry"]))
    flow = stage.begin()
    stage.close(flow, 1, "server" if by == "server" else "client")
    stage.apply_fault(2, "client", "server")
    stage.the_touch(32)
    stage.end(160)
    kind = prove(case_of(stage))[0].kind
    expected = "unproven" if by == "server" and not requested else "prevented (closed before the fault)"
    assert kind == expected


def test_closed_after_the_fault_is_not_before_it() -> None:
    """A client that gave its lost connection up counts as one that never lost any, where another proof failed."""
    stage = Stage(plan("azure-slb-silent"))
    stage.close(stage.begin(), 255)
    stage.the_touch(270)
    stage.end(400)
    assert finding("idle-expired", stage).holds
    assert not finding("event-not-forwarded", stage).holds
    assert prove(case_of(stage))[0].kind == "unproven"


def test_connection_that_the_path_reset_was_not_closed_by_the_client() -> None:
    """The path broke the connection before its time, and that passes for the client's own doing."""
    stage = Stage(plan("blackhole"))
    flow = stage.begin()
    stage.path_reset(flow, 1, "client")
    flow.state = "CLOSE"
    stage.apply_fault(2, "client", "server")
    stage.the_touch(32)
    stage.end(160)
    assert prove(case_of(stage))[0].kind == "unproven"


def test_reset_that_the_client_ignores_ends_nothing() -> None:
    """A reset with a wrong number is taken for the news that the client should have heard."""
    for off, still_open in ((0, False), (1, True)):
        stage = Stage(plan("blackhole"))
        stage.path_reset(stage.begin(), 1, "client", off=off)
        stage.the_touch(32)
        stage.end(160)
        assert bool(case_of(stage).open_at_touch) is still_open


def test_kept_alive_needs_the_kernels_word() -> None:
    """Packets look lively enough, but the path's kernel had forgotten the flow."""
    stage = act(cell_of("azure-slb-silent", "tcp-keepalive"))
    assert prove(case_of(stage))[0].kind == "prevented (kept alive by client)"

    def gone(record: Record) -> Record:
        return record.model_copy(update={"flows": ()}) if isinstance(record, Conntrack) else record

    assert prove(case_of(stage, gone))[0].kind == "unproven"


def test_kept_alive_needs_packets_that_cross() -> None:
    """Probes that the path drops pass for ones that keep the flow alive."""
    stage = act(cell_of("azure-slb-silent", "tcp-keepalive"))
    lonely = without(lambda r: isinstance(r, Packet) and r.link == "server" and stage.l0 + 1 < r.t < stage.at(260))
    assert prove(case_of(stage, lonely))[0].kind == "unproven"


@pytest.mark.parametrize(("speaks", "holds"), [(True, True), (False, False)])
def test_event_that_comes_once_the_client_has_spoken_was_not_forwarded_before(speaks: bool, holds: bool) -> None:
    """A path that opens again for who speaks is said to leak; or one that leaks is said to be shut."""
    stage = Stage(plan("gcp-vpc", ending=Ending.BLOCKED_UNTIL_OUTBOUND))
    flow = stage.begin()
    stage.the_touch(630)
    stage.say(flow, 630.003, "server")
    flow.forgotten, flow.refreshed = False, 640
    if speaks:
        stage.send(flow, 640, "client", "PA", 39)
    stage.send(flow, 641, "server", "PA", 200, back=200)
    stage.end(751)
    assert finding("event-not-forwarded", stage).holds is holds
    stage.plan = stage.plan.model_copy(update={"ending": Ending.SILENT})
    assert not finding("event-not-forwarded", stage).holds


def test_every_proof_is_explained() -> None:
    """Who writes a scenario does not find the proof that it needs, or one that is not there any more."""
    page = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    _, _, table = page.partition("## Proofs")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    said = {name: row[3].strip() for row in rows for name in re.findall(r"`([^`]+)`", row[1])}
    escapes = {name: "none" if name in STANDING else "idle" if name in IDLE else "closed" for name in PROOFS}
    assert said == escapes


def test_a_proof_is_registered_once_and_excused_in_one_way() -> None:
    """Two proofs of one name: the scenario's words mean what was imported last."""
    with pytest.raises(ValueError, match="two proofs named 'no-fault'"):
        proof("no-fault")(PROOFS["no-fault"])
    with pytest.raises(ValueError, match="what was done to the cell"):
        proof("x", standing=True, idle=True)
    assert "x" not in PROOFS
