"""One cell's path at work: rules loaded, packets captured, idle flows ended the way the path ends them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from watcher.lab import conntrack, nftables, packets, sysctls
from watcher.lab.addresses import (
    API_ADDRESS,
    API_KEEPALIVE_PORT,
    API_PORT,
    VIRTUAL_PORT,
    Server,
)
from watcher.lab.capture import Capture
from watcher.lab.idle_reset import Expiry, IdleFlows
from watcher.lab.mute import MuteServer
from watcher.lab.network import CellNetwork
from watcher.lab.packets import Segment
from watcher.model import Balancer, Ending, InvalidPackets, ServerKeepalive, Timing
from watcher.records import Conntrack, Counters, Dropped, Entry, FlowKey, Link, Moment, Packet, PathAction, Sysctls

Emit = Callable[[Entry], None]


class PathPlan(Protocol):
    """What a path must be told; a ``CellPlan`` is one."""

    @property
    def id(self) -> object:
        """Its text is the ``cell`` of the path's records."""

    @property
    def timing(self) -> Timing: ...
    @property
    def ending(self) -> Ending: ...
    @property
    def server_keepalive(self) -> ServerKeepalive: ...
    @property
    def balancer(self) -> Balancer: ...
    @property
    def invalid_packets(self) -> InvalidPackets: ...
    @property
    def same_node(self) -> bool: ...


def prepare(plan: PathPlan, network: CellNetwork) -> None:
    """Gives a linked cell its sysctls and rules. Blocks for some 10 ms: meant for a thread."""
    network.path.write_sysctls(_path_sysctls(plan))
    network.client.write_sysctls(sysctls.endpoint(plan.timing.scale))
    server = server_of(plan, network) if plan.balancer is Balancer.LAB else None
    rules = nftables.rules(plan.ending, network.virtual, server, invalid=plan.invalid_packets)
    nftables.load(network.path, rules)


def server_of(plan: PathPlan, network: CellNetwork) -> Server:
    """Where the path leads at first."""
    if network.server is not None:
        return network.server
    return Server(API_ADDRESS, API_PORT if plan.server_keepalive is ServerKeepalive.OFF else API_KEEPALIVE_PORT)


