"""Every client program keeps the contract: against the embedded control plane, over real sockets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import pytest

from tests.contract.running import PATIENCE_SECONDS, SETTINGS, Cluster, Relay, running
from watcher.catalog import Catalog
from watcher.errors import LabUnavailable
from watcher.lab.control_plane import haproxy
from watcher.lab.control_plane.binaries import find
from watcher.model import Profile
from watcher.probe.findings import ProbeReport
from watcher.probe.inside import probe_inside
from watcher.probe.probing import Candidate, probe
from watcher.programs.environments import cache_folder

QUIET_SECONDS = 1.0
"""`watcher probe` waits for 150 s; a library that ends its watch in between is what the scenario `control` is for."""
CATALOG = Catalog.load()
STACKS = {name: found.stack for name, found in CATALOG.stacks.items() if found.stack.protocol == "watch"}
"""Those of the other protocols have tests of their own."""
PLAIN = {name: stack for name, stack in STACKS.items() if not stack.websocket}
"""Those that the embedded control plane can serve."""
Command = Callable[..., list[str]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")


def candidate(stack: str, command: Command, folder: Path | None = None) -> Candidate:
    return Candidate(STACKS[stack], command(stack, folder))


async def broken(candidate: Candidate, profiles: Mapping[str, Profile]) -> list[str]:
    """Every sentence of the contract that the program does not keep."""
    return wrong(await probe([candidate], profiles, quiet_seconds=QUIET_SECONDS))


def wrong(report: ProbeReport) -> list[str]:
    return [
        f"{each.profile}: {finding.check}: {finding.said}"
        for stack in report.stacks
        for each in stack.profiles
        for finding in each.findings
        if not finding.ok
    ]


@pytest.mark.parametrize("stack", PLAIN)
async def test_it_keeps_the_contract(stack: str, command: Command) -> None:
    """What a matrix says of a profile is worth nothing if the program did not set what the profile asks for, sees what
    is not its own, or runs on as if nothing were when it is asked for what it cannot do.
    """
    assert await broken(candidate(stack, command), CATALOG.profiles) == []


@pytest.mark.lab
@pytest.mark.timeout(400)  # JVMs, sixty of them
def test_those_of_websockets_keep_the_contract_on_the_real_control_plane(command: Command) -> None:
    """The same for those that the embedded one refuses."""
    try:
        binaries = find("kubernetes", cache_folder())
        haproxy.binary()
    except LabUnavailable as missing:
        pytest.skip(str(missing))
    assert binaries is not None
    candidates = [candidate(stack, command) for stack in STACKS if stack not in PLAIN]
    assert wrong(probe_inside(candidates, CATALOG.profiles, QUIET_SECONDS, binaries)) == []


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


async def check_end(
    arguments: list[str], folder: Path, cluster: Cluster, profile: str, relay: Relay, *, cut: bool, seconds: float = 30
) -> None:
    """After the end of its watch a program watches again and sees the next touch; the default may end instead."""
    kubeconfig = cluster.kubeconfig(folder, relay.address)
    async with running(arguments, folder, kubeconfig, profile, SETTINGS[profile]) as program:
        await program.until("watching", lambda: bool(program.events("watching") and program.nonces()))
        # Some say so before their watch is there: what they get, they got first.
        cluster.touch(f"before-{profile}")
        await program.observes(f"before-{profile}")
        if cut:
            relay.cut()
        else:
            cluster.end_watches()
        again = len(program.events("watching")) + 1
        await program.until(
            "another watch, or its end",
            lambda: len(program.events("watching")) >= again or program.status is not None,
            seconds,
        )
        if program.status is None:
            cluster.touch(f"after-{profile}")
            await program.observes(f"after-{profile}")
        else:
            assert profile == "default", f"ended with {program.status}: {program.errors()}"
            if cut and not program.events("ended"):  # some libraries say that it has ended, and no more
                assert program.status != 0
                assert program.errors(), "nothing says why it ended"
        assert program.violations == []


@pytest.mark.parametrize("stack", PLAIN)
@pytest.mark.parametrize("cut", [False, True], ids=["last-chunk", "fin"])
async def test_a_stream_that_ends(stack: str, cut: bool, command: Command, tmp_path: Path) -> None:
    """Watches end in two ways: as HTTP ends a response, and by the mere end of the connection. A program that does
    nothing after one of them would be called `stuck` where its library is not.
    """

    # The server ends the watch with the last chunk; or the relay cuts the connection. A server for each profile: it
    # ends all of its watches at once, and one profile's end must not meet another that has not begun.
    async def check(profile: str) -> None:
        async with (
            Cluster.start(http1_only=True) as cluster,
            Relay.start(cluster.server.addresses[0]) as relay,
        ):
            await check_end(command(stack), tmp_path / profile, cluster, profile, relay, cut=cut)

    another = next((profile for profile in STACKS[stack].profiles if profile != "default"), "default")
    await all_of((profile, check(profile)) for profile in dict.fromkeys(("default", another)))


@pytest.mark.parametrize("stack", ["python-urllib3", "python-httpx", "curl"])
async def test_a_token_that_is_replaced(stack: str, command: Command, tmp_path: Path) -> None:
    """A pod's token lives an hour: who reads it once is refused from then on, and a soak calls that a miss. Seen in a
    soak of 72 minutes. These are the programs that read it themselves, no library does it for them.
    """
    async with Cluster.start(http1_only=True) as cluster:
        kubeconfig, token = cluster.kubeconfig(tmp_path), tmp_path / "token"
        content = json.loads(kubeconfig.read_text())
        content["users"][0]["user"] = {"tokenFile": str(token)}
        kubeconfig.write_text(json.dumps(content))
        token.write_text(cluster.server.token)
        async with running(command(stack), tmp_path, kubeconfig, "retry", SETTINGS["retry"]) as program:
            await program.until("watching", lambda: bool(program.events("watching")))
            token.write_text("expired")
            cluster.end_watches()
            await program.until("refused", lambda: bool(program.events("error")))
            token.write_text(cluster.server.token)
            await program.until("a second watch", lambda: len(program.events("watching")) > 1)
            cluster.touch("with-the-next-token")
            await program.observes("with-the-next-token")


@pytest.mark.parametrize("stack", STACKS)
async def test_it_offers_http2_where_its_manifest_says_so(stack: str, command: Command, tmp_path: Path) -> None:
    """One that does so unsaid gets verdicts over HTTP/1.1 that nobody's cluster would show."""
    async with Cluster.start() as cluster:
        kubeconfig = cluster.kubeconfig(tmp_path)
        async with running(command(stack), tmp_path, kubeconfig, "default", SETTINGS["default"]) as program:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (cluster.unserved or program.events("watching") or program.status is not None):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert ("HTTP/2" in cluster.unserved) is STACKS[stack].http2


