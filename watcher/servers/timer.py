"""A server that greets and then says the time, once every so many seconds, on each of its ports.

Between two lines there is nothing: TCP keepalive is off on purpose, so that a port with a long period shows what
the network does to a quiet connection, to the client and, in this server's log, to the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from watcher.servers.connection import Connection
from watcher.servers.log import Log
from watcher.servers.serving import MOST_CONNECTIONS, Make, Served, run

PERIODS_SECONDS: Mapping[int, float] = {8005: 5.0, 8600: 600.0}
"""By port, unless told otherwise."""


@dataclass(frozen=True)
class Timer:
    """How it is served."""

    address: str = "0.0.0.0"  # noqa: S104 - a server for other machines, as its help says
    periods_seconds: Mapping[int, float] = field(default_factory=lambda: PERIODS_SECONDS)
    most_connections: int = MOST_CONNECTIONS
    proxy: str | None = None
    """Who introduces the clients that it brings (``Connection.proxy``)."""
    control_file: Path | None = None
    """Where values to be said at once come in (``watcher.servers.control``)."""
    ignore_sigterm: bool = False


class _Ticking(Connection):
    """Greets, then ticks. A tick out of turn begins the period anew."""

    def __init__(self, period_seconds: float, served: Served, log: Log, gone: Callable[[Connection], None]) -> None:
        super().__init__(log, gone)
        self._period_seconds = period_seconds
        self._served = served
        self._next: asyncio.TimerHandle | None = None

    def opened(self) -> None:
        every = f"I'm going to send message every {self._period_seconds:g} seconds"
        self._say(f"Hello! Current time is {_now()}. {every}. No KeepAlive in this TCP connection.")

    def connection_lost(self, error: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()
        super().connection_lost(error)

    def tick(self) -> None:
        self._say(f"Current time is {_now()}.")

    def _say(self, line: str) -> None:
        if self._next is not None:
            self._next.cancel()
        value = self._served.values.get(self.address)
        if self.send(line if value is None else f"{line} {value}"):
            self._next = asyncio.get_running_loop().call_later(self._period_seconds, self.tick)


async def serve(timer: Timer, log: Log) -> None:
    """Until SIGINT, and SIGTERM unless that is ignored. Raises UsageError where it cannot listen."""
    served = Served(log, timer.most_connections, timer.proxy)

    def making(period_seconds: float) -> Make:
        return lambda log, gone: _Ticking(period_seconds, served, log, gone)

    def tick(address: str) -> None:
        for connection in served.of(address):
            if isinstance(connection, _Ticking):
                connection.tick()

    ports = [(port, making(period_seconds)) for port, period_seconds in timer.periods_seconds.items()]
    await run(
        timer.address,
        ports,
        served,
        changed=tick,
        control_file=timer.control_file,
        ignore_sigterm=timer.ignore_sigterm,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
