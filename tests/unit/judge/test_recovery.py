"""When a client noticed, was connected again and saw the change, whatever the fault; and what the reason says of it."""

from __future__ import annotations

import pytest

from tests.unit.judge.findings import case_of
from tests.unit.judge.stage import Connection, Stage, plan
from tests.unit.judge.test_proofs_of_faults import FAULT, TOUCH, frozen, one_way, stage_of
from tests.unit.judge.verdicts import judged, said
from watcher.judge.fold import Judged
from watcher.model import Evidence
from watcher.records import Packet, Probed, Socket, Sockets


def outage(observed: float, *, survives: bool = True, detected: float = 50.0, reconnected: float = 70.0) -> Judged:
    """An outage of 60 s; the touch comes 30 s after it."""
    stage = Stage(plan("blackhole", fault="outage", fault_seconds=60.0, proof=Evidence(before=("path-dark",))))
    flow = stage.begin()
    stage.apply_fault(2)
    stage.dark = True
    stage.probe_alive(flow, 33, "client")
    if not survives:
        stage.close(flow, detected, flags="RA")
    stage.heal(62)
    if not survives:
        flow = stage.open(reconnected)
    stage.the_touch(92)
    stage.say(flow, 92.003, "server")
    stage.program(92 + observed, "observed", nonce="touch")
    stage.end(213)
    return judged(stage.records, stage)


def test_a_connection_that_outlived_the_outage() -> None:
    """It looks as if the client had noticed; or nobody says that it was the old connection that brought the change."""
    found = outage(0.01)
    assert found.evidence["recovery"] == {"detected": None, "reconnected": None, "observed": 92.01, "died": None}
    assert said(found) == ("ok", "saw the change after 10 ms, on the connection that the fault had struck")


def test_a_connection_that_did_not() -> None:
    """The times of a recovery are missing wherever nothing had expired."""
    found = outage(45.2, survives=False)
    recovery = found.evidence["recovery"]
    assert isinstance(recovery, dict)
    assert recovery == {
        "detected": 50.0,
        "reconnected": pytest.approx(70, abs=0.01),
        "observed": 137.2,
        "died": None,
    }
    assert said(found) == ("late", "saw the change after 45.2 s, 75.2 s after the fault was over")


def test_a_new_connection_beside_the_old_one() -> None:
    """A client that never closed its dead connection seems never to have come back."""
    stage = one_way("server")
    stage.records.pop()
    stage.open(100)
    stage.end(153)
    recovery = judged(stage.records, stage).evidence["recovery"]
    assert isinstance(recovery, dict)
    assert (recovery["detected"], recovery["reconnected"]) == (None, pytest.approx(100, abs=0.01))


def queued(*held: Socket, opens: float = 46.0, looked: bool = True, dies: bool = False) -> dict[str, object]:
    """The recovery of a client whose dead flow ends without a packet, and of what it holds in the end."""
    stage, old = stage_of("blackhole", "flow-cut")
    stage.apply_fault(FAULT, "client", "server")
    stage.the_touch(TOUCH)
    stage.say(old, TOUCH + 0.003, "server")
    stage.say(old, TOUCH + 10, "client", 17)
    new = stage.open(opens)
    if looked:
        sockets = (Socket(port=new.port, state="ESTABLISHED"), *held)
        stage.add(Sockets(t=stage.at(TOUCH + 120.5), cell=stage.cell, moment="close", sockets=sockets))
    if dies:
        stage.program(TOUCH + 100, "exited", status=1, by_harness=False)
    stage.end(TOUCH + 121, exits=not dies)
    found = judged(stage.records, stage).evidence["recovery"]
    assert isinstance(found, dict)
    assert found["detected"] is None
    assert found["reconnected"] == pytest.approx(opens, abs=0.01)
    return found


OLD = 40_001
"""The first connection's port."""


def test_an_end_that_never_left() -> None:
    """A client that gave up in silence, its FIN behind unacknowledged data, seems never to have noticed."""
    assert queued()["detected_at_latest"] == pytest.approx(46, abs=0.01)
    # Given up, though its kernel has not done with it.
    assert queued(Socket(port=OLD, state="FIN_WAIT1"))["detected_at_latest"] == pytest.approx(46, abs=0.01)


@pytest.mark.parametrize("state", ["ESTABLISHED", "CLOSE_WAIT"])
def test_a_dead_connection_that_is_still_held_was_not_noticed(state: str) -> None:
    """The mutant of the above: a client that opens a second connection is credited with a detection."""
    assert "detected_at_latest" not in queued(Socket(port=OLD, state=state))


def test_nobody_knows_what_was_held_in_the_end() -> None:
    """Where nobody looked, or the program is gone, that it holds nothing says nothing."""
    assert "detected_at_latest" not in queued(looked=False)
    assert "detected_at_latest" not in queued(dies=True)


