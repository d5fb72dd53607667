"""The lab's addresses. All lie inside the lab's own namespaces; nothing else is ever a target.

A cell's number gives its two links, so that an address in a packet names its cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

VIRTUAL_ADDRESS = "10.96.0.1"
"""What clients connect to: the path's front, in every cell the same."""
VIRTUAL_PORT = 443
API_ADDRESS = "10.112.0.1"
"""The API server, inside the cluster's namespace."""
API_PORT = 6443
"""The API server's port without TCP keepalive of its own."""
API_KEEPALIVE_PORT = 6444
"""The API server's port with it."""
HARNESS_ADDRESS = "10.120.0.2"
"""The harness itself: updater, perfect client. It reaches the cluster without crossing any path."""
CLUSTER_HARNESS_ADDRESS = "10.120.0.1"

OWN_SERVICES = "10.96.1.0"
"""Virtual addresses of the scenarios' own API servers, where kube-proxy leads to them."""
OWN_SERVERS = "10.113.0.0/16"
"""API servers of scenarios' own, each at the end of a link to the cluster."""
MOST_OWN_SERVERS = 60
POLL_PORT = 6450
"""A server that keeps connections on which nobody asks."""
HISTORY_PORT = 6445
"""In the cluster's namespace: an API server that refuses history."""
PROXY_PORT = 6500
"""The first of the ports of the proxies before the API server, in the cluster's namespace."""
NATS_PORT = 6620
MQTT_PORT = 6621

HEADLESS_NAME = "server.headless.svc"
"""What clients connect to where no virtual address stands before the server."""

SERVER_SIDE = "server"
"""Name of the path's interface towards the cluster."""
POD_SIDE = "pod"
"""Name of its interface towards a server on the client's own node."""

CLIENT_RANGE = "10.16.0.0/12"
"""All clients' links; to kube-proxy, the addresses of the cluster's pods."""
_CLIENT_LINKS = int(IPv4Address("10.16.0.0"))
_SERVER_LINKS = int(IPv4Address("10.32.0.0"))
MOST_CELLS = 200_000


@dataclass(frozen=True)
class Link:
    """A point-to-point link /30: the end nearer to the client, and the one nearer to the server."""

    near: str
    far: str
    near_mac: str
    far_mac: str
    prefix: int = 30


def _mac(kind: int, number: int, end: int) -> str:
    octets = (0x02, kind, (number >> 16) & 255, (number >> 8) & 255, number & 255, end)
    return ":".join(f"{octet:02x}" for octet in octets)


def client_link(number: int) -> Link:
    """Client (near) to path (far)."""
    base = _CLIENT_LINKS + 4 * number
    return Link(str(IPv4Address(base + 2)), str(IPv4Address(base + 1)), _mac(1, number, 2), _mac(1, number, 1))


def server_link(number: int) -> Link:
    """Path (near) to cluster (far)."""
    base = _SERVER_LINKS + 4 * number
    return Link(str(IPv4Address(base + 1)), str(IPv4Address(base + 2)), _mac(2, number, 1), _mac(2, number, 2))


@dataclass(frozen=True)
class Server:
    """Where a path leads."""

    address: str
    port: int
    introduced: bool = False
    """A proxy before it must say whom it brings (the PROXY protocol): it tells clients apart by their addresses."""


def own_link(number: int) -> Link:
    """Cluster (near) to an API server of a scenario's own (far); numbers from 1."""
    base = int(IPv4Address(OWN_SERVERS.partition("/")[0])) + 4 * number
    return Link(str(IPv4Address(base + 1)), str(IPv4Address(base + 2)), _mac(4, number, 1), _mac(4, number, 2))


def pod_link(number: int) -> Link:
    """Path (near) to a server on the client's own node (far), of the cell of this number. Such a link has no addresses:
    each end has a route for the other's.
    """
    return Link("", "", _mac(5, number, 1), _mac(5, number, 2), prefix=32)


def own_virtual(number: int) -> str:
    """The ClusterIP of that API server's own Service."""
    return str(IPv4Address(OWN_SERVICES) + number)


def harness_link() -> Link:
    """Harness (near) to cluster (far)."""
    return Link(HARNESS_ADDRESS, CLUSTER_HARNESS_ADDRESS, _mac(3, 0, 2), _mac(3, 0, 1))


def cell_number(client_address: str) -> int | None:
    """The cell whose client has this address; None for any other address."""
    offset = int(IPv4Address(client_address)) - _CLIENT_LINKS
    return offset // 4 if 0 <= offset < 4 * MOST_CELLS else None
