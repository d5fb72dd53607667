"""The seeds' written finding about client-python, which asks, sleeps 10 minutes, and asks again; in true time."""

from __future__ import annotations

import pytest

from tests.recorded.test_seed_findings import IDLE_SECONDS, PUBLIC, connections, observed, of, packets, settled
from watcher.records import Probed, Program, Record

POLL = "true-time-poll"
ASK_SECONDS = 600.0
HANGS_SECONDS = 900.0
"""At least: then the kernel gives the request up, after its 15th repetition."""


def second_request(records: list[Record]) -> float:
    """A moment before it."""
    asked = [record for record in records if isinstance(record, Program) and record.event == "asked"]
    assert asked[1].t - asked[0].t == pytest.approx(ASK_SECONDS, abs=2)
    return asked[1].t - 1  # the program says so while its packets are already on their way


def test_polling_after_a_reset_opens_a_new_connection() -> None:
    """The dump: ``R`` 262.6 s after the last data, ``S`` from another port 10 minutes after the first request."""
    records = of(POLL, f"poll-python-kubernetes/default/{PUBLIC}")
    old, again = settled(records), second_request(records)
    [reset] = [p for p in packets(records, "client", "to-client", old.port) if "R" in p.flags]
    assert reset.t - old.l0 == pytest.approx(IDLE_SECONDS, abs=1)
    assert not [p for p in packets(records, "client", "to-server", old.port) if p.t > reset.t]
    [new] = [at for port, at in connections(records).items() if port != old.port]
    assert again < new < again + 3
    saw = observed(records)
    assert saw is not None
    assert saw < again + 5


@pytest.mark.parametrize("scenario", ["azure-slb-reset-lost", "azure-slb-silent"])
def test_polling_hangs_where_no_reset_has_come(scenario: str) -> None:
    """*If the RST was not delivered, the connection could still be stale*: the second request is sent on it, again and
    again, nobody answers, and for a quarter of an hour no other connection is tried."""
    records = of(POLL, f"poll-python-kubernetes/default/{scenario}")
    old, again = settled(records), second_request(records)
    others = [at for port, at in connections(records).items() if port != old.port]
    until = min([*others, records[-1].t])
    assert until - again > HANGS_SECONDS
    assert not [p for p in packets(records, "client", "to-client", old.port) if "R" in p.flags or p.t > again]
    sent = [p for p in packets(records, "client", "to-server", old.port) if again < p.t < until and p.length]
    assert len(sent) > 5
    assert len({(p.seq, p.length) for p in sent}) == 1, "one request, over and over"
    saw = observed(records)
    assert saw is None or saw > until
    fresh = [record for record in records if isinstance(record, Probed)]
    assert fresh
    assert all(probe.ok for probe in fresh), "whoever looks finds that the server works"


@pytest.mark.parametrize("scenario", ["azure-slb-reset-lost", "azure-slb-silent"])
def test_a_read_timeout_is_a_cure_for_polling(scenario: str) -> None:
    """The same path, the same client: it gives the request up, and asks again on a new connection."""
    records = of(POLL, f"poll-python-kubernetes/read-timeout/{scenario}")
    old, again = settled(records), second_request(records)
    sent = [p for p in packets(records, "client", "to-server", old.port) if p.t > again and p.length]
    new = min(at for port, at in connections(records).items() if port != old.port)
    assert 5 < new - sent[0].t < 60
    saw = observed(records)
    assert saw is not None
    assert saw > new
