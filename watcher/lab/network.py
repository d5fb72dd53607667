"""The lab's links: harness ─ cluster, and for every cell client ─ path ─ cluster.

Every link has permanent neighbour entries. The kernel's neighbour table is one for the whole machine and cannot be
raised without root, so with resolved entries a few hundred links lose packets to its limit.
"""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from watcher.lab import nftables
from watcher.lab.addresses import (
    API_ADDRESS,
    OWN_SERVERS,
    POD_SIDE,
    SERVER_SIDE,
    VIRTUAL_ADDRESS,
    Link,
    Server,
    client_link,
    harness_link,
    own_link,
    server_link,
)
from watcher.lab.namespace import Namespace

CLUSTER = "cluster"
CLIENT_SIDE = "client"
"""Name of the path's interface towards the client."""

_NOBODY = {"silence": "blackhole", "unreachable": "unreachable"}
"""What a router answers for an address that is nobody's: its kind of route."""
_QUIET = {
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
}


@dataclass(frozen=True)
class CellNetwork:
    """The namespaces of one cell."""

    number: int
    client: Namespace
    path: Namespace
    virtual: str = VIRTUAL_ADDRESS
    """What the client connects to."""
    server: Server | None = None
    """Where the path leads; None is the API server of all cells."""
    direct: frozenset[str] = frozenset()
    """Servers' own addresses, where clients connect to these instead."""

    @classmethod
    def named(cls, number: int, virtual: str = VIRTUAL_ADDRESS, server: Server | None = None) -> CellNetwork:
        return cls(number, Namespace(f"client-{number}"), Namespace(f"path-{number}"), virtual, server)

    @property
    def fronts(self) -> frozenset[str]:
        """The addresses that are the server's to the client."""
        return self.direct or frozenset({self.virtual})

    @property
    def client_address(self) -> str:
        return client_link(self.number).near

    @property
    def node_address(self) -> str:
        """The path's own address, towards the cluster."""
        return server_link(self.number).near


def make_cluster() -> Namespace:
    """The cluster's namespace with the API server's address, linked to the harness (the namespace we are in)."""
    Namespace.create([CLUSTER])
    cluster = Namespace(CLUSTER)
    # It forwards: API servers of scenarios' own lie behind it.
    cluster.write_sysctls({**_QUIET, "net.ipv4.ip_forward": 1})
    link = harness_link()

    def outside() -> None:
        with IPRoute() as harness:
            harness.link("set", index=1, state="up")
            _add_veth(harness, "cluster", link.near_mac, cluster, "harness", link.far_mac)
            _set_up(harness, "cluster", link.near, link.prefix, (link.far, link.far_mac))
            _route(harness, API_ADDRESS, link.far)
            harness.route("add", dst=OWN_SERVERS, gateway=link.far)

    def inside() -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            ip.addr("add", index=1, address=API_ADDRESS, prefixlen=32)
            _set_up(ip, "harness", link.far, link.prefix, (link.near, link.near_mac))

    # pyroute2 drives an event loop of its own, which a thread that runs one already cannot lend it.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(outside).result()
    cluster.enter(inside)
    return cluster


def make_cell(network: CellNetwork, cluster: Namespace, *, owns_virtual: bool = True) -> None:
    """Links one cell; its namespaces exist already (``Namespace.create`` makes many at once).

    ``owns_virtual``: whether the path answers for the virtual address, as a load balancer does; a node's kernel does
    not, and what no rule of its kube-proxy takes is unreachable.
    """
    near, far = client_link(network.number), server_link(network.number)
    uplink = f"path-{network.number}"

    def inside_path() -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            if owns_virtual:
                ip.addr("add", index=1, address=network.virtual, prefixlen=32)
            _add_veth(ip, CLIENT_SIDE, near.far_mac, network.client, "path", near.near_mac)
            _add_veth(ip, SERVER_SIDE, far.near_mac, cluster, uplink, far.far_mac)
            _set_up(ip, CLIENT_SIDE, near.far, near.prefix, (near.near, near.near_mac))
            _set_up(ip, SERVER_SIDE, far.near, far.prefix, (far.far, far.far_mac))
            _route(ip, API_ADDRESS, far.far)
            ip.route("add", dst=OWN_SERVERS, gateway=far.far)

    def inside_client() -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            _set_up(ip, "path", near.near, near.prefix, (near.far, near.far_mac))
            ip.route("add", dst="default", gateway=near.far)

    def inside_cluster() -> None:
        with IPRoute() as ip:
            _set_up(ip, uplink, far.far, far.prefix, (far.near, far.near_mac))
            _route(ip, near.near, far.near)

    network.path.write_sysctls({**_QUIET, "net.ipv4.ip_forward": 1})
    network.client.write_sysctls(_QUIET)
    network.path.enter(inside_path)
    network.client.enter(inside_client)
    cluster.enter(inside_cluster)


