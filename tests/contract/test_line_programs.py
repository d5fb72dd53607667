"""Every client of our own servers keeps the contract: against the server as the lab starts it, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.running import (
    NAMESPACE,
    SETTINGS,
    TRIGGER,
    Running,
    check_end_while_it_connects,
    nobody_accepts,
)
from watcher.catalog import Catalog
from watcher.model import Settings
from watcher.programs import contract
from watcher.programs.process import STOP_SECONDS, Command, Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")

SERVE = {"timer": ("timer", "--port", "0=600"), "echo": ("echo", "--port", "0")}
"""Nothing comes by itself: what is observed was published."""
STACKS = {name: found.stack for name, found in Catalog.load().stacks.items() if found.stack.protocol in SERVE}
EVERY_STACK = pytest.mark.parametrize("stack", STACKS)
CASES = [(name, profile) for name, stack in STACKS.items() for profile in stack.profiles]
QUICK = Settings(retry_seconds=0.1)
PATIENCE_SECONDS = 60.0
Arguments = Callable[..., list[str]]


@dataclass
class Server:
    process: asyncio.subprocess.Process
    control: Path
    address: str

    async def publish(self, nonce: str, client: str = "127.0.0.1") -> None:
        reader, writer = await asyncio.open_unix_connection(self.control)
        writer.write(json.dumps({"client": client, "nonce": nonce}).encode() + b"\n")
        assert "number" in json.loads(await reader.readline())
        writer.close()


@asynccontextmanager
async def server(protocol: str, folder: Path, port: int = 0) -> AsyncIterator[Server]:
    """``port``: one that was free a moment ago."""
    control = folder / "control"
    arguments = [part.replace("0=", f"{port}=") for part in SERVE[protocol]]
    if protocol == "echo":
        arguments[-1] = str(port)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "watcher", "serve", *arguments),
        *("--address", "127.0.0.1", "--json", "--control", str(control)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = json.loads(await process.stdout.readline())
        reading = asyncio.create_task(process.stdout.read())
        yield Server(process, control, f"127.0.0.1:{said['ports']}")
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reading
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def talking(
    arguments: list[str], folder: Path, address: str, profile: str, settings: Settings
) -> AsyncIterator[Running]:
    """Starts the program as the harness does, and ends it."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, before anything runs
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "WATCHER_ADDRESS": address,
        "WATCHER_INTERVAL_SECONDS": "0.1",
        **contract.environment(settings, profile, NAMESPACE, TRIGGER),
    }
    process = await Process.spawn(Command(arguments, environment, folder), limit=contract.MAX_LINE_BYTES)
    program = Running(process, folder)
    reading = asyncio.create_task(program._read())
    try:
        yield program
    finally:
        await process.stop()
        await reading


async def sees(program: Running, at: Server, nonce: str) -> None:
    await program.until("watching", lambda: bool(program.events("watching")))
    await at.publish(nonce)
    await program.observes(nonce)


@pytest.mark.parametrize(("stack", "profile"), CASES)
async def test_it_observes_what_is_published(stack: str, profile: str, command: Arguments, tmp_path: Path) -> None:
    """A program that prints it wrong, or did not set what its profile asks for, is not what the matrix says."""
    asked = SETTINGS[profile]
    async with (
        server(STACKS[stack].protocol, tmp_path) as at,
        talking(command(stack), tmp_path / "cell", at.address, profile, asked) as program,
    ):
        await at.publish("not-for-you".replace("-", ""), "127.0.0.9")
        await sees(program, at, "first")
        await sees(program, at, nonce := secrets.token_hex(16))
        assert "notforyou" not in program.nonces()
        started = program.records[0]
        assert (started.event, started.library) == ("started", STACKS[stack].library)
        wanted = asked.model_dump(exclude_defaults=True)
        assert {name: (started.settings or {}).get(name) for name in wanted} == wanted
        observed = [record.resource_version for record in program.events("observed") if record.nonce == nonce]
        assert set(observed) == {"2"}
        assert program.violations == []
        check_socket(program, asked, stack, profile)
        began = time.monotonic()
        program.process.terminate()
        assert await program.ends() == 0
        assert time.monotonic() - began < STOP_SECONDS


def check_socket(program: Running, asked: Settings, stack: str, profile: str) -> None:
    [seen] = program.sockets()
    by_itself = any(timer.name == "TCP keepalive" and profile in timer.profiles for timer in STACKS[stack].timers)
    assert bool(seen.keepalive) is (asked.keepalive or by_itself)
    if asked.keepalive_idle_seconds is not None:
        has = (seen.keepalive_idle_seconds, seen.keepalive_interval_seconds, seen.keepalive_count)
        assert has == (asked.keepalive_idle_seconds, asked.keepalive_interval_seconds, asked.keepalive_count)
    assert (seen.user_timeout_seconds or None) == asked.user_timeout_seconds


@EVERY_STACK
async def test_what_it_cannot_do_it_refuses(stack: str, command: Arguments, tmp_path: Path) -> None:
    """Else a matrix says of a profile what is true of another."""
    for profile in (*sorted(set(SETTINGS) - set(STACKS[stack].profiles)), f"p-{secrets.token_hex(4)}"):
        settings = SETTINGS.get(profile, Settings())
        async with talking(command(stack), tmp_path / profile, "127.0.0.1:9", profile, settings) as program:
            assert await program.ends() == 127
            assert program.records == []


@EVERY_STACK
@pytest.mark.parametrize(("profile", "settings"), [("default", Settings()), ("retry", QUICK)])
async def test_it_ends_while_it_connects(
    stack: str, profile: str, settings: Settings, command: Arguments, tmp_path: Path
) -> None:
    """A program that is told to end would be called one that has died, or be killed, because a server is away."""
    with nobody_accepts() as address:
        async with talking(command(stack), tmp_path, address, profile, settings) as program:
            await check_end_while_it_connects(program)


@EVERY_STACK
async def test_a_server_that_vanishes_and_comes_back(stack: str, command: Arguments, tmp_path: Path) -> None:
    """With FIN or RST the end is noticed at once; then it connects again, and the default ends."""
    for profile, settings in (("default", Settings()), ("retry", QUICK)):
        async with server(STACKS[stack].protocol, tmp_path) as at:
            port = int(at.address.rpartition(":")[2])
            async with talking(command(stack), tmp_path / profile, at.address, profile, settings) as program:
                await sees(program, at, "before")
                at.process.send_signal(signal.SIGKILL)
                await at.process.wait()
                if profile == "default":
                    await program.ends()
                    continue
                await program.until("noticed", lambda: bool(program.events("ended") or program.events("error")))
                async with server(STACKS[stack].protocol, tmp_path, port) as again:
                    await program.until("again", lambda: len(program.events("watching")) > 1)
                    await again.publish("after")
                    await program.observes("after")
                assert program.violations == []


@EVERY_STACK
async def test_half_a_line_is_none(stack: str, command: Arguments, tmp_path: Path) -> None:
    """A line that is cut by the server's end may hold half a nonce: that was not observed."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10) if STACKS[stack].protocol == "echo" else None
        writer.write(b"Hello!\nCurrent time nonce=half number=1")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(half, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    async with (
        listening,
        talking(command(stack), tmp_path, f"{host}:{port}", "default", Settings()) as program,
    ):
        await program.ends()
        assert program.events("observed") == []
        assert program.violations == []
