"""The established flow dies in both directions without a word, while new connections work."""

from __future__ import annotations

from watcher.lab import nftables
from watcher.lab.path import LabPath
from watcher.records import FlowKey

NEEDS = frozenset({"path"})


def apply(path: LabPath) -> tuple[FlowKey, ...] | None:
    flows = path.established()
    network = path.network
    ports = [flow.port for flow in flows]
    nftables.cut(network.path, network.client_address, ports, to_server=True, to_client=True)
    return flows


def heal(path: LabPath) -> None:
    nftables.mend(path.network.path)
