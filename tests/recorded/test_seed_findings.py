"""The seeds' written findings about clients of an API server and of NATS, in runs that were recorded in true time; what
conntrack calls INVALID, which waits for no timer, in one that was hurried.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.recorded.test_recorded import records_of
from watcher.judge.flows import JITTER_SECONDS
from watcher.judge.results import results_of
from watcher.lab.addresses import API_ADDRESS
from watcher.model import CellResult, Touch
from watcher.records import Fault, Packet, Probed, Program, Record, Settled, Sockets, Touched

HERE = Path(__file__).parent
APISERVER, NATS, INVALID = "true-time-apiserver-watcher", "true-time-nats", "scale-10-conntrack-invalid"
PUBLIC, PRIVATE = "azure-slb-observed", "azure-private-link"
DEAD, FIN = "blackhole", "proxy-closed"
IDLE_SECONDS = 262.6
"""In the seeds' dumps, from the last packet to the reset."""


@cache
def run(name: str) -> dict[str | None, list[Record]]:
    """A recorded run's records, by cell."""
    found: dict[str | None, list[Record]] = {}
    for record in records_of(HERE / name):
        found.setdefault(record.cell, []).append(record)
    return found


@cache
def judged(name: str) -> dict[tuple[str, str, str], CellResult]:
    return results_of(records_of(HERE / name)).by_key()


def of(name: str, cell: str) -> list[Record]:
    return run(name)[f"{cell}#1"]


def settled(records: list[Record]) -> Settled:
    return next(record for record in records if isinstance(record, Settled))


def touched(records: list[Record]) -> float:
    return next(record.sent for record in records if isinstance(record, Touched) and record.role is Touch.TOUCH)


def packets(records: list[Record], link: str, direction: str, port: int | None = None) -> list[Packet]:
    return [
        record
        for record in records
        if isinstance(record, Packet)
        and (record.link, record.direction) == (link, direction)
        and port in (None, record.port)
    ]


def connections(records: list[Record]) -> dict[int, float]:
    """When the program opened which port: the lab's own tries left out."""
    probed = {record.port for record in records if isinstance(record, Probed)}
    opened = [packet for packet in packets(records, "client", "to-server") if packet.flags == "S"]
    return {packet.port: packet.t for packet in reversed(opened) if packet.port not in probed}


def observed(records: list[Record]) -> float | None:
    """When the program saw the touch; None: never."""
    nonce = next(r.nonce for r in records if isinstance(r, Touched) and r.role is Touch.TOUCH)
    return next((r.t for r in records if isinstance(r, Program) and r.nonce == nonce), None)


def speaks_by_itself(stack: str, scenario: str) -> bool:
    """*Has Keepalive?*: whether the client sent packets without data while its watch was quiet."""
    records = of(APISERVER, f"{stack}/default/{scenario}")
    quiet = settled(records)
    return any(
        packet.length == 0 and quiet.l0 + 5 < packet.t < touched(records)
        for packet in packets(records, "client", "to-server", quiet.port)
    )


def passed(stack: str, scenario: str) -> bool:
    return judged(APISERVER)[stack, "default", scenario].verdict == "ok"


# 001, 003: apiserver-watcher


@pytest.mark.parametrize(
    ("public", "private", "python"),
    [
        # behind the API server's own keepalive of 180 s, which a cluster's servers have by themselves
        ("azure-slb-server-180s", "azure-slb-silent-server-180s", ("NO", "PASS", "PASS")),
        # behind a proxy without any
        (PUBLIC, PRIVATE, ("NO", "FAIL", "FAIL")),
    ],
)
def test_the_table_of_the_seed(public: str, private: str, python: tuple[str, str, str]) -> None:
    """``Client | Has Keepalive? | Public cluster | Private cluster``: client-go YES PASS PASS, client-python NO PASS
    PASS. Python's row is no merit of its own: it holds where the server's keepalive is, and falls without it."""
    table = {
        stack: (
            "YES" if speaks_by_itself(stack, PUBLIC) and speaks_by_itself(stack, PRIVATE) else "NO",
            *("PASS" if passed(stack, scenario) else "FAIL" for scenario in (public, private)),
        )
        for stack in ("client-go-informer", "python-kubernetes")
    }
    assert table == {"client-go-informer": ("YES", "PASS", "PASS"), "python-kubernetes": python}


