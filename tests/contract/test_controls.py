"""The two controls keep the contract, and do what makes them controls."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.contract.running import Cluster, Relay, control, running
from watcher.lab.control_plane.watches import Timers
from watcher.model import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets through Linux's /proc")

QUICKLY_SECONDS = 10.0
"""What a real touch has."""


async def test_perfect_sees_everything(tmp_path: Path) -> None:
    """Each touch that the perfect control misses makes a whole scenario invalid."""
    # Its watches also end of their own accord, twice a second or so.
    async with (
        Cluster.start(Timers(watch_timeout_seconds=(0.4, 0.6))) as cluster,
        Relay.start(cluster.server.addresses[0]) as relay,
        running(control("perfect"), tmp_path, cluster.kubeconfig(tmp_path, relay.address), "default", Settings()) as it,
    ):
        await it.until("watching", lambda: bool(it.events("watching")))
        for number in range(6):
            cluster.touch(f"nonce-{number}")
            cluster.touch(f"other-{number}", "another")
            await it.observes(f"nonce-{number}", QUICKLY_SECONDS)
            relay.cut()
            await asyncio.sleep(0.1)
        assert it.violations == []
        assert not [nonce for nonce in it.nonces() if nonce is None or nonce.startswith("other")]
        assert len(it.events("watching")) >= 6, "cut six times"
    assert it.status == 0


async def test_deaf_observes_the_control_touch_and_then_nothing(tmp_path: Path) -> None:
    """A deaf control that hears, or that dies, makes the harness distrust itself."""
    async with (
        Cluster.start() as cluster,
        running(control("deaf"), tmp_path / "deaf", cluster.kubeconfig(tmp_path), "default", Settings()) as deaf,
        running(control("perfect"), tmp_path / "p", cluster.kubeconfig(tmp_path), "default", Settings()) as perfect,
    ):
        for it in (deaf, perfect):
            await it.observes("trigger-0")
        cluster.touch("control")
        await deaf.observes("control", QUICKLY_SECONDS)
        cluster.touch("touch")
        await perfect.observes("touch", QUICKLY_SECONDS)
        await asyncio.sleep(1)
        assert deaf.nonces() == ["trigger-0", "control"]
        assert deaf.status is None
        (socket,) = deaf.sockets()
        assert socket.keepalive is False
        assert deaf.violations == []
    assert deaf.status == 0


async def test_deaf_stays_when_its_connection_ends(tmp_path: Path) -> None:
    """Where the path resets flows, deaf must still be `stuck`, not `died`."""
    async with (
        Cluster.start() as cluster,
        Relay.start(cluster.server.addresses[0]) as relay,
        running(control("deaf"), tmp_path, cluster.kubeconfig(tmp_path, relay.address), "default", Settings()) as deaf,
    ):
        await deaf.observes("trigger-0")
        cluster.touch("control")
        await deaf.observes("control", QUICKLY_SECONDS)
        relay.cut()
        cluster.touch("touch")
        await asyncio.sleep(1)
        assert deaf.status is None
        assert deaf.nonces() == ["trigger-0", "control"]


async def test_deaf_says_so_when_it_never_heard(tmp_path: Path) -> None:
    """A deaf control without its control touch would be `stuck` for the wrong reason."""
    async with (
        Cluster.start(Timers(watch_timeout_seconds=(0.5, 0.5))) as cluster,
        running(control("deaf"), tmp_path, cluster.kubeconfig(tmp_path), "default", Settings()) as deaf,
    ):
        assert await deaf.ends() not in (0, 127)
        assert "control touch" in deaf.errors()
