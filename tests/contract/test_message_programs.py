"""Every client of a message protocol keeps the contract: against the real server, over real sockets."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.messaging import Broker, broker, subscribing
from tests.contract.running import SETTINGS, Running, check_end_while_it_connects, nobody_accepts
from watcher.catalog import Catalog
from watcher.model import Settings
from watcher.programs.process import STOP_SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")

STACKS = {
    name: found.stack for name, found in Catalog.load().stacks.items() if found.stack.protocol in ("nats", "mqtt")
}
EVERY_STACK = pytest.mark.parametrize("stack", STACKS)
CASES = [(name, profile) for name, stack in STACKS.items() for profile in stack.profiles]
QUICK = Settings(retry_seconds=0.1, ping_idle_seconds=1, ping_timeout_seconds=1)
AT_ONCE_SECONDS = 10.0
"""Far below every timer of libraries and profiles."""
Command = Callable[..., list[str]]


async def subscribed(program: Running, server: Broker) -> None:
    """Waits until it has said so, and has seen a first message."""
    await program.until("watching", lambda: bool(program.events("watching")))
    assert (await server.publish("first")).status == 200
    await program.observes("first")


@pytest.mark.parametrize(("stack", "profile"), CASES)
async def test_it_observes_what_is_published(stack: str, profile: str, command: Command, tmp_path: Path) -> None:
    """A cell says whether a change was seen; a program that prints it wrong makes its library deaf in the matrix."""
    async with broker(STACKS[stack].protocol, tmp_path / "server") as server:
        arguments = command(stack)
        async with subscribing(arguments, tmp_path, server.address, profile, SETTINGS[profile]) as program:
            await subscribed(program, server)
            nonce = secrets.token_hex(16)
            await server.publish(nonce)
            await program.observes(nonce)
            started = program.records[0]
            assert (started.event, started.library, started.version) == (
                "started",
                STACKS[stack].library,
                STACKS[stack].version,
            )
            asked = SETTINGS[profile].model_dump(exclude_defaults=True)
            assert {name: (started.settings or {}).get(name) for name in asked} == asked
            assert program.violations == []
            check_sockets(program, SETTINGS[profile])
            began = time.monotonic()
            program.process.terminate()
            assert await program.ends() == 0
            assert time.monotonic() - began < STOP_SECONDS


def check_sockets(program: Running, asked: Settings) -> None:
    [seen] = program.sockets()
    if asked.keepalive:
        assert seen.keepalive
    if asked.keepalive_idle_seconds is not None:
        has = (seen.keepalive_idle_seconds, seen.keepalive_interval_seconds, seen.keepalive_count)
        assert has == (asked.keepalive_idle_seconds, asked.keepalive_interval_seconds, asked.keepalive_count)
    if asked.user_timeout_seconds is not None:
        assert seen.user_timeout_seconds == asked.user_timeout_seconds


@EVERY_STACK
async def test_what_it_cannot_do_it_refuses(stack: str, command: Command, tmp_path: Path) -> None:
    """Else a matrix says of a profile what is true of another."""
    for profile in (*sorted(set(SETTINGS) - set(STACKS[stack].profiles)), f"p-{secrets.token_hex(4)}"):
        settings = SETTINGS.get(profile, Settings())
        async with subscribing(command(stack), tmp_path / profile, "127.0.0.1:9", profile, settings) as program:
            assert await program.ends() == 127
            assert program.records == []


@EVERY_STACK
async def test_it_sees_no_others_messages(stack: str, command: Command, tmp_path: Path) -> None:
    """Cells share one server: one cell's touch must not be another's."""
    async with (
        broker(STACKS[stack].protocol, tmp_path / "server") as server,
        subscribing(command(stack), tmp_path, server.address, "default", Settings()) as program,
    ):
        await subscribed(program, server)
        assert (await server.publish("not-for-you", namespace="another")).status == 200
        await server.publish("for-you")
        await program.observes("for-you")
        assert "not-for-you" not in program.nonces()


@EVERY_STACK
@pytest.mark.parametrize(("profile", "settings"), [("default", Settings()), ("retry", QUICK)])
async def test_it_ends_while_it_connects(
    stack: str, profile: str, settings: Settings, command: Command, tmp_path: Path
) -> None:
    """A program that is told to end would be called one that has died, or be killed, because a server is away."""
    with nobody_accepts() as address:
        async with subscribing(command(stack), tmp_path, address, profile, settings) as program:
            await check_end_while_it_connects(program)


@EVERY_STACK
async def test_a_server_that_comes_back(stack: str, command: Command, tmp_path: Path) -> None:
    """With FIN or RST the end is noticed at once; then it subscribes again, or the default may end and say why."""
    async with broker(STACKS[stack].protocol, tmp_path / "server") as server:
        for profile in ("default", "retry"):
            await check_return(command(stack), tmp_path / profile, server, profile)


async def check_return(arguments: list[str], folder: Path, server: Broker, profile: str) -> None:
    settings = Settings() if profile == "default" else QUICK
    async with subscribing(arguments, folder, server.address, profile, settings) as program:
        await subscribed(program, server)
        again = len(program.events("watching")) + 1
        await server.vanish()
        await program.until(
            "noticed", lambda: bool(program.events("error")) or program.status is not None, AT_ONCE_SECONDS
        )
        await server.restart()
        await program.until(
            "again or ended", lambda: len(program.events("watching")) >= again or program.status is not None
        )
        if program.status is None:
            await server.publish("after")
            await program.observes("after")
        else:
            assert profile == "default"
            assert program.status not in (0, 127)
            assert program.errors(), "nothing says why it ended"
        assert program.violations == []


@EVERY_STACK
async def test_without_a_fin_only_a_ping_finds_the_end(stack: str, command: Command, tmp_path: Path) -> None:
    """The seeds' finding: an idle client whose server is gone without a word waits; its ping is what tells it. And the
    mutant of the test above, in which the same client is told.
    """
    async with broker(STACKS[stack].protocol, tmp_path / "server") as server:
        arguments = command(stack)
        async with (
            subscribing(arguments, tmp_path / "default", server.address, "default", Settings()) as default,
            subscribing(arguments, tmp_path / "ping", server.address, "ping", QUICK) as pinging,
        ):
            await asyncio.gather(subscribed(default, server), subscribed(pinging, server))
            server.component.signal(signal.SIGSTOP)  # its kernel still acknowledges whatever comes
            await pinging.until("noticed", lambda: bool(pinging.events("error")), 30)
            assert default.events("error") == []
            assert default.status is None
            server.component.signal(signal.SIGCONT)
            await pinging.until("again", lambda: len(pinging.events("watching")) > 1)
            await server.publish("after")
            await pinging.observes("after")
            await default.observes("after")