@pytest.mark.parametrize("scenario", [PUBLIC, PRIVATE])
def test_client_go_acknowledges_every_30_seconds(scenario: str) -> None:
    """The dump: an ACK of length 0 to the server, and one back, every 30 s; the connection is never idle."""
    records = of(APISERVER, f"client-go-informer/default/{scenario}")
    quiet, until = settled(records), touched(records)
    for direction in ("to-server", "to-client"):
        at = [packet.t for packet in packets(records, "client", direction, quiet.port) if quiet.l0 <= packet.t < until]
        pauses = [later - earlier for earlier, later in pairwise(at) if later - earlier > 1]
        assert len(pauses) >= 8, direction
        assert all(14 < pause < 32 for pause in pauses), pauses
        assert until - at[-1] < 32
    assert list(connections(records)) == [quiet.port]


def test_python_handles_a_reset_and_never_learns_of_one_that_was_not_sent() -> None:
    """*If the server side does not send RST, a stale connection will be left open.*"""
    public, private = (of(APISERVER, f"python-kubernetes/retry/{scenario}") for scenario in (PUBLIC, PRIVATE))
    old = settled(public)
    [reset] = [p for p in packets(public, "client", "to-client", old.port) if "R" in p.flags]
    assert reset.t - old.l0 == pytest.approx(IDLE_SECONDS, abs=1)
    reopened = [at for port, at in connections(public).items() if port != old.port and at > reset.t]
    assert reopened
    assert min(reopened) - reset.t < 2
    assert observed(public) is not None

    assert not [packet for packet in packets(private, "client", "to-client") if "R" in packet.flags]
    assert list(connections(private)) == [settled(private).port]
    assert observed(private) is None
    last = [record for record in private if isinstance(record, Sockets)][-1]
    assert "ESTABLISHED" in {socket.state for socket in last.sockets}


# 002: NATS


@pytest.mark.parametrize("profile", ["default", "ping"])
@pytest.mark.parametrize("stack", ["nats-py", "nats-go"])
def test_a_fin_is_noticed_at_once(stack: str, profile: str) -> None:
    """*You can see it figured out instantly*: whoever is told need not wait for any ping."""
    records = of(NATS, f"{stack}/{profile}/{FIN}")
    old = settled(records).port
    fin = next(packet for packet in packets(records, "client", "to-client", old) if "F" in packet.flags)
    answered = next(packet for packet in packets(records, "client", "to-server", old) if "F" in packet.flags)
    assert 0 <= answered.t - fin.t < 1
    [new] = [at for port, at in connections(records).items() if port != old]
    assert fin.t <= new < fin.t + 4, "the library's own pause before it connects again is 2 s"
    assert observed(records) is not None


@pytest.mark.parametrize("stack", ["nats-py", "nats-go"])
def test_without_a_fin_an_idle_client_waits(stack: str) -> None:
    """The server's end is gone and nobody has said so: nothing is sent, nothing is opened, the message is missed."""
    records = of(NATS, f"{stack}/default/{DEAD}")
    old = settled(records).port
    assert list(connections(records)) == [old]
    assert observed(records) is None
    told = [packet for packet in packets(records, "client", "to-client", old) if set(packet.flags) & set("RF")]
    assert told == []


@pytest.mark.parametrize("stack", ["nats-py", "nats-go"])
def test_without_a_fin_a_ping_finds_it(stack: str) -> None:
    """PING is sent on the dead flow, no PONG comes, and only that makes the client connect again."""
    records = of(NATS, f"{stack}/ping/{DEAD}")
    old = settled(records).port
    cut = next(record.t for record in records if isinstance(record, Fault) and record.action == "apply")
    pings = [packet for packet in packets(records, "client", "to-server", old) if packet.t > cut and packet.length]
    [new] = [at for port, at in connections(records).items() if port != old]
    assert [ping.length for ping in pings] == [len("PING\r\n")] * len(pings)
    assert pings
    assert pings[0].t < new
    assert not [packet for packet in packets(records, "client", "to-client", old) if packet.t > cut]
    saw = observed(records)
    assert saw is not None
    assert saw - touched(records) < 1


# 004: conntrack INVALID, kubernetes#74839

