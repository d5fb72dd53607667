"""Cells that share an API server of their scenario's own, and so the moment at which it fails."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterable
from typing import Literal

from watcher.lab.addresses import Server
from watcher.lab.scene import OwnServer


class Meeting:
    """Where the members wait until all of them are there, or have left for good."""

    def __init__(self, members: Iterable[str]) -> None:
        self._missing = set(members)
        self._complete = asyncio.Event()

    async def arrive(self, member: str) -> None:
        self.leave(member)
        await self._complete.wait()

    def leave(self, member: str) -> None:
        self._missing.discard(member)
        if not self._missing:
            self._complete.set()


class Group:
    """The cells of one scenario and repeat that share ``own``. All of them run at the same time."""

    def __init__(self, members: Iterable[str], own: OwnServer, number: int) -> None:
        members = tuple(members)
        self.own = own
        self.number = number
        """Of the server's link and Service."""
        self.l0 = 0.0
        """The latest of those that have settled."""
        self._observing = Meeting(members)
        self._settled = Meeting(members)
        self._members = set(members)
        self._coming: dict[str, set[str]] = {}
        self._changed = threading.Condition()

    async def all_observe(self, member: str) -> None:
        """Until every member has observed a control touch of its own."""
        await self._observing.arrive(member)

    async def all_settled(self, member: str, l0: float) -> None:
        """Until every member is quiet; from then on ``l0`` stays as it is."""
        self.l0 = max(self.l0, l0)
        await self._settled.arrive(member)

    def all_ready(self, member: str, what: str) -> None:
        """Until every member has come to do the same to the server. Blocks: meant for a thread."""
        with self._changed:
            missing = self._coming.setdefault(what, set(self._members))
            missing.discard(member)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not missing)

    def leave(self, member: str) -> None:
        """Nobody waits for this member any more."""
        self._observing.leave(member)
        self._settled.leave(member)
        with self._changed:
            for missing in (self._members, *self._coming.values()):
                missing.discard(member)
            self._changed.notify_all()


class Together:
    """A group's server as one member's fault sees it: whatever is done to it is done when all members have come for it.

    What a fault does before, it has so done for every one of them: the flows of the last are looked up, and its path
    led elsewhere, before the harm that the first one does.
    """

    def __init__(self, group: Group, member: str) -> None:
        self.server = group.own.server
        self.namespace = group.own.namespace
        self.deaf = group.own.deaf
        self._own = group.own
        self._group = group
        self._member = member

    def honours(self, namespace: str) -> None:
        self._own.honours(namespace)

    def signal(self, number: signal.Signals) -> None:
        self._group.all_ready(self._member, f"signal {number}")
        self._own.signal(number)

    def ended(self, within_seconds: float) -> None:
        self._own.ended(within_seconds)

    def vanish(self, answer: Literal["silence", "unreachable"]) -> None:
        self._group.all_ready(self._member, "vanish")
        self._own.vanish(answer)

    def move_endpoint(self) -> None:
        self._group.all_ready(self._member, "move endpoint")
        self._own.move_endpoint()

    def start_anew(self) -> Server:
        self._group.all_ready(self._member, "start anew")
        return self._own.start_anew()
