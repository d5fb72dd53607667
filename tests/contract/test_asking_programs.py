"""Every program that asks now and then keeps the contract, against the embedded control plane on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.running import SETTINGS, Cluster, Relay, nobody_accepts, running
from watcher.catalog import Catalog
from watcher.model import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")

STACKS = {name: found.stack for name, found in Catalog.load().stacks.items() if found.stack.asks}
CASES = [(name, profile) for name, stack in STACKS.items() for profile in stack.profiles]
EVERY_STACK = pytest.mark.parametrize("stack", STACKS)
ASK_SECONDS = 1.0
Arguments = Callable[..., list[str]]


@pytest.mark.parametrize(("stack", "profile"), CASES)
async def test_it_asks_and_says_what_it_got(stack: str, profile: str, command: Arguments, tmp_path: Path) -> None:
    """A program that asks without saying so would be late by the ten minutes between two questions."""
    async with (
        Cluster.start(http1_only=True) as cluster,
        running(
            command(stack), tmp_path, cluster.kubeconfig(tmp_path), profile, SETTINGS[profile],
            ask_after_seconds=ASK_SECONDS,
        ) as program,
    ):  # fmt: skip
        await program.observes("trigger-0")
        cluster.touch("second")
        await program.observes("second")
        kinds = [record.event for record in program.records]
        assert kinds[:4] == ["started", "watching", "asked", "observed"]
        assert len(program.events("asked")) >= len(program.events("observed")) >= 2
        assert program.violations == []
        started = program.events("started")[0]
        assert started.settings is not None
        assert ("retry_seconds" in started.settings) is (profile != "default")
        await program.process.stop()
        assert await program.ends() == 0


@EVERY_STACK
async def test_a_profile_that_it_cannot_do(stack: str, command: Arguments, tmp_path: Path) -> None:
    """Whatever it printed would be a row of the matrix for a setting that was never made."""
    for profile in ("no-such-profile", *(name for name in SETTINGS if name not in STACKS[stack].profiles)):
        folder = tmp_path / profile
        folder.mkdir()
        async with Cluster.start(http1_only=True) as cluster:
            known = SETTINGS.get(profile, Settings())
            kubeconfig = cluster.kubeconfig(folder)
            async with running(command(stack), folder, kubeconfig, profile, known, ask_after_seconds=60) as program:
                assert await program.ends() == 127, profile
                assert program.records == []


@EVERY_STACK
@pytest.mark.parametrize("profile", ["default", "retry"])
async def test_a_server_that_is_gone(stack: str, profile: str, command: Arguments, tmp_path: Path) -> None:
    """`default` ends with an error, `retry` asks again and gets its answer: else both would be called stuck."""
    async with Cluster.start(http1_only=True) as cluster, Relay.start(cluster.server.addresses[0]) as relay:
        kubeconfig = cluster.kubeconfig(tmp_path, relay.address)
        settings = Settings(retry_seconds=0.3) if profile == "retry" else Settings()
        async with running(
            command(stack), tmp_path, kubeconfig, profile, settings, ask_after_seconds=ASK_SECONDS
        ) as program:
            await program.observes("trigger-0")
            # It is accepted and hung up on before a word, and so it goes on until there is somebody again.
            relay.refusing = True
            relay.cut()
            if profile == "default":
                assert await program.ends() not in (0, 127)
            else:
                await program.until("an error", lambda: bool(program.events("error")))
                relay.refusing = False
                cluster.touch("back")
                await program.observes("back")


@EVERY_STACK
@pytest.mark.parametrize("profile", ["default", "retry"])
async def test_it_ends_while_it_connects(stack: str, profile: str, command: Arguments, tmp_path: Path) -> None:
    """A program that is told to end, as soon as it has started, would be called one that has died."""
    async with Cluster.start(http1_only=True) as cluster:
        with nobody_accepts() as address:
            kubeconfig, known = cluster.kubeconfig(tmp_path, address), SETTINGS[profile]
            async with running(command(stack), tmp_path, kubeconfig, profile, known, ask_after_seconds=60) as program:
                await program.until("started", lambda: bool(program.records))
                program.process.terminate()
                assert await program.ends() == 0, program.errors()
                assert program.events("error") == []


def test_curl_tells_no_answer_before_its_question(tmp_path: Path) -> None:
    """curl says both on pipes of their own; on a busy machine the answer's is read first."""
    stand_in = tmp_path / "curl"
    stand_in.write_text(
        """#!/bin/sh
        [ "$1" = --version ] && { echo curl 8.0.0 made-up; exit; }
        read -r _
        echo '{"metadata": {"resourceVersion": "1"}, "data": {"nonce": "one"}}'
        sleep 0.5
        printf '> GET /\\n< HTTP/1.1 200 OK\\n' >&2
        """
    )
    stand_in.chmod(0o755)
    clusters = [{"cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "ca.crt"}}]
    (tmp_path / "kubeconfig").write_text(json.dumps({"clusters": clusters, "users": [{"user": {"token": "t"}}]}))
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "WATCHER_NAMESPACE": "n", "WATCHER_NAME": "trigger", "WATCHER_PROFILE": "default", "WATCHER_POLL_SECONDS": "1",
    }  # fmt: skip
    program = Catalog.load().stacks["poll-curl"].folder / "poll.py"
    said = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, timeout=60)
    assert [json.loads(line)["event"] for line in said.stdout.splitlines()] == [
        "started", "watching", "asked", "observed",
    ]  # fmt: skip
