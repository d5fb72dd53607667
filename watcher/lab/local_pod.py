"""A server's pod on the client's own node: a link between the two, and what the node does when the pod is deleted.

Nodes route as Calico makes them do: a route for the pod's one address to its link, and beneath it a blackhole for the
block of addresses that the node has (projectcalico/calico#8953 shows such a table). When the link goes, that stays.
"""

from __future__ import annotations

from pyroute2 import IPRoute

from watcher.lab import conntrack
from watcher.lab.addresses import POD_SIDE, pod_link
from watcher.lab.namespace import Namespace
from watcher.lab.network import CellNetwork

_BENEATH = 1000
"""The blackhole's metric: greater than that of the route to the link."""


def attach(network: CellNetwork, pod: Namespace, address: str) -> None:
    """Links the cell's path to the server of that address, past the cluster, both ways. The cell is linked already."""
    link, uplink, client = pod_link(network.number), f"node-{network.number}", network.client_address

    def inside_path() -> None:
        with IPRoute() as ip, pod.path.open() as pod_file:
            ip.link(
                "add",
                ifname=POD_SIDE,
                kind="veth",
                address=link.near_mac,
                peer={"ifname": uplink, "address": link.far_mac, "net_ns_fd": pod_file.fileno()},
            )
            _lead(ip, POD_SIDE, address, link.far_mac)

    def inside_pod() -> None:
        with IPRoute() as ip:
            _lead(ip, uplink, client, link.near_mac)

    network.path.enter(inside_path)
    pod.enter(inside_pod)


def delete(network: CellNetwork, address: str) -> int:
    """Takes the pod from the node: its link, with the route, and every flow that conntrack leads to it; returns how
    many these were. In this order, as Calico's agent does it. A second time is harmless.
    """

    def inside_path() -> None:
        with IPRoute() as ip:
            for index in ip.link_lookup(ifname=POD_SIDE):
                ip.link("del", index=index)

    network.path.enter(inside_path)
    return conntrack.forget_server(network.path, address)


def _lead(ip: IPRoute, name: str, address: str, mac: str) -> None:
    """Everything for this address to the link, and nowhere else once that is gone."""
    index = ip.link_lookup(ifname=name)[0]
    ip.link("set", index=index, state="up")
    ip.route("add", dst=f"{address}/32", type="blackhole", priority=_BENEATH)
    ip.route("add", dst=f"{address}/32", oif=index, scope="link")
    ip.neigh("add", dst=address, lladdr=mac, ifindex=index, state="permanent")