def test_it_knew_when_it_first_tried_in_vain() -> None:
    """After an outage of a quarter of an hour the client seems to have slept through all of it."""
    stage = Stage(plan("blackhole", fault="outage", fault_seconds=60.0, proof=Evidence(before=("path-dark",))))
    stage.begin()
    stage.apply_fault(2)
    stage.dark = True
    for t in (33, 47):
        stage.send(Connection(50_000 + t), t, "client", "S")
    stage.heal(62)
    new = stage.open(70)
    stage.the_touch(92)
    held = (Socket(port=new.port, state="ESTABLISHED"),)
    stage.add(Sockets(t=stage.at(212), cell=stage.cell, moment="close", sockets=held))
    stage.end(213)
    found = judged(stage.records, stage).evidence["recovery"]
    assert isinstance(found, dict)
    assert (found["detected"], found["detected_at_latest"]) == (None, pytest.approx(33, abs=0.01))
    assert found["reconnected"] == pytest.approx(70, abs=0.01)


def test_a_flow_that_was_forgotten_ends_without_a_packet_too() -> None:
    """On a silent path the kernel gives up after a quarter of an hour, and the cell tells nothing of the recovery."""
    stage = Stage(plan("azure-slb-silent", window_seconds=1000.0))
    old = stage.begin()
    stage.the_touch(270)
    stage.say(old, 270.003, "client", 60)
    new = stage.open(1200)
    held = (Socket(port=new.port, state="ESTABLISHED"),)
    stage.add(Sockets(t=stage.at(1270.5), cell=stage.cell, moment="close", sockets=held))
    stage.end(1271)
    found = judged(stage.records, stage).evidence["recovery"]
    assert isinstance(found, dict)
    assert found["detected"] is None
    assert found["reconnected"] == pytest.approx(1200, abs=0.01)
    assert found["detected_at_latest"] == pytest.approx(1200, abs=0.01)


def slept(*, closes: float | None = None, opens: float | None = None, holds: str = "") -> str:
    """What the reason says of a client that never saw the change, and of its connections."""
    stage, old = stage_of("blackhole", "flow-cut")
    stage.apply_fault(FAULT, "client", "server")
    stage.the_touch(TOUCH)
    stage.say(old, TOUCH + 0.003, "server")
    if closes is not None:
        stage.close(old, closes, flags="RA")
    if opens is not None:
        new = stage.open(opens)
        held = {"old": [old], "new": [new], "both": [old, new]}.get(holds)
        if held is not None:
            sockets = tuple(Socket(port=each.port, state="ESTABLISHED") for each in held)
            stage.add(Sockets(t=stage.at(TOUCH + 120.5), cell=stage.cell, moment="close", sockets=sockets))
    stage.end(TOUCH + 121)
    verdict, reason = said(judged(sorted(stage.records, key=lambda record: record.t), stage))
    assert verdict == "stuck"
    return reason.removeprefix("never saw the change; ").removesuffix(" when the window closed 120.0 s later")


@pytest.mark.parametrize(("opens", "when"), [(10.0, "22.0 s before"), (63.7, "31.7 s after")])
def test_stuck_says_which_connection_was_open(opens: float, when: str) -> None:
    """A client that had noticed and connected again is said to have slept on its old connection."""
    assert slept(closes=opens - 1, opens=opens) == f"a connection that it had opened {when} the change was still open"
    assert slept(opens=opens) == "its connection was still open"
    assert slept(closes=opens - 1) == "it had no connection"


def test_stuck_knows_a_connection_that_was_given_up_without_a_packet() -> None:
    """The FIN of who gave up waits behind lost data: the packets alone say that it slept on its dead connection."""
    assert slept(opens=63.7, holds="new") == "a connection that it had opened 31.7 s after the change was still open"
    assert slept(opens=63.7, holds="old") == slept(opens=63.7, holds="both") == "its connection was still open"


def test_a_stopped_process_notices_nothing() -> None:
    """A reset that reached the kernel of a frozen client counts as noticed by the client."""
    stage = frozen()
    [flow] = stage.connections
    stage.path_reset(flow, 262, "client")
    stage.records.sort(key=lambda r: r.t)
    recovery = judged(stage.records, stage).evidence["recovery"]
    assert isinstance(recovery, dict)
    assert recovery["detected"] == pytest.approx(302, abs=0.01)
    awake = [r.model_copy(update={"state": "S"}) if r.kind == "process" else r for r in stage.records]
    recovery = judged(awake, stage).evidence["recovery"]
    assert isinstance(recovery, dict)
    assert recovery["detected"] == pytest.approx(262, abs=0.01)


def test_probes_of_the_server_itself_are_no_stray_packets() -> None:
    """The lab's own connection to the server's address passes for a packet that the path forgot to translate."""
    stage = Stage(plan("control"))
    flow = stage.begin()
    stage.the_touch(150)
    probe = Connection(61_000)
    stage.send(probe, 150, "client", "S")
    stage.send(flow, 151, "server", "PA", 100)
    stage.records = [
        r.model_copy(update={"peer": "192.0.2.1"})
        if isinstance(r, Packet) and r.link == "client" and (r.port == 61_000 or r.t == stage.at(151 + 0.0002))
        else r
        for r in stage.records
    ]
    stage.add(Probed(t=stage.at(150.01), cell=stage.cell, to="server", port=61_000, ok=True, seconds=0.01))
    stage.end(272)
    assert [packet.length for packet in case_of(stage).astray] == [100]
