"""From sightings on two links to packets that travelled, and from packets to the client's flows.

A forwarded packet is seen on both links. One that is seen only where it would have arrived was made by the path; one
that is seen only where it set out was stopped by the path. All that the proofs say rests on this distinction.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from watcher.judge.facts import Sighting
from watcher.records import Direction

FORWARDING_SECONDS = 0.1
"""Most that two sightings of one packet may lie apart: the capture's jitter is some 50 ms, a retransmission 200 ms."""

JITTER_SECONDS = 0.05
"""By how much a packet's time and another record's may be out of step."""

WIDEST_WINDOW = 1 << 30
"""No receiver takes a packet that lies further ahead than this many octets (RFC 7323)."""

Sender = Literal["client", "server", "path"]
_WRAP = 1 << 32


class Seen(NamedTuple):
    """One packet on its way. ``at_client`` and ``at_server`` are its times on the two links, None where never seen."""

    t: float
    direction: Direction
    flags: str
    seq: int
    ack: int
    length: int
    at_client: float | None
    at_server: float | None
    peer: str | None = None
    """On the client's link the server's end had this address, not the one that the client connected to."""
    server: str | None = None
    """On the server's link it had this address, not that of the server that the path led to at first."""

    @property
    def crossed(self) -> bool:
        return self.at_client is not None and self.at_server is not None

    @property
    def sender(self) -> Sender:
        if self.direction == "to-client":
            return "path" if self.at_server is None else "server"
        return "path" if self.at_client is None else "client"

    @property
    def stopped(self) -> bool:
        """It set out and did not come through."""
        return self.sender != "path" and not self.crossed

    @property
    def ends(self) -> bool:
        return "R" in self.flags or "F" in self.flags

    @property
    def next_seq(self) -> int:
        return (self.seq + self.length + ("S" in self.flags) + ("F" in self.flags)) % _WRAP


class End(NamedTuple):
    """A FIN or RST of a flow."""

    t: float
    by: Sender
    flag: Literal["FIN", "RST"]
    direction: Direction
    arrived: bool
    exact: bool
    """Its sequence number is exactly the receiver's next: a bare RST with any other is ignored (RFC 5961)."""


@dataclass(frozen=True)
class Flow:
    """One TCP connection of the client, from its SYN (or the first packet seen) on; packets in order of time."""

    port: int
    packets: tuple[Seen, ...]
    ends: tuple[End, ...]
    established: float | None
    """When the client answered the server's SYN-ACK; None if that never happened."""

    @property
    def first(self) -> float:
        return self.packets[0].t

    @property
    def last(self) -> float:
        return self.packets[-1].t

    def client_end(self) -> End | None:
        """What first told the client that this flow is over, or the client's own end of it."""
        for end in self.ends:
            told = end.direction == "to-client" and end.arrived and (end.by != "path" or end.exact)
            if end.by == "client" or told:
                return end
        return None

    def open_at(self, t: float) -> bool:
        """Whether the client has an established connection here, as far as it can know."""
        end = self.client_end()
        return self.established is not None and self.established <= t and (end is None or end.t > t)

    def silent_since(self, seconds: float, until: float, *, data_only: bool = False) -> float | None:
        """The last packet before the first silence of that length on both links, if the flow was not over by then.

        ``data_only``: packets without data (and keepalive probes, which may carry one octet) break no silence.
        """
        before: float | None = None
        end = self.client_end()
        over = end.t if end is not None else None
        for packet in self.packets:
            if packet.t > until:
                break
            if data_only and before is not None and packet.length <= 1 and not packet.ends:
                continue
            if before is not None and packet.t - before >= seconds:
                return before
            before = packet.t
            if over is not None and before >= over:
                return None
        return before if before is not None and until - before >= seconds else None

    def silences(
        self, since: float, until: float, *, crossed: bool = False, data_only: bool = False
    ) -> Iterator[tuple[float, float]]:
        """Begin and end of each silence between packets (or only those that crossed, or carried data), the open one at
        the end too.
        """
        before = since
        for packet in self.packets:
            if packet.t > until:
                break
            if data_only and packet.length <= 1:
                continue
            if packet.t >= since and (packet.crossed or not crossed):
                yield before, packet.t
                before = packet.t
        yield before, until


