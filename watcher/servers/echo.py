"""A server that answers every line with the same line; told to ignore SIGTERM, it is as slow to go as some pods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watcher.servers.connection import CLOSED_BY_CLIENT, Connection
from watcher.servers.log import Log
from watcher.servers.serving import MOST_CONNECTIONS, Served, run

PORT = 8000
MOST_LINE_OCTETS = 4096
"""Of a message, without its newline."""


@dataclass(frozen=True)
class Echo:
    """How it is served."""

    address: str = "0.0.0.0"  # noqa: S104 - a server for other machines, as its help says
    port: int = PORT
    ignore_sigterm: bool = False
    most_connections: int = MOST_CONNECTIONS
    proxy: str | None = None
    """Who introduces the clients that it brings (``Connection.proxy``)."""
    control_file: Path | None = None
    """Where values to be added to a client's answers come in (``watcher.servers.control``)."""


class _Echoing(Connection):
    def __init__(self, served: Served, log: Log, gone: Callable[[Connection], None]) -> None:
        super().__init__(log, gone)
        self._served = served
        self._half = b""

    def received(self, data: bytes) -> None:
        *whole, self._half = (self._half + data).split(b"\n")
        for message in whole:
            value = self._served.values.get(self.address)
            said = message.rstrip(b"\r").decode(errors="replace")
            if len(message) > MOST_LINE_OCTETS or not self.send(said if value is None else f"{said} {value}"):
                break
        if max(map(len, (*whole, self._half))) > MOST_LINE_OCTETS:
            self.abort(f"a message of more than {MOST_LINE_OCTETS} octets")

    def closed_reason(self) -> str:
        return f"{CLOSED_BY_CLIENT} in the midst of a message" if self._half else CLOSED_BY_CLIENT


async def serve(echo: Echo, log: Log) -> None:
    """Until SIGINT, and SIGTERM unless that is ignored. Raises UsageError where it cannot listen."""
    served = Served(log, echo.most_connections, echo.proxy)

    def make(log: Log, gone: Callable[[Connection], None]) -> Connection:
        return _Echoing(served, log, gone)

    await run(
        echo.address,
        [(echo.port, make)],
        served,
        changed=lambda _: None,
        control_file=echo.control_file,
        ignore_sigterm=echo.ignore_sigterm,
    )
