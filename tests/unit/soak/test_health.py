"""Health and its server: a soak that stalls must say so, to a kubelet and to a person."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection

import pytest

from watcher.errors import UsageError, WatcherError
from watcher.soak.health import Health
from watcher.soak.metrics import Metrics
from watcher.soak.server import address_of, serving

WITHIN_SECONDS = 0.4


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    health = Health(clock)
    health.expect("loop", 30)
    health.expect("judge", 60)
    return health


def test_parts_that_beat_are_healthy(health: Health, clock: Clock) -> None:
    """Otherwise a kubelet restarts a soak that works, and every restart is a gap in what was watched."""
    clock.seconds += 29
    assert health.healthz()[0]
    assert health.readyz()[0]


@pytest.mark.parametrize("frozen", ["loop", "judge"])
def test_a_frozen_part_is_named(health: Health, clock: Clock, frozen: str) -> None:
    """Otherwise a soak that stands still looks like a network without a fault, for weeks."""
    (other,) = {"loop", "judge"} - {frozen}
    for _ in range(10):
        clock.seconds += 10
        health.beat(other)
    good, lines = health.healthz()
    assert not good
    assert [line for line in lines if line.startswith("FAILED")] == [line for line in lines if f" {frozen}:" in line]
    assert "100.0 s ago" in next(line for line in lines if frozen in line)
    assert not health.readyz()[0]
    health.beat(frozen)
    assert health.healthz()[0]


def test_a_problem_is_no_reason_to_restart(health: Health) -> None:
    """Otherwise an API server that is away takes the soak with it, in a loop, and the pending misses wait longer."""
    health.problem("updates", 'denied: 403 configmaps "trigger" is forbidden')
    assert health.healthz()[0]
    good, lines = health.readyz()
    assert not good
    assert lines[0] == 'FAILED updates: denied: 403 configmaps "trigger" is forbidden'
    health.problem("updates", None)
    assert health.readyz()[0]


def test_each_problem_is_its_own(health: Health) -> None:
    """Otherwise the end of one problem hides the other."""
    health.problem("disk", "no space left on device")
    health.problem("credentials", "no token")
    health.problem("disk", None)
    good, lines = health.readyz()
    assert not good
    assert [line for line in lines if line.startswith("FAILED")] == ["FAILED credentials: no token"]


def test_before_anything_has_started_nothing_is_well() -> None:
    """Otherwise a soak that never came to start its parts is taken for one that runs."""
    assert not Health().healthz()[0]
    assert not Health().readyz()[0]


def test_a_part_that_ended_in_order_is_not_missed(health: Health, clock: Clock) -> None:
    """Otherwise an orderly end is reported as a stall."""
    clock.seconds += 40
    health.forget("loop")
    assert health.healthz()[0]


def test_a_beat_of_a_stranger_watches_over_nothing(clock: Clock) -> None:
    """Otherwise the beat of some part makes a soak healthy whose loop never began."""
    health = Health(clock)
    health.beat("loop")
    assert not health.healthz()[0]


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    connection = HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - asked over HTTP, nothing tells of it
            await asyncio.sleep(0.02)


def metrics() -> Metrics:
    return Metrics(["python-urllib3/default"], version="1")


def answers(port: int, path: str, status: int) -> bool:
    return get(port, path)[0] == status


async def beating(health: Health, part: str) -> None:
    while True:
        health.beat(part)
        await asyncio.sleep(WITHIN_SECONDS / 10)


async def test_a_frozen_loop_is_seen_from_outside() -> None:
    """The mutant that matters: while the event loop stands still, the server, in its thread, must answer and say so."""
    health = Health()
    health.expect("loop", WITHIN_SECONDS)
    seen: dict[str, tuple[int, str]] = {}

    def look_from_outside(port: int) -> None:
        time.sleep(3 * WITHIN_SECONDS)
        for path in ("/healthz", "/readyz", "/metrics"):
            seen[path] = get(port, path)

    with serving("127.0.0.1:0", health, metrics().registry) as port:
        beat = asyncio.create_task(beating(health, "loop"))
        await until(partial(answers, port, "/healthz", 200))
        observer = threading.Thread(target=look_from_outside, args=(port,))
        observer.start()
        observer.join(60)  # in the loop's own thread: it is frozen now
        assert seen["/healthz"][0] == seen["/readyz"][0] == 503
        assert "FAILED loop" in seen["/healthz"][1]
        assert seen["/metrics"][0] == 200
        await until(partial(answers, port, "/healthz", 200))  # it turns again
        beat.cancel()


async def test_a_frozen_judge_is_seen_while_the_loop_turns() -> None:
    """The other mutant: all turns but the judge; nobody would be charged with a miss any more."""
    health = Health()
    health.expect("loop", WITHIN_SECONDS)
    health.expect("judge", WITHIN_SECONDS)
    with serving("127.0.0.1:0", health, metrics().registry) as port:
        tasks = [asyncio.create_task(beating(health, part)) for part in ("loop", "judge")]
        await until(partial(answers, port, "/readyz", 200))
        tasks[1].cancel()

        def judge_alone() -> bool:
            """On a busy machine the loop is late now and then, too."""
            status, text = get(port, "/healthz")
            return status == 503 and "FAILED judge" in text and "ok loop" in text

        await until(judge_alone)
        tasks[0].cancel()


def test_what_is_served_and_what_is_not(health: Health) -> None:
    """Otherwise Prometheus or a kubelet asks in vain, or a typing error in a probe's path passes for health."""
    with serving("127.0.0.1:0", health, metrics().registry) as port:
        assert get(port, "/metrics")[0] == 200
        assert "watcher_misses_total" in get(port, "/metrics")[1]
        assert [get(port, path)[0] for path in ("/healthz", "/livez", "/readyz")] == [200] * 3
        assert get(port, "/health")[0] == 404
        assert get(port, "/")[0] == 404


def test_a_client_that_asks_nothing_holds_nobody_up(health: Health) -> None:
    """Otherwise one open connection makes the kubelet's probe time out, and it restarts the pod."""
    with serving("127.0.0.1:0", health, metrics().registry) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        silent[0].sendall(b"GET /healthz HTT")
        assert get(port, "/healthz")[0] == 200
        for connection in silent:
            connection.close()
        assert get(port, "/healthz")[0] == 200


def test_nothing_listens_after_the_end(health: Health) -> None:
    """Otherwise the next soak in the same process does not get its port."""
    with serving("127.0.0.1:0", health, metrics().registry) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")
    with serving(f"127.0.0.1:{port}", health, metrics().registry) as again:
        assert again == port


def test_a_port_that_is_taken_is_said(health: Health) -> None:
    """Otherwise a user reads a traceback and not which setting to change."""
    with (
        serving("127.0.0.1:0", health, metrics().registry) as port,
        pytest.raises(WatcherError, match="in use") as caught,
        serving(f"127.0.0.1:{port}", health, metrics().registry),
    ):
        pass
    assert "WATCHER_LISTEN" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [("0.0.0.0:8080", ("0.0.0.0", 8080)), ("[::]:8080", ("::", 8080)), ("localhost:0", ("localhost", 0))],  # noqa: S104 - never listened at
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """Otherwise a cluster of IPv6 alone cannot probe the pod."""
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["8080", ":8080", "localhost", "localhost:http", "::1:8080", "localhost:70000"])
def test_what_is_no_address(text: str) -> None:
    """Otherwise a typing error listens somewhere else than the probes ask."""
    with pytest.raises(UsageError, match="not an address"):
        address_of(text)
