"""A client program under test, the control plane it watches, and a relay that can cut its connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watcher.lab import sockets
from watcher.lab.control_plane.listeners import Listener
from watcher.lab.control_plane.objects import CONFIG_MAPS, NAMESPACES
from watcher.lab.control_plane.server import Server, serve
from watcher.lab.control_plane.watches import Timers
from watcher.model import Profile, Settings
from watcher.programs import contract
from watcher.programs.process import ERRORS, OUTPUT, Command, Process
from watcher.records import Program, Socket

NAMESPACE = "contract"
TRIGGER = "trigger"
PATIENCE_SECONDS = 60.0
"""Until a program that is merely slow is given up; what must be fast is measured on its own."""

SETTINGS = {
    path.stem: Profile(name=path.stem, **tomllib.loads(path.read_text())).settings
    for path in sorted((Path(contract.__file__).parents[1] / "profiles").glob("*.toml"))
}


class Cluster:
    """The embedded control plane with a trigger in it."""

    def __init__(self, server: Server, unserved: list[str]) -> None:
        self.server = server
        self.unserved = unserved
        """What it was asked for and does not do: HTTP/2."""
        server.store.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
        for name in (TRIGGER, "another"):
            server.store.create(CONFIG_MAPS, NAMESPACE, {"metadata": {"name": name}, "data": {"nonce": f"{name}-0"}})

    @classmethod
    @asynccontextmanager
    async def start(cls, timers: Timers | None = None, *, http1_only: bool = False) -> AsyncIterator[Cluster]:
        unserved: list[str] = []

        def report(what: dict[str, object]) -> None:
            if what["event"] == "unserved":
                unserved.append(str(what["what"]))

        async with serve((Listener("127.0.0.1", http1_only=http1_only),), timers=timers, report=report) as server:
            yield cls(server, unserved)

    def touch(self, nonce: str, name: str = TRIGGER) -> None:
        self.server.store.patch(CONFIG_MAPS, NAMESPACE, name, {"data": {"nonce": nonce}})

    def end_watches(self) -> None:
        """Each that is open gets the last chunk of its response; new ones are served."""
        self.server.watches.end_all("timeout")

    def kubeconfig(self, folder: Path, address: str | None = None) -> Path:
        """As the harness writes it: JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = folder / "ca.crt"
        authority.write_text(self.server.ca_pem)
        cluster = {"server": f"https://{address or self.server.addresses[0]}", "certificate-authority": str(authority)}
        file = folder / "kubeconfig"
        file.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "test", "user": {"token": self.server.token}}],
                }
            )
        )
        return file


class Relay:
    """Between a program and the control plane. Its ``cut`` is what a proxy does that dies: FIN, no last words."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._to_clients: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.address = ""
        self.silent = False
        """Accepts, and then says nothing."""
        self.refusing = False
        """Accepts, and hangs up."""
        self.connected = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def start(cls, target: str) -> AsyncIterator[Relay]:
        relay = cls(target)
        listening = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
        relay.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield relay
        finally:
            listening.close()
            relay.cut()
            for pump in relay._pumps:
                pump.cancel()
            await asyncio.gather(*relay._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Ends all connections towards their clients; new ones are served."""
        for writer in self._to_clients:
            writer.close()
        self._to_clients.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        if self.refusing:
            writer.close()
            return
        if self.silent:
            self._to_clients.add(writer)
            return
        from_server, to_server = await asyncio.open_connection(self._host, self._port)
        if self.refusing:  # since
            writer.close()
            to_server.close()
            return
        self._to_clients.add(writer)
        for pump in (self._pump(reader, to_server), self._pump(from_server, writer)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while octets := await reader.read(65536):
                    writer.write(octets)
                    await writer.drain()
        finally:
            writer.close()


@dataclass
class Running:
    """A program and the records of all that it has printed."""

    process: Process
    folder: Path
    records: list[Program] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    status: int | None = None
    """Exit status, once it has ended."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def events(self, event: str) -> list[Program]:
        return [record for record in self.records if record.event == event]

    def nonces(self) -> list[str | None]:
        return [record.nonce for record in self.events("observed")]

    def errors(self) -> str:
        return (self.folder / ERRORS).read_text(errors="replace")

    async def until(self, what: str, true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Fails with all that the program said, when it does not come true in time."""
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            said = (self.folder / OUTPUT).read_text(errors="replace")
            raise AssertionError(
                f"not within {seconds:g} s: {what}\nstatus {self.status}\n{said}\n{self.errors()}"
            ) from None

    async def observes(self, nonce: str, seconds: float = PATIENCE_SECONDS) -> None:
        await self.until(f"observed {nonce}", lambda: nonce in self.nonces(), seconds)

    async def ends(self, seconds: float = PATIENCE_SECONDS) -> int:
        await self.until("the end of the program", lambda: self.status is not None, seconds)
        assert self.status is not None
        return self.status

    def sockets(self) -> list[Socket]:
        return [one for one in sockets.of_process(self.process.pid) if one.state == "ESTABLISHED"]

    def _line(self, line: bytes) -> None:
        try:
            self.records.append(contract.record(line, time.monotonic(), None))
        except contract.Violation as violation:
            self.violations.append(str(violation))
        self._changed.set()

    async def _read(self) -> None:
        async def overlong() -> None:
            self.violations.append("a line that is too long")

        self.status = await self.process.read(self._line, overlong)
        self._changed.set()


@asynccontextmanager
async def running(
    arguments: list[str],
    folder: Path,
    kubeconfig: Path,
    profile: str,
    settings: Settings,
    *,
    ask_after_seconds: float | None = None,
) -> AsyncIterator[Running]:
    """Starts the program as the harness does, and ends it."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "KUBECONFIG": str(kubeconfig),
        **contract.environment(settings, profile, NAMESPACE, TRIGGER, ask_after_seconds=ask_after_seconds),
    }
    process = await Process.spawn(Command(arguments, environment, folder), limit=contract.MAX_LINE_BYTES)
    program = Running(process, folder)
    reading = asyncio.create_task(program._read())
    try:
        yield program
    finally:
        await process.stop()
        await reading


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """An address to which a connection takes for ever: the little room there is for those who wait is taken."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        host, port = listening.getsockname()
        yield f"{host}:{port}"


async def check_end_while_it_connects(program: Running) -> None:
    """SIGTERM comes as early as can be: as soon as it is said that the program has started."""
    await program.until("started", lambda: bool(program.records))
    program.process.terminate()
    assert await program.ends() == 0, program.errors()
    assert [record.event for record in program.records] == ["started"]


def control(name: str) -> list[str]:
    """The command of one of the controls."""
    return [sys.executable, "-m", f"watcher.programs.controls.{name}"]
