"""What a program says that it set, held against its sockets and packets.

A claim is what ``started`` says in so many words. Where it leaves out what its profile asks for, and the program took
the profile nevertheless, the profile's own value is expected: a program that cannot set it ends with 127. What neither
names is the library's own affair. Evidence that the lab did not collect contradicts nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from watcher.judge import keepalive
from watcher.judge.case import Case
from watcher.judge.flows import Flow
from watcher.model import Settings
from watcher.records import Socket, Sockets

SETTLED_SECONDS = 1.0
"""A connection younger than this may have options that its library is still about to set."""

USER_TIMEOUT_TOLERANCE_SECONDS = 0.002
"""The kernel keeps TCP_USER_TIMEOUT in whole milliseconds; libraries round or cut."""

MISSED = 3
"""A silence of so many times the idle time ..."""
SLACK_SECONDS = 1.0
"""... and this much more is not the lateness of a timer."""

TOO_OFTEN = 0.5
"""Keepalive probes that come after less than this share of the idle time belong to another setting."""

NUMBERS = ("keepalive_idle_seconds", "keepalive_interval_seconds", "keepalive_count")


class Claims:
    """The settings that a program must have, by name, and whose word each is."""

    def __init__(self, said: Mapping[str, object], asked: Settings) -> None:
        wanted = asked.model_dump(exclude_defaults=True)
        self._said = {name: value for name, value in said.items() if value is not None}
        self._all: dict[str, object] = {**wanted, **self._said}

    @property
    def keepalive(self) -> bool | None:
        """None where nobody says anything about it."""
        value = self._all.get("keepalive")
        if value is None and any(self.number(name) is not None for name in NUMBERS):
            return True
        return value if isinstance(value, bool) else None

    def number(self, name: str) -> float | None:
        """Only what is a number can be compared; the probe of the contract complains of anything else."""
        value = self._all.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def by(self, *names: str) -> str:
        """Whose word these settings are."""
        return "it says" if any(name in self._said for name in names) else "the profile asks for"


def contradiction(case: Case) -> str | None:
    """What sockets or packets contradict, with both values, or None. Raises Incomplete where a record is missing."""
    started = case.facts.started
    if started is None:
        return None
    claims = Claims(started.settings or {}, case.plan.effective)
    found = _sockets(case, claims)
    return found or (_packets(case, case.watch, claims) if case.watch is not None else None)


def _sockets(case: Case, claims: Claims) -> str | None:
    for looked in sorted(case.facts.sockets.values(), key=lambda each: each.t):
        judged = _settled(case, looked)
        wrong = [words for socket in judged if (words := _socket(socket, claims)) is not None]
        if judged and len(wrong) == len(judged):
            return wrong[0]
    return None


def _settled(case: Case, looked: Sockets) -> list[Socket]:
    """The watch's own socket while it is there; else all of the client's that exist for long enough to be complete."""
    latest: dict[int, Flow] = {}
    for flow in case.flows:
        if flow.first <= looked.t:
            latest[flow.port] = flow
    there = {
        socket.port: socket
        for socket in looked.sockets
        if socket.state == "ESTABLISHED" and socket.keepalive is not None and socket.port in latest
    }
    watch = case.watch
    if watch is not None and watch.port in there and latest[watch.port] is watch:
        return [there[watch.port]]
    old = looked.t - SETTLED_SECONDS
    return [
        socket
        for port, socket in there.items()
        if (established := latest[port].established) is not None and established <= old
    ]


def _socket(socket: Socket, claims: Claims) -> str | None:
    on = claims.keepalive
    if on is not None and socket.keepalive != on:
        return f"{claims.by('keepalive', *NUMBERS)} keepalive {_switch(on)}, its socket has it {_switch(not on)}"
    if on:
        wanted = [claims.number(name) for name in NUMBERS]
        there = (socket.keepalive_idle_seconds, socket.keepalive_interval_seconds, socket.keepalive_count)
        if any(want is not None and has is not None and want != has for want, has in zip(wanted, there, strict=True)):
            return f"{claims.by(*NUMBERS)} keepalive {_numbers(wanted)}, its socket has {_numbers(there)}"
    timeout, has = claims.number("user_timeout_seconds"), socket.user_timeout_seconds
    if timeout is not None and has is not None and abs(timeout - has) > USER_TIMEOUT_TOLERANCE_SECONDS:
        by = claims.by("user_timeout_seconds")
        return f"{by} TCP_USER_TIMEOUT {timeout:g} s, its socket has {f'{has:g} s' if has else 'none'}"
    return None


def _packets(case: Case, watch: Flow, claims: Claims) -> str | None:
    """Only the time in which nothing was done to the watch's connection counts."""
    ends = [case.undisturbed]
    ends += [each.t for each in (watch.client_end(), case.facts.exited, case.facts.violation) if each is not None]
    until = min(ends)
    idle = claims.number("keepalive_idle_seconds") if claims.keepalive else None
    if idle:
        by = claims.by("keepalive_idle_seconds")
        silence = max((end - begin for begin, end in watch.silences(case.l0, until)), default=0.0)
        if silence > MISSED * idle + SLACK_SECONDS:
            return f"{by} keepalive after {idle:g} s, its connection was silent for {silence:.1f} s"
        seen = keepalive.probes([watch], case.l0, until).get("client")
        if seen is not None and seen["interval_seconds"] < TOO_OFTEN * idle:
            return f"{by} keepalive after {idle:g} s, its probes came every {seen['interval_seconds']:.1f} s"
    ping = claims.number("ping_idle_seconds")
    if ping:
        silence = _longest(case.l0, _payloads(case, watch), until)
        if silence > MISSED * ping + SLACK_SECONDS:
            return (
                f"{claims.by('ping_idle_seconds')} a PING after {ping:g} s,"
                f" for {silence:.1f} s it sent nothing that could be one"
            )
    return None


def _payloads(case: Case, watch: Flow) -> Iterator[float]:
    """When the client sent data on any connection; data on the watch's own puts its next PING off, whoever sent it."""
    for flow in case.flows:
        for packet in flow.packets:
            if packet.length > 1 and (packet.sender == "client" or (flow is watch and packet.at_client is not None)):
                yield packet.t


def _longest(begin: float, times: Iterator[float], until: float) -> float:
    marks = [begin, *sorted(t for t in times if begin < t < until), max(begin, until)]
    return max(later - earlier for earlier, later in pairwise(marks))


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _numbers(numbers: tuple[float | None, ...] | list[float | None]) -> str:
    return "/".join("-" if number is None else f"{number:g}" for number in numbers)
