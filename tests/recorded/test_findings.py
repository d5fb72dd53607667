"""The seeds' written findings about connections that are no watch, in a run that was recorded in true time."""

from __future__ import annotations

import errno
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.recorded.test_recorded import records_of
from watcher.records import Conntrack, Fault, Packet, Probed, Program, Record, Settled

RUN = Path(__file__).parent / "true-time-timer-echo"
DELETED = "echo-python/{}/pod-deleted-15min#1"
CURL = "timer-curl-600s/default/azure-slb-observed#1"
TCP_RETRIES2 = 15
MOST_RTO_SECONDS = 120.0
ETIMEDOUT = f"TimeoutError({errno.ETIMEDOUT}, "
"""What Python makes of that error of the kernel's; its own timeout has no number."""


@cache
def run() -> list[Record]:
    return records_of(RUN)


def of(cell: str) -> list[Record]:
    return [record for record in run() if getattr(record, "cell", None) == cell]


def fault(cell: str) -> Fault:
    return next(record for record in of(cell) if isinstance(record, Fault) and record.action == "apply")


def sent(cell: str) -> list[Packet]:
    """The request that was never answered, each time it was sent on the old flow."""
    port = fault(cell).flows[0].port
    data = [
        record
        for record in of(cell)
        if isinstance(record, Packet) and record.link == "client" and record.direction == "to-server"
        and record.port == port and record.length
    ]  # fmt: skip
    return [packet for packet in data if packet.seq == data[-1].seq]


def ended(cell: str) -> Program:
    return next(record for record in of(cell) if isinstance(record, Program) and record.event in ("exited", "error"))


def test_the_request_is_sent_again_until_the_kernel_gives_up() -> None:
    """The report: ``connection timed out`` after some 15 minutes, though the server was gone in the first second."""
    cell = DELETED.format("default")
    packets = sent(cell)
    assert packets[0].t < fault(cell).t + 6, "its next message"
    pauses = [later.t - earlier.t for earlier, later in pairwise(packets)]
    assert len(pauses) >= TCP_RETRIES2
    growing = [pause for pause in pauses[1:] if pause < MOST_RTO_SECONDS]
    assert all(1.9 < later / earlier < 2.1 for earlier, later in pairwise(growing)), pauses
    longest = [pause for pause in pauses if pause >= MOST_RTO_SECONDS]
    assert len(longest) == 5
    assert max(longest) < MOST_RTO_SECONDS + 2
    end = ended(cell)
    assert (end.event, end.status) == ("exited", 1)
    assert 900 < end.t - packets[0].t < 960


def test_nobody_answers_and_nobody_resets() -> None:
    """It is the missing RST that makes the client wait."""
    cell, port = DELETED.format("default"), fault(DELETED.format("default")).flows[0].port
    since = sent(cell)[0].t
    to_client = [
        record
        for record in of(cell)
        if isinstance(record, Packet) and record.port == port and record.direction == "to-client" and record.t > since
    ]
    assert to_client == []


def test_new_connections_work_meanwhile() -> None:
    """The Service is healthy all the time: whoever looks at it finds nothing wrong."""
    probes = [
        record for record in of(DELETED.format("default")) if isinstance(record, Probed) and record.to == "virtual"
    ]
    assert probes
    assert all(probe.ok for probe in probes)


@pytest.mark.parametrize("profile", ["default", "tcp-keepalive", "tcp-user-timeout"])
def test_conntrack_has_the_flow_after_the_client_gave_up(profile: str) -> None:
    """The report's evidence: the entry stays ESTABLISHED towards the pod that is gone."""
    cell = DELETED.format(profile)
    old = fault(cell).flows[0]
    [close] = [record for record in of(cell) if isinstance(record, Conntrack) and record.moment == "close"]
    assert close.t > ended(cell).t
    still = [flow.state for flow in close.flows if (flow.server, flow.port) == (old.server, old.port)]
    assert still == ["ESTABLISHED"]


@pytest.mark.parametrize("profile", ["retry", "tcp-keepalive-os", "tcp-keepalive", "tcp-user-timeout"])
def test_it_is_the_kernel_that_gives_up(profile: str) -> None:
    """The report's own word is ETIMEDOUT; a limit of the program's would have said otherwise, and sooner."""
    assert ETIMEDOUT in (ended(DELETED.format(profile)).message or "")
    bounded = ended(DELETED.format("read-timeout"))
    assert bounded.event == "error"
    assert "timed out" in (bounded.message or "")
    assert ETIMEDOUT not in (bounded.message or "")


def test_user_timeout_is_a_cure_and_keepalive_is_none() -> None:
    """With a request in flight the kernel sends no keepalive probes; TCP_USER_TIMEOUT counts what is in flight."""
    cured, not_cured = (DELETED.format(profile) for profile in ("tcp-user-timeout", "tcp-keepalive"))
    assert 20 <= ended(cured).t - sent(cured)[0].t < 30
    assert ended(not_cured).t - sent(not_cured)[0].t > 900


def test_curl_is_reset_four_minutes_and_22_seconds_after_the_last_line() -> None:
    """``curl: (56) Recv failure: Connection reset by peer``; and the server is sent the same reset."""
    assert ended(CURL).status == 56
    [settled] = [record for record in of(CURL) if isinstance(record, Settled)]
    assert 262.0 < ended(CURL).t - settled.l0 < 263.5
    resets = [record for record in of(CURL) if isinstance(record, Packet) and "R" in record.flags]
    by_link = {(reset.link, reset.direction) for reset in resets if reset.port == settled.port}
    assert by_link == {("client", "to-client"), ("server", "to-server")}
    assert all(262.0 < reset.t - settled.l0 < 263.5 for reset in resets if reset.port == settled.port)


def test_nothing_happens_where_the_server_speaks_every_five_seconds() -> None:
    """The same client, the same path: only the silence is missing."""
    cell = CURL.replace("600s", "5s")
    exited = [record for record in of(cell) if isinstance(record, Program) and record.event == "exited"]
    assert [end.by_harness for end in exited] == [True]
    assert not [r for r in of(cell) if isinstance(r, Packet) and "R" in r.flags and r.direction == "to-client"]