def travelled(sightings: Iterable[Sighting]) -> list[Seen]:
    """Pairs up the two sightings of each packet, whatever address the path wrote into it. The result is in order of
    time, whatever that of the sightings.
    """
    return [packet for _, packet in _travelled(sightings)]


def _travelled(sightings: Iterable[Sighting]) -> list[tuple[int, Seen]]:
    waiting: dict[tuple[object, ...], deque[Sighting]] = defaultdict(deque)
    result: list[tuple[int, Seen]] = []
    for sight in sorted(sightings, key=lambda sight: sight[:8]):
        other = waiting["server" if sight.link == "client" else "client", *sight[2:8]]
        while other and sight.t - other[0].t > FORWARDING_SECONDS:
            lone = other.popleft()
            result.append((lone.port, _seen(lone, None)))
        if other:
            first = other.popleft()
            result.append((first.port, _seen(first, sight)))
        else:
            waiting[sight.link, *sight[2:8]].append(sight)
    result += [(lone.port, _seen(lone, None)) for rest in waiting.values() for lone in rest]
    result.sort(key=lambda item: (item[1].t, item[0], item[1].direction, item[1].seq))
    return result


def _seen(first: Sighting, second: Sighting | None) -> Seen:
    times = {first.link: first.t}
    if second is not None:
        times[second.link] = second.t
    return Seen(
        first.t,
        first.direction,
        first.flags,
        first.seq,
        first.ack,
        first.length,
        times.get("client"),
        times.get("server"),
        first.peer or (second.peer if second is not None else None),
        first.server or (second.server if second is not None else None),
    )


def flows(sightings: Iterable[Sighting]) -> tuple[Flow, ...]:
    """The client's flows by their first packet. A fresh SYN from a port that was used before begins another flow.

    Packets between the client and another address than the one that it connected to belong to none.
    """
    parts: list[tuple[int, list[Seen]]] = []
    current: dict[int, list[Seen]] = {}
    numbers: dict[int, int] = {}
    for port, packet in _travelled(sightings):
        if packet.peer is not None:
            continue
        opens = packet.direction == "to-server" and "S" in packet.flags
        if port not in current or (opens and numbers.get(port) != packet.seq):
            current[port] = []
            parts.append((port, current[port]))
        if opens:
            numbers[port] = packet.seq
        current[port].append(packet)
    return tuple(_flow(port, packets) for port, packets in parts)


def later(known: int | None, seen: int) -> int:
    """The later of two sequence numbers, which wrap at 2**32."""
    if known is None:
        return seen
    return seen if (seen - known) % _WRAP < _WRAP >> 1 else known


def beyond_window(known: int | None, seen: int) -> bool:
    """Whether a sequence number lies further ahead of the next one than any window reaches."""
    return known is not None and WIDEST_WINDOW < (seen - known) % _WRAP < _WRAP >> 1


def _flow(port: int, packets: list[Seen]) -> Flow:
    expected: dict[Direction, int | None] = {"to-client": None, "to-server": None}
    ends: list[End] = []
    answered = False
    established = None if "S" in packets[0].flags else packets[0].t
    for packet in packets:
        arrived = (packet.at_client if packet.direction == "to-client" else packet.at_server) is not None
        if packet.ends:
            exact = expected[packet.direction] is None or packet.seq == expected[packet.direction]
            flag: Literal["FIN", "RST"] = "RST" if "R" in packet.flags else "FIN"
            ends.append(End(packet.t, packet.sender, flag, packet.direction, arrived, exact))
        if arrived and "R" not in packet.flags and not beyond_window(expected[packet.direction], packet.seq):
            expected[packet.direction] = later(expected[packet.direction], packet.next_seq)
        if packet.direction == "to-client" and "S" in packet.flags and packet.at_client is not None:
            answered = True
        if established is None and answered and packet.direction == "to-server" and "S" not in packet.flags:
            established = packet.t
    return Flow(port, tuple(packets), tuple(ends), established)
