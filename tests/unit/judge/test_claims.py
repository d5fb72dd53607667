"""What a program says of its settings, against its sockets and packets: each contradiction, and what is none."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.unit.judge.clients import SETTINGS
from tests.unit.judge.stage import Connection, Stage, plan
from tests.unit.judge.verdicts import judged, said
from watcher.model import Settings
from watcher.records import Moment, Packet, Program, Record, Socket, Sockets

TOUCH = 150.0
KEEPALIVE: dict[str, object] = {
    "keepalive": True,
    "keepalive_idle_seconds": 30,
    "keepalive_interval_seconds": 10,
    "keepalive_count": 3,
}
PING = Settings(retry_seconds=1, ping_idle_seconds=20, ping_timeout_seconds=10)
OFF = (False, 7200, 75, 9)
ON = (True, 30, 10, 3)
OTHER = (True, 60, 10, 3)
KERNEL = (True, 7200, 75, 9)
BOTH = Settings(**{**KEEPALIVE, "user_timeout_seconds": 20})  # type: ignore[arg-type]  # values of several types

Numbers = tuple[bool, int, int, int]
Act = Callable[[Stage, Connection], None]


def socket(port: int, numbers: Numbers, *, timeout: float = 0.0, state: str = "ESTABLISHED") -> Socket:
    on, idle, interval, count = numbers
    return Socket(
        port=port,
        state=state,
        keepalive=on,
        keepalive_idle_seconds=idle,
        keepalive_interval_seconds=interval,
        keepalive_count=count,
        user_timeout_seconds=timeout,
    )


def look(stage: Stage, t: float, *sockets: Socket, moment: Moment = "watching") -> None:
    stage.add(Sockets(t=stage.at(t), cell=stage.cell, moment=moment, sockets=sockets))


def probes(every: float) -> Act:
    def act(stage: Stage, flow: Connection) -> None:
        for number in itertools.count(1):
            if number * every >= TOUCH:
                return
            stage.probe_alive(flow, number * every, "client")

    return act


def says(every: float, side: str = "client") -> Act:
    """Small records, as a PING is one."""

    def act(stage: Stage, flow: Connection) -> None:
        for number in itertools.count(1):
            if number * every >= TOUCH:
                return
            stage.say(flow, number * every, "client" if side == "client" else "server", 39)

    return act


def nothing(_stage: Stage, _flow: Connection) -> None:
    """A quiet client."""


def verdict(stage: Stage, claimed: dict[str, object], *, flow: Connection | None = None) -> tuple[str, str]:
    """Of a cell whose touch crosses the path and is seen at once."""
    stage.the_touch(TOUCH)
    stage.say(flow or stage.connections[-1], TOUCH + 0.003, "server")
    stage.program(TOUCH + 0.01, "observed", nonce="touch")
    stage.end(TOUCH + 121)

    def with_claims(record: Record) -> Record:
        if isinstance(record, Program) and record.event == "started":
            return record.model_copy(update={"settings": claimed})
        return record

    return said(judged([with_claims(record) for record in sorted(stage.records, key=lambda each: each.t)], stage))


def cell(
    claimed: dict[str, object],
    settings: Settings | None = None,
    *sockets: Numbers,
    act: Act = nothing,
    timeout: float = 0,
) -> tuple[str, str]:
    stage = Stage(plan("control", settings))
    flow = stage.begin()
    if sockets:
        look(stage, 0.5, *(socket(flow.port + n, each, timeout=timeout) for n, each in enumerate(sockets)))
    act(stage, flow)
    return verdict(stage, claimed)


@pytest.mark.parametrize(
    ("claimed", "settings", "there", "timeout", "words"),
    [
        (KEEPALIVE, None, OFF, 0, "it says keepalive on, its socket has it off"),
        (KEEPALIVE, SETTINGS["tcp-keepalive"], OFF, 0, "it says keepalive on, its socket has it off"),
        ({"keepalive": False}, None, ON, 0, "it says keepalive off, its socket has it on"),
        (KEEPALIVE, None, OTHER, 0, "it says keepalive 30/10/3, its socket has 60/10/3"),
        ({"keepalive_idle_seconds": 30}, None, OFF, 0, "it says keepalive on, its socket has it off"),
        ({"keepalive_count": 4}, None, ON, 0, "it says keepalive -/-/4, its socket has 30/10/3"),
        ({}, SETTINGS["tcp-keepalive"], OFF, 0, "the profile asks for keepalive on, its socket has it off"),
        ({}, SETTINGS["tcp-keepalive-os"], OFF, 0, "the profile asks for keepalive on, its socket has it off"),
        (
            {"keepalive": None},
            SETTINGS["tcp-keepalive"],
            OFF,
            0,
            "the profile asks for keepalive on, its socket has it off",
        ),
        (
            {"keepalive": True},
            SETTINGS["tcp-keepalive"],
            KERNEL,
            0,
            "the profile asks for keepalive 30/10/3, its socket has 7200/75/9",
        ),
        (
            {**KEEPALIVE, "user_timeout_seconds": 20.0},
            SETTINGS["tcp-user-timeout"],
            ON,
            0,
            "it says TCP_USER_TIMEOUT 20 s, its socket has none",
        ),
        ({"user_timeout_seconds": 20}, None, OFF, 25, "it says TCP_USER_TIMEOUT 20 s, its socket has 25 s"),
        (KEEPALIVE, BOTH, ON, 0, "the profile asks for TCP_USER_TIMEOUT 20 s, its socket has none"),
    ],
)
def test_sockets_contradict(
    claimed: dict[str, object], settings: Settings | None, there: Numbers, timeout: float, words: str
) -> None:
    """A library is recommended for a keepalive that it does not set."""
    assert cell(claimed, settings, there, timeout=timeout, act=probes(30)) == (
        "invalid",
        f"claims contradicted: {words}",
    )


@pytest.mark.parametrize(
    ("claimed", "settings", "there", "timeout"),
    [
        (KEEPALIVE, SETTINGS["tcp-keepalive"], ON, 0),
        ({}, None, ON, 0),  # the library's own keepalive, of which the program need not know
        ({}, None, OFF, 0),
        ({}, SETTINGS["tcp-keepalive"], ON, 0),
        ({"keepalive": True}, SETTINGS["tcp-keepalive-os"], KERNEL, 0),
        (
            {**KEEPALIVE, "keepalive_idle_seconds": 60},
            SETTINGS["tcp-keepalive"],
            OTHER,
            0,
        ),  # its claim, not the profile
        ({"keepalive_idle_seconds": "thirty", "keepalive": None}, None, OFF, 0),
        ({"user_timeout_seconds": True}, None, OFF, 0),
        ({"user_timeout_seconds": 1.666667}, None, OFF, 1.666),
        ({"user_timeout_seconds": 1.666667}, None, OFF, 1.667),
        ({"read_timeout_seconds": 45}, SETTINGS["read-timeout"], OFF, 0),
    ],
)
def test_sockets_agree(claimed: dict[str, object], settings: Settings | None, there: Numbers, timeout: float) -> None:
    """An honest program's cell is thrown away."""
    assert cell(claimed, settings, there, timeout=timeout, act=probes(min(there[1], 75)))[0] == "ok"


