"""The real kube-proxy in a cell's path: it makes the rules that send the virtual address on to the API server.

The virtual address is the ClusterIP of the Service ``default/kubernetes``, which the API server keeps by itself. Each
path is a node of its own, so that no cell's rules or restarts reach another's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from watcher.errors import ControlPlaneFailure, LabFailure
from watcher.lab import conntrack, sandbox
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, CLIENT_RANGE, VIRTUAL_PORT
from watcher.lab.control_plane.binaries import Binaries
from watcher.lab.control_plane.component import Component
from watcher.lab.network import CellNetwork
from watcher.model import Balancer

LOG = "kube-proxy.log"
RULES = "kube-proxy-rules.txt"
"""What it made of the Service, in the words of the kernel's own tool; beside the log, in the cell's folder."""
READY_SECONDS = 30.0
"""Where the machine is busy; below 1 s where it is not."""
_CONNECT_SECONDS = 0.25
"""Before the rules are there, most attempts meet silence: the kernel says only once a second that there is no way."""
_PAUSE_SECONDS = 0.05

_MODES = {Balancer.KUBE_PROXY_IPTABLES: "iptables", Balancer.KUBE_PROXY_NFTABLES: "nftables"}
_LISTS = {Balancer.KUBE_PROXY_IPTABLES: ["iptables-save"], Balancer.KUBE_PROXY_NFTABLES: ["nft", "list", "ruleset"]}
_IPTABLES = ("iptables", "iptables-save", "iptables-restore")


def missing(control_plane: Binaries | None) -> dict[Balancer, str]:
    """Why a run with this control plane (None is the embedded one) cannot have a balancer; empty where it can."""
    if control_plane is None:
        return dict.fromkeys(
            _MODES, "needs the real control plane, which has Services for kube-proxy: `watcher build control-plane`"
        )
    if control_plane.kube_proxy is None:
        reason = f"needs kube-proxy, which {control_plane.folder} does not have: `watcher build control-plane` makes it"
        return dict.fromkeys(_MODES, reason)
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *sandbox.SYSTEM_FOLDERS))
    lacking = [tool for tool in _IPTABLES if shutil.which(tool, path=places) is None]
    if lacking:
        return {Balancer.KUBE_PROXY_IPTABLES: f"needs {lacking[0]}: apt-get install iptables"}
    return {}


def arguments(binary: Path, balancer: Balancer, node: str, kubeconfig: Path) -> list[str]:
    """kube-proxy as a release sets it, except that it leaves the path's pinned sysctls and the machine's limits alone.

    Clients are the cluster's own pods, by ``--cluster-cidr``: from others it would hide their addresses.
    """
    return [
        str(binary),
        f"--proxy-mode={_MODES[balancer]}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node}",
        f"--cluster-cidr={CLIENT_RANGE}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
        "--oom-score-adj=0",
        "--healthz-bind-address=127.0.0.1:10256",
        "--metrics-bind-address=127.0.0.1:10249",
    ]


def access(ca_pem: str, token: str) -> str:
    """For the API server as a node reaches it: by its own address, since the virtual one is kube-proxy's work."""
    authority = base64.b64encode(ca_pem.encode()).decode()
    server = f"https://{API_ADDRESS}:{API_KEEPALIVE_PORT}"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "kube-proxy"}}],
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": "kube-proxy", "user": {"token": token}}],
        }
    )


class KubeProxy:
    """The kube-proxy of one cell's path, running."""

    def __init__(
        self, component: Component, balancer: Balancer, network: CellNetwork, folder: Path, private: Path
    ) -> None:
        self._component = component
        self._balancer = balancer
        self._network = network
        self._folder = folder
        self._private = private

    @classmethod
    async def start(
        cls, binary: Path, balancer: Balancer, network: CellNetwork, kubeconfig: str, *, folder: Path
    ) -> KubeProxy:
        """Returns at once; its log goes to ``folder``, its credentials to the sandbox's own tmpfs."""
        private = Path(tempfile.mkdtemp(prefix=f"kube-proxy-{network.number}-", dir=sandbox.SCRATCH))
        file = private / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(kubeconfig)
        line = arguments(binary, balancer, network.path.name, file)
        log = folder / LOG
        component = await Component.start("kube-proxy", line, namespace=network.path, log=log, folder=private)
        return cls(component, balancer, network, folder, private)

    async def ready(self) -> None:
        """Waits until a fresh connection of the client's to the virtual address works, then keeps the rules.

        Raises ControlPlaneFailure, naming the log, when kube-proxy ends or does not get there.
        """
        connecting, ended = asyncio.create_task(self._connected()), asyncio.create_task(self._component.ended())
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
            await (ended if ended.done() else connecting)
        except TimeoutError as error:
            raise ControlPlaneFailure(
                f"kube-proxy had no rules for {self._network.virtual}:{VIRTUAL_PORT} after {READY_SECONDS:g} s",
                log=str(self._component.log),
            ) from error
        finally:
            for task in (connecting, ended):
                task.cancel()
            await asyncio.gather(connecting, ended, return_exceptions=True)
        await asyncio.to_thread(self._keep_rules)

    def check(self) -> None:
        """Raises ControlPlaneFailure when it has ended: from then on nobody would keep its rules."""
        if not self._component.running:
            raise ControlPlaneFailure("kube-proxy ended before the touch", log=str(self._component.log))

    def memory_mib(self) -> float | None:
        """Largest resident memory so far, in MiB."""
        return self._component.memory_mib()

    async def stop(self) -> None:
        """Ends it; its rules stay until their namespace goes."""
        await self._component.stop()
        shutil.rmtree(self._private, ignore_errors=True)

    async def _connected(self) -> None:
        while not await asyncio.to_thread(self._network.client.enter, self._connect):  # noqa: ASYNC110 - rules appear, nothing tells of it
            await asyncio.sleep(_PAUSE_SECONDS)

    def _connect(self) -> bool:
        """Whether it works; the path does not remember it, since it is none of the client's flows."""
        try:
            with socket.create_connection((self._network.virtual, VIRTUAL_PORT), timeout=_CONNECT_SECONDS) as made:
                port = made.getsockname()[1]
        except OSError:
            return False
        conntrack.forget(self._network.path, self._network.client_address, port, self._network.virtual)
        return True

    def _keep_rules(self) -> None:
        command = _LISTS[self._balancer]
        listed = self._network.path.enter(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
        if listed.returncode:
            raise LabFailure(f"{command[0]} cannot list the rules of kube-proxy: {listed.stderr.strip()}")
        (self._folder / RULES).write_text(listed.stdout)