MISTAKES = {
    "a keepalive that is claimed, not set": (
        'pool_arguments["socket_options"] = socket_options(profile, settings)',
        "socket_options(profile, settings)",
        "SO_KEEPALIVE is off",
    ),
    "a watch of every ConfigMap": ("metadata.name={os.environ['WATCHER_NAME']}", "", "another's"),
    "a setting that is set, not claimed": ('settings["keepalive"] = True', "pass", "lacks keepalive"),
    "a status of its own for SIGTERM": ("os._exit(0)", "os._exit(3)", "status 3"),
    "a line that is not JSON": ('    emit("started"', '    print("hello", flush=True)\n    emit("started"', "not JSON"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_the_checks_catch(mistake: str, command: Command, tmp_path: Path) -> None:
    """Checks that pass whatever a program does would let a new client lie into the matrix."""
    right, wrong, told = MISTAKES[mistake]
    source = CATALOG.stacks["python-urllib3"].folder / "watch.py"
    assert source.read_text().count(right) == 1, "the program has changed: make the mistake anew"
    (tmp_path / source.name).write_text(source.read_text().replace(right, wrong))
    profiles = {"tcp-keepalive": CATALOG.profiles["tcp-keepalive"]}
    found = await broken(candidate("python-urllib3", command, tmp_path), profiles)
    assert any(told in each for each in found), found


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
