"""kube-proxy's command line and credentials, and what a run lacks for it, without the program itself."""

from __future__ import annotations

import base64
import json
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from watcher.lab import sandbox
from watcher.lab.addresses import API_ADDRESS, API_KEEPALIVE_PORT, CLIENT_RANGE, MOST_CELLS, client_link, server_link
from watcher.lab.control_plane import admission, kube_proxy
from watcher.lab.control_plane.binaries import Binaries
from watcher.model import Balancer

MODES = {Balancer.KUBE_PROXY_IPTABLES: "iptables", Balancer.KUBE_PROXY_NFTABLES: "nftables"}


def binaries(proxy: Path | None) -> Binaries:
    return Binaries(Path("a-folder"), Path("kube-apiserver"), Path("etcd"), proxy, "1.36.3", "3.6.0", "test")


@pytest.mark.parametrize("balancer", MODES)
def test_it_leaves_the_pinned_sysctls_alone(balancer: Balancer) -> None:
    """kube-proxy's own defaults overwrite the conntrack timeouts that a cell is decided by, and the machine's limit."""
    line = kube_proxy.arguments(Path("kube-proxy"), balancer, "path-1", Path("kubeconfig"))
    assert f"--proxy-mode={MODES[balancer]}" in line
    assert {
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
        "--conntrack-max-per-core=0",
    } <= set(line)


def test_every_client_and_no_node_is_a_pod_to_it() -> None:
    """It hides the address of whoever is no pod, and packets on the server's link could no more be told apart."""
    pods = ip_network(CLIENT_RANGE)
    for number in (1, MOST_CELLS):
        assert ip_address(client_link(number).near) in pods
        assert ip_address(server_link(number).near) not in pods


def test_it_asks_the_server_itself_and_verifies_it() -> None:
    """By the virtual address it would wait for its own rules."""
    read = json.loads(kube_proxy.access("the authority", "a-token"))
    cluster = read["clusters"][0]["cluster"]
    assert cluster == {
        "server": f"https://{API_ADDRESS}:{API_KEEPALIVE_PORT}",
        "certificate-authority-data": base64.b64encode(b"the authority").decode(),
    }


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cell that is left out must say what to do about it, and none may be left out that could be run."""
    monkeypatch.setattr(sandbox, "SYSTEM_FOLDERS", (str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {reason[:28] for reason in kube_proxy.missing(None).values()} == {"needs the real control plane"}
    assert set(kube_proxy.missing(None)) == set(MODES) == set(kube_proxy.missing(binaries(None)))
    assert "a-folder" in kube_proxy.missing(binaries(None))[Balancer.KUBE_PROXY_NFTABLES]
    without = kube_proxy.missing(binaries(Path("kube-proxy")))
    assert set(without) == {Balancer.KUBE_PROXY_IPTABLES}
    assert "apt-get install iptables" in without[Balancer.KUBE_PROXY_IPTABLES]
    for tool in ("iptables", "iptables-save", "iptables-restore"):
        (tmp_path / tool).touch(mode=0o755)
    assert kube_proxy.missing(binaries(Path("kube-proxy"))) == {}


def test_a_node_has_the_address_that_kube_proxy_waits_for() -> None:
    """Without one it ends after half a minute."""
    made = admission.node("path-1", "10.32.0.5")
    assert made["status"]["addresses"] == [{"type": "InternalIP", "address": "10.32.0.5"}]
