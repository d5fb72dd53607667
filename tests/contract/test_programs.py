"""Every client program keeps the contract: against the embedded control plane, over real sockets."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from tests.contract.running import SETTINGS, Cluster, Relay, Running, running
from watcher.catalog import Catalog
from watcher.lab.control_plane.watches import Timers
from watcher.model import Settings, Stack
from watcher.records import Socket

CATALOG = Catalog.load()
STACKS = {name: found.stack for name, found in CATALOG.stacks.items()}
Command = Callable[..., list[str]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")


def expected(settings: Settings, stack: Stack) -> dict[str, object]:
    """What ``started`` must claim: what the profile asks for, without the pause where the library retries by itself."""
    asked = settings.model_dump(exclude_defaults=True)
    if "retry" not in stack.profiles:
        asked.pop("retry_seconds", None)
    return asked


def check_socket(found: Socket, settings: Settings) -> None:
    """The kernel's word on what the program set."""
    assert found.keepalive is settings.keepalive, "SO_KEEPALIVE"
    if settings.keepalive_idle_seconds is not None:
        assert found.keepalive_idle_seconds == settings.keepalive_idle_seconds
        assert found.keepalive_interval_seconds == settings.keepalive_interval_seconds
        assert found.keepalive_count == settings.keepalive_count
    assert found.user_timeout_seconds == (settings.user_timeout_seconds or 0), "TCP_USER_TIMEOUT"


async def check_life(program: Running, cluster: Cluster, stack: Stack, settings: Settings) -> None:
    """From its start to a touch."""
    await program.until("watching", lambda: bool(program.events("watching") or program.violations))
    assert program.violations == []
    started = program.records[0]
    assert (started.event, started.library, started.version) == ("started", stack.library, stack.version)
    assert started.settings == expected(settings, stack), "what it claims"
    await program.until("the present state", lambda: bool(program.nonces()))
    assert program.sockets(), "no connection"
    for one in program.sockets():
        check_socket(one, settings)
    nonce = secrets.token_hex(8)
    cluster.touch(f"not-{nonce}", "another")
    cluster.touch(nonce)
    await program.observes(nonce, 5)
    assert f"not-{nonce}" not in program.nonces(), "another ConfigMap"
    assert program.violations == []


async def check_profile(arguments: list[str], folder: Path, cluster: Cluster, stack: Stack, profile: str) -> None:
    """One program from its start to its end."""
    settings = SETTINGS[profile]
    async with running(arguments, folder, cluster.kubeconfig(folder), profile, settings) as program:
        if profile not in stack.profiles:
            assert await program.ends() == 127
            assert program.records == []
            assert program.violations == []
            return
        await check_life(program, cluster, stack, settings)
    assert program.status == 0, f"SIGTERM ended it with {program.status}: {program.errors()}"


async def all_of(checks: Iterable[tuple[str, Awaitable[None]]]) -> None:
    """At once, since they mostly wait; every failure is told, with its name."""
    names, started = zip(*checks, strict=True)
    failed = []
    for name, error in zip(names, await asyncio.gather(*started, return_exceptions=True), strict=True):
        if isinstance(error, BaseException):
            error.add_note(f"in {name}")
            failed.append(error)
    if failed:
        raise BaseExceptionGroup("failed", failed)


@pytest.mark.parametrize("stack", STACKS)
async def test_every_profile(stack: str, command: Command, tmp_path: Path) -> None:
    """What a matrix says of a profile is worth nothing if the program did not set what the profile asks for."""
    async with Cluster.start() as cluster:
        await all_of(
            (profile, check_profile(command(stack), tmp_path / profile, cluster, STACKS[stack], profile))
            for profile in SETTINGS
        )


@pytest.mark.parametrize("stack", STACKS)
async def test_an_unknown_profile_is_unsupported(stack: str, command: Command, tmp_path: Path) -> None:
    """A program that runs a profile it has never heard of would put a verdict where `unsupported` belongs."""
    profile = f"x{secrets.token_hex(4)}"
    async with (
        Cluster.start() as cluster,
        running(command(stack), tmp_path, cluster.kubeconfig(tmp_path), profile, Settings()) as program,
    ):
        assert await program.ends() == 127
        assert program.records == []
        assert program.violations == []


