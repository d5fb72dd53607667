"""Cells that share an API server of their scenario's own, and so the moment at which it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

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
        self._found = Meeting(members)

    async def all_observe(self, member: str) -> None:
        """Until every member has observed a control touch of its own."""
        await self._observing.arrive(member)

    async def all_settled(self, member: str, l0: float) -> None:
        """Until every member is quiet; from then on ``l0`` stays as it is."""
        self.l0 = max(self.l0, l0)
        await self._settled.arrive(member)

    async def all_found(self, member: str) -> None:
        """Until every member has looked for its established flows: the first one's fault ends the flows of all."""
        await self._found.arrive(member)

    def leave(self, member: str) -> None:
        """Nobody waits for this member any more."""
        self._observing.leave(member)
        self._settled.leave(member)
        self._found.leave(member)
