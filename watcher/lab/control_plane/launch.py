"""The embedded control plane in the cluster's namespace: started, watched, and ended with the lab."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import ControlPlaneFailure, LabFailure
from watcher.lab.addresses import (
    API_ADDRESS,
    API_KEEPALIVE_PORT,
    API_PORT,
    HEADLESS_NAME,
    MOST_OWN_SERVERS,
    VIRTUAL_ADDRESS,
    own_link,
    own_virtual,
)
from watcher.lab.control_plane.certificates import Authority
from watcher.lab.control_plane.running import Access
from watcher.lab.namespace import Namespace
from watcher.lab.sandbox import SCRATCH

READY_SECONDS = 30.0

# kube-apiserver's own timers, in true seconds; the embedded one's are divided by the scale.
SERVER_KEEPALIVE_SECONDS = (180.0, 15.0)
"""Idle, and the interval that Go keeps when only the idle time is given (net.KeepAliveConfig)."""
BOOKMARK_SECONDS = 61.0
BOOKMARK_LEAD_SECONDS = 2.0
FRESHNESS_SECONDS = 3.0
WATCH_SECONDS = (1800.0, 3600.0)
IDLE_SECONDS = 90.0


@dataclass(frozen=True)
class Unservable:
    """A request that this control plane does not serve, and the address it came from."""

    peer: str
    what: str


class EmbeddedControlPlane:
    """The embedded control plane, running."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, access: Access, log: Path, serving: tuple[Path, Path]
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self.access = access
        self.serving = serving
        self.version = ""

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        cluster: Namespace,
        folder: Path,
        *,
        scale: float,
        unserved: Callable[[Unservable], None],
        name: str = "control-plane",
        listeners: Sequence[str] | None = None,
        idle_seconds: float = IDLE_SECONDS,
        like: EmbeddedControlPlane | None = None,
        ignore_sigterm: bool = False,
    ) -> AsyncIterator[EmbeddedControlPlane]:
        """Ready when entered. Raises ControlPlaneFailure, naming the log, when it does not get there.

        ``listeners``: where it listens, as its command line takes it, the first of them for us; default is one port
        without TCP keepalive and one with. ``idle_seconds`` (true ones): how long it keeps a connection that nobody
        asks on. ``like``: whose certificate and token it has, so that one can take over from the other; what they keep
        they do not share. ``ignore_sigterm``: SIGKILL alone ends it.
        """
        log = folder / f"{name}.log"
        private = SCRATCH / name
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        if like is None:
            authority = Authority.make()
            certificate, key = private / "serving.crt", private / "serving.key"
            numbers = range(1, MOST_OWN_SERVERS + 1)
            own = [name for number in numbers for name in (own_link(number).far, own_virtual(number))]
            authority.issue([API_ADDRESS, VIRTUAL_ADDRESS, *own, HEADLESS_NAME], certificate, key)
            ca_pem, token = authority.ca_pem, secrets.token_urlsafe(32)
        else:
            ca_pem, token = like.access.ca_pem, like.access.token
            certificate, key = like.serving
        (private / "token").write_text(token)
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                "nsenter",
                f"--net={cluster.path}",
                "--",
                *_arguments(scale, certificate, key, private / "token", listeners or _listeners(scale), idle_seconds),
                *(["--ignore-sigterm"] if ignore_sigterm else []),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        address, _, port = (listeners or _listeners(scale))[0].partition(",")[0].rpartition(":")
        running = cls(name, process, Access(address, int(port), ca_pem, token), log, (certificate, key))
        try:
            await running._ready()
            reading = asyncio.create_task(running._read(unserved))
            try:
                yield running
            finally:
                reading.cancel()
        finally:
            await running._stop()

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """A fault, where it stands beside the run's control plane. Does nothing when it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def gone(self) -> None:
        """Waits until it has ended, as it was asked to."""
        await self._process.wait()

    async def admit(self, namespace: str) -> str:  # noqa: ARG002 - it knows one token, which may do everything it serves
        """The one token there is: the embedded control plane has no RBAC."""
        return self.access.token

    async def admit_node(self, name: str, address: str) -> str:  # noqa: ARG002 - there is nothing to admit it to
        """Raises LabFailure: this control plane has neither Nodes nor Services."""
        raise LabFailure("kube-proxy needs the real control plane")

    async def ended(self) -> None:
        """Waits until it ends, which it never does of its own accord: then raises ControlPlaneFailure."""
        status = await self._process.wait()
        raise ControlPlaneFailure(f"the control plane ended during the run (status {status})", log=str(self.log))

    async def _ready(self) -> None:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"the control plane was not ready after {READY_SECONDS:g} s", log=str(self.log)
            ) from error
        if not line:
            status = await self._process.wait()
            raise ControlPlaneFailure(f"the control plane ended at its start (status {status})", log=str(self.log))
        self.version = str(json.loads(line)["version"])

    async def _read(self, unserved: Callable[[Unservable], None]) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "unserved":
                unserved(Unservable(peer=event["peer"], what=event["what"]))

    async def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _listeners(scale: float) -> list[str]:
    idle, interval = (max(1, round(seconds / scale)) for seconds in SERVER_KEEPALIVE_SECONDS)
    return [
        f"{API_ADDRESS}:{API_PORT},keepalive=off",
        f"{API_ADDRESS}:{API_KEEPALIVE_PORT},keepalive={idle}/{interval}/9",
    ]


def _arguments(
    scale: float, certificate: Path, key: Path, token: Path, listeners: Sequence[str], idle_seconds: float
) -> list[str]:
    return [
        sys.executable,
        "-m",
        "watcher.lab.control_plane.embedded",
        *(f"--listen={listener}" for listener in listeners),
        f"--certificate={certificate}",
        f"--key={key}",
        f"--token-file={token}",
        f"--bookmark-interval={BOOKMARK_SECONDS / scale:g}",
        f"--bookmark-lead={BOOKMARK_LEAD_SECONDS / scale:g}",
        "--watch-timeout=" + "-".join(f"{seconds / scale:g}" for seconds in WATCH_SECONDS),
        f"--freshness={FRESHNESS_SECONDS / scale:g}",
        f"--idle-timeout={idle_seconds / scale:g}",
    ]


__all__ = ["Access", "EmbeddedControlPlane", "Unservable"]