async def check_end(
    arguments: list[str], folder: Path, cluster: Cluster, profile: str, relay: Relay, *, cut: bool, seconds: float = 30
) -> None:
    """After the end of its watch a program watches again and sees the next touch; the default may end instead."""
    kubeconfig = cluster.kubeconfig(folder, relay.address)
    async with running(arguments, folder, kubeconfig, profile, SETTINGS[profile]) as program:
        await program.until("watching", lambda: bool(program.events("watching") and program.nonces()))
        if cut:
            relay.cut()
        again = len(program.events("watching")) + 1
        await program.until(
            "another watch, or its end",
            lambda: len(program.events("watching")) >= again or program.status is not None,
            seconds,
        )
        if program.status is None:
            cluster.touch("after")
            await program.observes("after")
        else:
            assert profile == "default", f"ended with {program.status}: {program.errors()}"
            if cut:
                assert program.status != 0
                assert program.errors(), "nothing says why it ended"
        assert program.violations == []


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("cut", [False, True], ids=["last-chunk", "fin"])
async def test_a_stream_that_ends(stack: str, cut: bool, command: Command, tmp_path: Path) -> None:
    """Watches end in two ways: as HTTP ends a response, and by the mere end of the connection. A program that does
    nothing after one of them would be called `stuck` where its library is not.
    """
    # The server ends each watch after 1 s, with the last chunk; or hardly ever, and the relay cuts the connection.
    timers = None if cut else Timers(watch_timeout_seconds=(1, 1))
    async with Cluster.start(timers) as cluster:

        async def check(profile: str) -> None:
            async with Relay.start(cluster.server.addresses[0]) as relay:
                await check_end(command(stack), tmp_path / profile, cluster, profile, relay, cut=cut)

        await all_of((profile, check(profile)) for profile in ("default", "bookmarks"))


@pytest.mark.parametrize("stack", STACKS)
async def test_sigterm_ends_it_while_nothing_answers(stack: str, command: Command, tmp_path: Path) -> None:
    """At the end of a cell on a dead path nobody answers; a program that waits for an answer has to be killed."""
    async with Cluster.start() as cluster, Relay.start(cluster.server.addresses[0]) as relay:
        relay.silent = True
        kubeconfig = cluster.kubeconfig(tmp_path, relay.address)
        async with running(command(stack), tmp_path, kubeconfig, "default", SETTINGS["default"]) as program:
            await program.until("started", lambda: bool(program.events("started")))
            await relay.connected.wait()
        assert program.status == 0, program.errors()


MISTAKES = {
    "a keepalive that is claimed, not set": (
        'pool_arguments["socket_options"] = socket_options(profile, settings)',
        "socket_options(profile, settings)",
        "SO_KEEPALIVE",
    ),
    "a watch of every ConfigMap": ("metadata.name={os.environ['WATCHER_NAME']}", "", "another ConfigMap"),
    "a setting that is set, not claimed": ('settings["keepalive"] = True', "pass", "what it claims"),
    "a status of its own for SIGTERM": ("os._exit(0)", "os._exit(3)", "SIGTERM"),
    "a line that is not JSON": ('    emit("started"', '    print("hello", flush=True)\n    emit("started"', "not JSON"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_the_checks_catch(mistake: str, command: Command, tmp_path: Path) -> None:
    """Checks that pass whatever a program does would let a new client lie into the matrix."""
    right, wrong, told = MISTAKES[mistake]
    source = CATALOG.stacks["python-urllib3"].folder / "watch.py"
    assert source.read_text().count(right) == 1, "the program has changed: make the mistake anew"
    folder = tmp_path / "mistaken"
    folder.mkdir()
    (folder / source.name).write_text(source.read_text().replace(right, wrong))
    arguments = command("python-urllib3", folder)
    async with Cluster.start() as cluster:
        with pytest.raises(AssertionError, match=told):
            await check_profile(arguments, tmp_path / "cell", cluster, STACKS["python-urllib3"], "tcp-keepalive")


async def test_the_check_of_ends_catches_a_program_that_goes_silent(command: Command, tmp_path: Path) -> None:
    """The same, for the end of a stream: a program that swallows it and then does nothing."""
    source = CATALOG.stacks["python-urllib3"].folder / "watch.py"
    folder = tmp_path / "mistaken"
    folder.mkdir()
    right = "        time.sleep("
    assert source.read_text().count(right) == 1
    (folder / source.name).write_text(source.read_text().replace(right, "        threading.Event().wait()\n" + right))
    async with Cluster.start() as cluster, Relay.start(cluster.server.addresses[0]) as relay:
        with pytest.raises(AssertionError, match="another watch, or its end"):
            await check_end(
                command("python-urllib3", folder), tmp_path / "cell", cluster, "retry", relay, cut=True, seconds=3
            )