def test_the_watch_itself_must_have_it() -> None:
    """A keepalive on some other connection passes for the watch's."""
    assert cell(KEEPALIVE, None, OFF, ON, act=probes(30))[0] == "invalid"


def test_sockets_that_were_not_seen_contradict_nobody() -> None:
    """A kernel that does not let the lab look costs honest programs their cells."""
    assert cell(KEEPALIVE, None, act=probes(30))[0] == "ok"
    stage = Stage(plan("control"))
    flow = stage.begin()
    look(stage, 0.5, Socket(port=flow.port, state="ESTABLISHED"))
    look(stage, 0.6, socket(flow.port, OFF, state="CLOSE_WAIT"), moment="touch")
    look(stage, 0.7, socket(50_000, OFF), moment="close")  # leads to somewhere else
    probes(30)(stage, flow)
    assert verdict(stage, KEEPALIVE)[0] == "ok"


@pytest.mark.parametrize(("age", "expected"), [(0.3, "ok"), (2.0, "invalid")])
def test_a_new_connection_is_given_time(age: float, expected: str) -> None:
    """Libraries set options after the connection stands: caught in that moment, an honest one is called a liar."""
    stage = Stage(plan("control", SETTINGS["watch-timeout"]))
    first = stage.begin()
    look(stage, 0.5, socket(first.port, ON))
    stage.close(first, 100, "server")
    stage.close(first, 100.01, "client")
    second = stage.open(TOUCH - 0.15 - age)
    look(stage, TOUCH - 0.15, socket(second.port, OFF), moment="touch")
    assert verdict(stage, {"keepalive": True}, flow=second)[0] == expected