LADDER_SECONDS = 2.0
"""From L0: the ladder is over by then, and the touch has not come."""
LEAKS = ("conntrack-invalid-kube-proxy-nftables", "conntrack-invalid-leak")
DROPS, LIBERAL = "conntrack-invalid-kube-proxy-iptables", "conntrack-invalid-iptables-liberal"


def ladder(records: list[Record]) -> list[Packet]:
    """The watch's packets once L0 has crossed both links, up to the touch."""
    quiet = settled(records)
    assert quiet.l0 + LADDER_SECONDS < touched(records)
    assert quiet.port is not None
    of_watch = [r for r in records if isinstance(r, Packet) and r.port == quiet.port]
    return sorted((p for p in of_watch if JITTER_SECONDS < p.t - quiet.l0 < LADDER_SECONDS), key=lambda p: p.t)


def is_the_reports(records: list[Record]) -> bool:
    """The report's packets 3, 4 and 5, one after the other, and nothing else; then the connection's end."""
    match ladder(records):
        case [
            # 3: the server answers the client on a connection that conntrack knows.
            Packet(link="server", direction="to-client", peer=None) as left,
            # 4: it is forwarded, with the server's own address.
            Packet(link="client", direction="to-client") as came,
            # 5: the client's kernel knows no such connection and resets that address; a legitimate packet: it arrives.
            Packet(link="client", direction="to-server", flags="R") as reset,
            Packet(link="server", direction="to-server", flags="R") as arrived,
        ]:
            same = (came.seq, came.peer, reset.peer) == (left.seq, API_ADDRESS, API_ADDRESS)
            answers = reset.seq == left.ack == arrived.seq
        case _:
            return False
    # "Let's close the connection": the server's socket is gone, the client's is as it was.
    at_touch = [r for r in records if isinstance(r, Sockets) and r.moment == "touch"]
    states = {r.side: [each.state for each in r.sockets if each.port == left.port] for r in at_touch}
    return same and answers and states == {"client": ["ESTABLISHED"], "server": []}


@pytest.mark.parametrize("scenario", LEAKS)
def test_a_stray_packet_resets_the_connection(scenario: str) -> None:
    """Its ladder: the un-NATed packet, the reset, the server's end, of which the client is not told."""
    records = of(INVALID, f"python-urllib3/default/{scenario}")
    assert is_the_reports(records)
    assert observed(records) is None


@pytest.mark.parametrize("broken", ["translated", "not reset", "another's reset", "still open", "one more"])
def test_another_ladder_is_not_the_reports(broken: str) -> None:
    """The mutants of the test above."""
    records = of(INVALID, f"python-urllib3/default/{LEAKS[0]}")
    _, came, reset, arrived = ladder(records)
    server = next(r for r in records if isinstance(r, Sockets) and (r.side, r.moment) == ("server", "touch"))
    client = next(r for r in records if isinstance(r, Sockets) and (r.side, r.moment) == ("client", "touch"))
    changed: dict[str, list[tuple[Record, Record | None]]] = {
        "translated": [(came, came.model_copy(update={"peer": None}))],
        "not reset": [(reset, None), (arrived, None)],
        "another's reset": [(reset, reset.model_copy(update={"seq": reset.seq + 1}))],
        "still open": [(server, server.model_copy(update={"sockets": client.sockets}))],
        "one more": [],
    }
    others = {id(old): new for old, new in changed[broken]}
    mutant = [new for r in records if (new := others.get(id(r), r)) is not None]
    again = [arrived.model_copy(update={"t": arrived.t + 0.1})] if broken == "one more" else []
    assert not is_the_reports([*mutant, *again])


def test_either_cure_stops_it_at_another_step() -> None:
    """DROP INVALID at packet 4, be_liberal at packet 5; the watch goes on."""
    drops, liberal = (of(INVALID, f"python-urllib3/default/{scenario}") for scenario in (DROPS, LIBERAL))
    [left] = ladder(drops)
    assert (left.link, left.direction) == ("server", "to-client")

    left, came, answer, arrived = ladder(liberal)
    assert (came.link, came.direction, came.seq, came.peer) == ("client", "to-client", left.seq, None)
    assert (answer.link, answer.flags, answer.peer) == ("client", "A", None)
    assert (arrived.link, arrived.flags, arrived.seq) == ("server", "A", answer.seq)

    for records in (drops, liberal):
        assert not is_the_reports(records)
        assert observed(records) is not None
        assert list(connections(records)) == [settled(records).port]
