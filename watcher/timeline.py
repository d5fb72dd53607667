"""What happened in a cell, in order, as values: made by the judge from a journal, drawn by the report.

All times are seconds after L0, the last packet of the control touch. Nothing here decides a verdict.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from watcher.model import Value
from watcher.records import Direction

Side = Literal["client", "server", "path"]


class What(StrEnum):
    """A step of the packet ladder. The first ones are packets, the others happened between packets."""

    OPENED = "opened"
    """A connection is made: the handshakes of TCP and TLS, and the request."""
    TALK = "talk"
    """Packets that arrived."""
    CHANGE = "change"
    """The data that the client knows the touch from."""
    LOST = "lost"
    """Packets that set out and were stopped by the path."""
    RESET = "reset"
    CLOSED = "closed"
    """A FIN: an orderly end."""
    ASTRAY = "astray"
    """A packet between the client and an address that it did not connect to; ``text`` is that address."""
    ASTRAY_RESET = "astray-reset"
    """The same, of a reset: whoever got the first knows no such connection."""

    SILENCE = "silence"
    REPEATED = "repeated"
    """The steps before, several times over."""
    CONTROL_TOUCH = "control-touch"
    FORGOTTEN = "forgotten"
    FAULT = "fault"
    HEALED = "healed"
    TOUCH = "touch"
    FRESH_WORKS = "fresh-works"
    FRESH_FAILS = "fresh-fails"
    OBSERVED = "observed"
    DEADLINE = "deadline"
    EXITED = "exited"
    WINDOW_CLOSED = "window-closed"


class Step(Value):
    what: What
    at: float
    until: float
    port: int | None = None
    packets: int = 0
    sender: Side | None = None
    direction: Direction | None = None
    """None where packets went both ways."""
    arrived: bool = True
    octets: int = 0
    """Of payload, in the first packet."""
    times: int = 1
    steps: int = 0
    """``REPEATED``: how many steps before this one are meant."""
    every_seconds: float | None = None
    text: str = ""
    """What a program or a person's file says; untrusted."""


class Said(Value):
    """A line of the program, or its end."""

    at: float
    event: str
    text: str = ""


class Connection(Value):
    """A connection as the client knows it: open until something tells it otherwise, or until it closes it."""

    port: int
    begins: float
    ends: float | None = None
    ended_by: Side | None = None
    flag: str = ""


class Look(Value):
    """What a kernel said when it was asked."""

    at: float
    of: Literal["client", "server", "path"]
    text: str


class Idle(Value):
    """A silence that was long enough for the path to forget the connection."""

    port: int
    since: float
    until: float


class Timeline(Value):
    """One execution of a cell, from a little before L0 until its window closed."""

    begins: float
    ends: float
    touch: float | None = None
    deadline: float | None = None
    steps: tuple[Step, ...] = ()
    steps_left_out: int = 0
    said: tuple[Said, ...] = ()
    connections: tuple[Connection, ...] = ()
    looks: tuple[Look, ...] = ()
    idle: tuple[Idle, ...] = ()
    packets: tuple[tuple[int, int], ...] = ()
    """Milliseconds after L0, and the sum of ``TO_SERVER``, ``STOPPED``, ``BY_PATH``, ``ENDS``, ``PROBE``, ``DATA``."""
    packets_left_out: int = 0


TO_SERVER, STOPPED, BY_PATH, ENDS, PROBE, DATA = (1 << bit for bit in range(6))
