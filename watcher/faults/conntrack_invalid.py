"""A packet of the server's that the path's conntrack calls INVALID, on every established flow.

In the report (kubernetes/kubernetes#74839) load made it so: the packet was outside the window, or conntrack's table was
full. Here the lab makes that one packet by hand and sends it from the server's side; whatever comes of it is the
kernels' own doing. Where nobody drops it, it reaches the client with the server's own address, for nothing translates
an INVALID packet; the client's kernel knows no such connection and resets that address; to the server this is a reset
of its connection, exact to the octet (RFC 5961), and it closes. The client's socket stays as it was.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from watcher.lab import packets
from watcher.lab.scene import Scene
from watcher.records import FlowKey

NEEDS: frozenset[str] = frozenset()
ANSWERS_PROBES = True

BEYOND_WINDOW = 3 << 29
"""How far ahead of the client's next number the packet lies.

A window is at most 2**30 octets (RFC 7323), and what lies 2**31 ahead counts as behind. conntrack refuses only what is
ahead: an old packet may be a retransmission that the client is waiting to acknowledge, and is let through.
"""


def apply(scene: Scene) -> tuple[FlowKey, ...] | None:
    flows = scene.path.established()
    made = [packet for flow in flows if (packet := _packet(scene, flow)) is not None]
    scene.cluster.enter(lambda: _send(scene.path.network.client_address, made))
    return flows


def heal(_scene: Scene) -> None:
    return None


def _packet(scene: Scene, flow: FlowKey) -> bytes | None:
    """None where the flow ends just now: there is no number to be exact about."""
    numbers = scene.path.next_numbers(flow.port)
    if numbers is None or flow.server is None:
        return None
    to_client, to_server = numbers
    address, _, port = flow.server.rpartition(":")
    client = (scene.path.network.client_address, flow.port)
    return packets.stray((address, int(port)), client, (to_client + BEYOND_WINDOW) % (1 << 32), to_server)


def _send(client_address: str, made: Iterable[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in made:
            raw.sendto(packet, (client_address, 0))