def remove_cell(network: CellNetwork) -> None:
    """Takes the cell's links down, so that nothing of a closed cell stays in the cluster's namespace."""

    def inside_path() -> None:
        with IPRoute() as ip:
            for name in (CLIENT_SIDE, SERVER_SIDE, POD_SIDE):
                for index in ip.link_lookup(ifname=name):
                    ip.link("del", index=index)

    network.path.enter(inside_path)


def make_server(number: int, cluster: Namespace) -> Namespace:
    """A namespace for an API server of a scenario's own, at ``own_link(number).far``; the cluster is its router."""
    link, uplink = own_link(number), f"server-{number}"
    Namespace.create([uplink])
    server = Namespace(uplink)
    server.write_sysctls(_QUIET)

    def inside_cluster() -> None:
        with IPRoute() as ip:
            _add_veth(ip, uplink, link.near_mac, server, "cluster", link.far_mac)
            _set_up(ip, uplink, link.near, link.prefix, (link.far, link.far_mac))

    def inside_server() -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            _set_up(ip, "cluster", link.far, link.prefix, (link.near, link.near_mac))
            ip.route("add", dst="default", gateway=link.near)

    cluster.enter(inside_cluster)
    server.enter(inside_server)
    return server


def unplug_server(number: int, cluster: Namespace, answer: Literal["silence", "unreachable"]) -> None:
    """Takes the server's link away; for its address the cluster's router answers as said. A second time is harmless."""
    link = own_link(number)

    def inside_cluster() -> None:
        with IPRoute() as ip:
            ip.route("replace", dst=f"{link.far}/32", type=_NOBODY[answer])
            for index in ip.link_lookup(ifname=f"server-{number}"):
                ip.link("del", index=index)

    if answer == "unreachable":
        nftables.refuse_newcomers(cluster, link.far)
    cluster.enter(inside_cluster)


def remove_server(number: int, cluster: Namespace) -> None:
    """Takes its namespace, its link and what the router says of its address away; its processes have ended."""
    link, uplink = own_link(number), f"server-{number}"

    def inside_cluster() -> None:
        with IPRoute() as ip:
            for kind in _NOBODY.values():
                try:
                    ip.route("del", dst=f"{link.far}/32", type=kind)
                except NetlinkError as error:
                    if error.code != errno.ESRCH:
                        raise
            for index in ip.link_lookup(ifname=uplink):
                ip.link("del", index=index)

    cluster.enter(inside_cluster)
    nftables.admit_newcomers(cluster, link.far)
    Namespace.remove([uplink])


def _add_veth(ip: IPRoute, name: str, mac: str, peer: Namespace, peer_name: str, peer_mac: str) -> None:
    with peer.path.open() as peer_file:
        ip.link(
            "add",
            ifname=name,
            kind="veth",
            address=mac,
            peer={"ifname": peer_name, "address": peer_mac, "net_ns_fd": peer_file.fileno()},
        )


def _set_up(ip: IPRoute, name: str, address: str, prefix: int, neighbour: tuple[str, str]) -> None:
    index = ip.link_lookup(ifname=name)[0]
    ip.addr("add", index=index, address=address, prefixlen=prefix)
    ip.link("set", index=index, state="up")
    ip.neigh("add", dst=neighbour[0], lladdr=neighbour[1], ifindex=index, state="permanent")


def _route(ip: IPRoute, destination: str, gateway: str) -> None:
    ip.route("add", dst=f"{destination}/32", gateway=gateway)


__all__ = [
    "CLIENT_SIDE",
    "CLUSTER",
    "SERVER_SIDE",
    "CellNetwork",
    "Link",
    "make_cell",
    "make_cluster",
    "make_server",
    "remove_cell",
    "remove_server",
    "unplug_server",
]
