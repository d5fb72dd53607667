"""A load balancer that resets idle flows: who has been idle for how long, and the next sequence number of each side.

Pure. The kernel's conntrack forgets an idle flow but tells nobody; clouds that reset it must follow its numbers,
and so does this. The edge (``lab/path.py``) feeds it packets and sends what it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from watcher.lab.packets import Segment


@dataclass
class _Flow:
    last: float
    to_client: int | None = None
    to_server: int | None = None


@dataclass(frozen=True)
class Expiry:
    """A flow that has been idle for the whole timeout, and what each side expects next."""

    port: int
    to_client_seq: int
    to_server_seq: int


class IdleFlows:
    """Follows a client's flows. Times are seconds on any one monotonic clock."""

    def __init__(self, idle_timeout_seconds: float) -> None:
        self._idle_timeout = idle_timeout_seconds
        self._flows: dict[int, _Flow] = {}

    def see(self, segment: Segment, time: float) -> None:
        """A packet on the client's link. A flow that either side has begun to end is followed no longer."""
        if "R" in segment.flags or "F" in segment.flags:
            self._flows.pop(segment.port, None)
            return
        if segment.flags == "S":
            self._flows[segment.port] = _Flow(last=time)
        flow = self._flows.get(segment.port)
        if flow is None:
            return
        flow.last = max(flow.last, time)
        if segment.direction == "to-client":
            flow.to_client = _later(flow.to_client, segment.next_seq)
        else:
            flow.to_server = _later(flow.to_server, segment.next_seq)

    def numbers(self, port: int) -> tuple[int, int] | None:
        """The next sequence numbers to the client and to the server; None where the flow is over or half-open."""
        flow = self._flows.get(port)
        if flow is None or flow.to_client is None or flow.to_server is None:
            return None
        return flow.to_client, flow.to_server

    def next_expiry(self) -> float | None:
        """When the first flow will have been idle for the timeout, if no packet comes; None without flows."""
        return min((flow.last + self._idle_timeout for flow in self._flows.values()), default=None)

    def expire(self, now: float) -> list[Expiry]:
        """Takes out all flows that are idle for the timeout at ``now``; half-open ones go without an expiry."""
        expired = []
        for port, flow in list(self._flows.items()):
            if now - flow.last >= self._idle_timeout:
                del self._flows[port]
                if flow.to_client is not None and flow.to_server is not None:
                    expired.append(Expiry(port, flow.to_client, flow.to_server))
        return expired


def _later(known: int | None, seen: int) -> int:
    """The later of two sequence numbers, which wrap at 2**32: a keepalive probe repeats an old one."""
    if known is None:
        return seen
    return seen if (seen - known) % (1 << 32) < 1 << 31 else known