def test_one_good_socket_of_several_will_do_where_the_watch_has_none() -> None:
    """Beside its watch a library may hold connections that the setting does not reach."""
    stage = Stage(plan("control", SETTINGS["watch-timeout"]))
    first = stage.begin()
    stage.close(first, 100, "server")
    stage.close(first, 100.01, "client")
    second, third = stage.open(101), stage.open(102)
    look(stage, TOUCH - 0.15, socket(second.port, OFF), socket(third.port, ON), moment="touch")
    assert verdict(stage, {"keepalive": True}, flow=third)[0] == "ok"


@pytest.mark.parametrize(
    ("claimed", "act", "words"),
    [
        (KEEPALIVE, nothing, "it says keepalive after 30 s, its connection was silent for 150.0 s"),
        (KEEPALIVE, probes(10), "it says keepalive after 30 s, its probes came every 10.0 s"),
        (
            {"ping_idle_seconds": 20},
            nothing,
            "it says a PING after 20 s, for 150.0 s it sent nothing that could be one",
        ),
        (
            {"ping_idle_seconds": 20},
            probes(30),  # TCP keepalive has no payload: it is no PING
            "it says a PING after 20 s, for 150.0 s it sent nothing that could be one",
        ),
    ],
)
def test_packets_contradict(claimed: dict[str, object], act: Act, words: str) -> None:
    """A PING has no socket option to be read: a program that only says so is believed."""
    assert cell(claimed, act=act) == ("invalid", f"claims contradicted: {words}")


def test_packets_contradict_a_profile_that_was_taken_without_a_word() -> None:
    """A program that takes `http2-ping` and does nothing gives its library a row of wrong verdicts."""
    verdict, reason = cell({}, PING)
    assert verdict == "invalid"
    assert reason.startswith("claims contradicted: the profile asks for a PING after 20 s, ")


@pytest.mark.parametrize(
    ("claimed", "act"),
    [
        (KEEPALIVE, probes(33.7)),  # timers of seconds come up to an eighth late
        (KEEPALIVE, probes(75)),
        ({"keepalive": True, "keepalive_idle_seconds": 7200}, nothing),
        ({"ping_idle_seconds": 20}, says(20)),
        ({"ping_idle_seconds": 20}, says(55)),
        ({"ping_idle_seconds": 20}, says(15, "server")),  # the connection is never idle
        ({"ping_idle_seconds": 50}, nothing),  # the quiet is too short to tell
        ({"ping_timeout_seconds": 1}, nothing),
        ({"keepalive": False, "keepalive_idle_seconds": 30}, nothing),
    ],
)
def test_packets_agree(claimed: dict[str, object], act: Act) -> None:
    """An honest program's cell is thrown away for a late timer, or a quiet that proves nothing."""
    assert cell(claimed, act=act)[0] == "ok"


def test_a_ping_on_another_connection_counts() -> None:
    """Which of a library's connections carries the watch is not for the program to say."""
    stage = Stage(plan("control"))
    other = stage.open(-1.5)
    stage.begin()
    says(20)(stage, other)
    assert verdict(stage, {"ping_idle_seconds": 20})[0] == "ok"


def test_what_comes_after_the_end_of_the_watch_is_no_silence() -> None:
    """A client whose watch was ended has no connection to ping on."""
    stage = Stage(plan("control"))
    flow = stage.begin()
    stage.close(flow, 30, "server")
    stage.close(flow, 30.01, "client")
    flow = stage.open(149)
    assert verdict(stage, {"ping_idle_seconds": 20, **KEEPALIVE}, flow=flow)[0] == "ok"


def test_a_cut_connection_is_no_silence_of_the_client() -> None:
    """The blackhole swallows PINGs: whoever claims them would be invalid in it."""
    stage = Stage(plan("blackhole"))
    flow = stage.begin()
    stage.apply_fault(2, "client", "server")
    stage.the_touch(TOUCH)
    stage.say(flow, TOUCH + 0.003, "server")
    stage.end(TOUCH + 121)
    claimed = {"ping_idle_seconds": 20, **KEEPALIVE}
    records = [
        r.model_copy(update={"settings": claimed}) if isinstance(r, Program) and r.event == "started" else r
        for r in stage.records
    ]
    assert said(judged(records, stage))[0] == "stuck"
    # The same without the lab's word on the fault is a lie.
    without = [r for r in records if r.kind != "fault" and not (isinstance(r, Packet) and r.t > stage.at(TOUCH))]
    assert said(judged(without, stage))[1].startswith("claims contradicted: it says keepalive after 30 s")
