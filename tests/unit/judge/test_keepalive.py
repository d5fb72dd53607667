"""What breaks the silence of a quiet flow: TCP keepalive probes, PINGs inside TLS, and what is neither."""

from __future__ import annotations

import pytest

from watcher.judge.flows import Flow, Seen
from watcher.judge.keepalive import measured, pings, probes

PING, BOOKMARK, REQUEST = 39, 134, 492


def flow(*packets: tuple[float, str, int]) -> Flow:
    """Packets by time, direction and octets of payload; sequence numbers follow from these."""
    following = {"to-server": 1_000, "to-client": 5_000}
    seen = []
    for t, direction, length in packets:
        number = following[direction]
        seen.append(Seen(t, direction, "PA", number, 0, length, t, t))  # type: ignore[arg-type]  # from a literal
        following[direction] = number + length
    return Flow(40_000, tuple(seen), (), 0.0)


def asked(t: float, length: int = PING, answer: int = PING) -> tuple[tuple[float, str, int], ...]:
    return (t, "to-server", length), (t + 0.01, "to-client", answer)


def test_pings_are_found_and_timed_between_bookmarks() -> None:
    """Otherwise the table says that client-go has no keepalive, because its PINGs are data to TCP."""
    quiet = flow((0, "to-client", 200), *asked(30), *asked(60), (61, "to-client", BOOKMARK), *asked(90))
    assert pings([quiet], 1, 100) == {"count": 3, "interval_seconds": 30.0}
    assert probes([quiet], 1, 100) == {}


@pytest.mark.parametrize(
    "others",
    [
        [*asked(30, REQUEST, 800), *asked(60, REQUEST, 800)],
        [*asked(30, PING, 800), *asked(60, PING, 800)],
        [(30, "to-server", PING), (60, "to-server", PING)],
        [(30, "to-client", BOOKMARK), (60, "to-client", BOOKMARK)],
        [*asked(30, REQUEST), *asked(60, REQUEST)],
        [(at, "to-client", PING) for at in (30, 30.1, 60, 60.1)],
        [*asked(30)],
    ],
    ids=[
        "requests",
        "questions with long answers",
        "unanswered",
        "the server's own",
        "long questions",
        "the server's own, twice",
        "only once",
    ],
)
def test_what_is_no_ping(others: list[tuple[float, str, int]]) -> None:
    """A client that asks anew now and then, or is told something, must not be called one with keepalive."""
    assert pings([flow((0, "to-client", 200), *others)], 1, 100) == {}


def test_pings_of_two_connections_are_not_one_series() -> None:
    """A client that reconnects would otherwise be given the time between its connections for an interval."""
    first = flow((2, "to-client", 200), *asked(10), *asked(40))
    second = flow((42, "to-client", 200), *asked(47), *asked(77))
    assert pings([first, second], 1, 100) == {"count": 4, "interval_seconds": 30.0}


def test_the_words_of_a_stack() -> None:
    """These stand in the column `Has keepalive?`."""
    silent = {"keepalive_probes": {}, "undisturbed": 630.0}
    pinging = silent | {"pings": {"count": 20, "interval_seconds": 30.0}}
    probing = silent | {"keepalive_probes": {"client": {"count": 4, "interval_seconds": 61.4}}}
    assert measured({"default": [silent, silent]}) == "default: none in 630 s"
    assert measured({"default": [silent, pinging]}) == "default: a PING every 30 s"
    assert measured({"default": [probing], "retry": [probing | pinging | probing]}) == (
        "default: every 61.4 s; retry: every 61.4 s, a PING every 30 s"
    )
    assert measured({}) is None