class LabPath:
    """The path of one cell. Emits packets, conntrack, counters and what it did itself as journal records.

    ``most_octets`` bounds each of its two pcap files.
    """

    def __init__(
        self, plan: PathPlan, network: CellNetwork, folder: Path, emit: Emit, *, most_octets: int | None = None
    ) -> None:
        self.network = network
        self.mute = MuteServer(network.path, network.virtual, VIRTUAL_PORT)
        """Where new connections end up while the path leads nowhere, once it listens."""
        self._cell = str(plan.id)
        self._plan = plan
        self._first_server = server_of(plan, network).address
        self._emit = emit
        self.last_packet: dict[int, float] = {}
        """Per client port: when the last packet crossed the client's link."""
        self.last_payload: dict[int, float] = {}
        """Per client port: when the server last sent payload to the client."""
        self._resets = plan.ending in (Ending.RESET_BOTH, Ending.RESET_SERVER)
        self._idle = IdleFlows((plan.timing.idle_timeout_seconds or 0.0) + plan.timing.end_delay_seconds)
        self._raw = network.path.enter(_raw_socket) if self._resets else None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._capture = Capture(network.path, network.client_address, folder, self._see, most_octets=most_octets)

    def flows(self) -> tuple[FlowKey, ...]:
        """The client's flows that the path knows now."""
        return conntrack.flows(self.network.path, self.network.client_address, self.network.fronts)

    def next_numbers(self, port: int) -> tuple[int, int] | None:
        """What client and server expect next on the flow of this port; None where it is over."""
        return self._idle.numbers(port)

    @property
    def server(self) -> Server:
        """Where the path led when it was made."""
        return server_of(self._plan, self.network)

    @property
    def balancer(self) -> Balancer:
        return self._plan.balancer

    def lead_to(self, server: Server | None) -> None:
        """From now on sends new connections there; None: nowhere, they are refused. Only where the lab balances."""
        nftables.lead(self.network.path, self.network.virtual, server)

    def established(self) -> tuple[FlowKey, ...]:
        return tuple(flow for flow in self.flows() if flow.state == "ESTABLISHED")

    def reset(self, flows: Iterable[FlowKey]) -> None:
        """Forgets these flows and resets both sides, with exactly the numbers that they expect. Flows that are over by
        now are left alone. Blocks: meant for a thread.
        """
        client, network = self.network.client_address, self.network
        with network.path.enter(_raw_socket) as raw:
            for flow in flows:
                numbers = self.next_numbers(flow.port)
                if numbers is None:
                    continue
                conntrack.forget(network.path, client, flow.port, network.virtual)
                self._emit(PathAction(t=time.monotonic(), cell=self._cell, action="forgot", port=flow.port))
                address, _, port = (flow.server or f"{self.server.address}:{self.server.port}").rpartition(":")
                to_client, to_server = numbers
                segment = packets.reset((client, flow.port), (address, int(port)), to_server)
                raw.sendto(segment, (address, 0))
                segment = packets.reset((network.virtual, VIRTUAL_PORT), (client, flow.port), to_client)
                raw.sendto(segment, (client, 0))
                self._emit(PathAction(t=time.monotonic(), cell=self._cell, action="reset-server", port=flow.port))
                self._emit(PathAction(t=time.monotonic(), cell=self._cell, action="reset-client", port=flow.port))

    async def look(self, moment: Moment) -> None:
        """Records what the path's kernel knows and has counted, and pinned sysctls that read differently."""

        def read() -> tuple[Conntrack, Counters, Sysctls]:
            network, cell = self.network, self._cell
            known = Conntrack(t=time.monotonic(), cell=cell, moment=moment, flows=self.flows())
            counted = Counters(t=time.monotonic(), cell=cell, moment=moment, packets=nftables.counters(network.path))
            wrong = sysctls.wrong(network.path, _path_sysctls(self._plan))
            wrong |= sysctls.wrong(network.client, sysctls.endpoint(self._plan.timing.scale))
            return known, counted, Sysctls(t=time.monotonic(), cell=cell, moment=moment, wrong=wrong)

        for record in await asyncio.to_thread(read):
            self._emit(record)

    @property
    def not_kept(self) -> int:
        """Packets that came when a pcap file was full."""
        return self._capture.not_kept

    def drain(self) -> None:
        """Brings the record up to date with the kernel."""
        self._capture.drain()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        lost = self._capture.close()
        if lost:
            self._emit(Dropped(t=time.monotonic(), cell=self._cell, packets=lost))
        if self._raw is not None:
            self._raw.close()
        self.mute.close()

    def _see(self, at: float, link: Link, segment: Segment) -> None:
        self._emit(
            Packet(
                t=at,
                cell=self._cell,
                link=link,
                direction=segment.direction,
                port=segment.port,
                flags=segment.flags,
                seq=segment.seq,
                ack=segment.ack,
                length=segment.length,
                peer=segment.peer if link == "client" and segment.peer not in self.network.fronts else None,
                server=segment.peer if link == "server" and segment.peer != self._first_server else None,
            )
        )
        if link != "client":
            return
        if segment.peer not in self.network.fronts:
            return
        self.last_packet[segment.port] = at
        if segment.direction == "to-client" and segment.length:
            self.last_payload[segment.port] = at
        self._idle.see(segment, at)
        if self._resets:
            self._arm()

    def _arm(self) -> None:
        due = self._idle.next_expiry()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        # A packet may wait unread behind this very timer; the flow is not idle then.
        self._capture.drain()
        for expiry in self._idle.expire(time.monotonic()):
            task = asyncio.get_running_loop().create_task(self._reset(expiry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._arm()

    async def _reset(self, expiry: Expiry) -> None:
        client, port = self.network.client_address, expiry.port
        await asyncio.to_thread(conntrack.forget, self.network.path, client, port, self.network.virtual)
        self._emit(PathAction(t=time.monotonic(), cell=self._cell, action="forgot", port=port))
        assert self._raw is not None
        server = self.server
        to_server = packets.reset((client, port), (server.address, server.port), expiry.to_server_seq)
        self._raw.sendto(to_server, (server.address, 0))
        self._emit(PathAction(t=time.monotonic(), cell=self._cell, action="reset-server", port=port))
        if self._plan.ending is Ending.RESET_BOTH:
            to_client = packets.reset((self.network.virtual, VIRTUAL_PORT), (client, port), expiry.to_client_seq)
            self._raw.sendto(to_client, (client, 0))
            self._emit(PathAction(t=time.monotonic(), cell=self._cell, action="reset-client", port=port))


def _path_sysctls(plan: PathPlan) -> dict[str, int | str]:
    timeout = plan.timing.idle_timeout_seconds
    # A proxy counts data by itself; the path before it forgets nothing.
    forgets = timeout is not None and plan.ending is not Ending.CLOSE
    return sysctls.path(
        round(timeout) if forgets and timeout is not None else None,
        # A node's kernel does, by default; nowhere else is a flow forgotten that anybody still sends on.
        loose=plan.ending is Ending.BLOCKED_UNTIL_OUTBOUND or plan.same_node,
        liberal=plan.invalid_packets is InvalidPackets.LIBERAL,
    )


def _raw_socket() -> socket.socket:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setblocking(False)
    return raw
