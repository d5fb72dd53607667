"""Who breaks the silence of a quiet flow, and how often: keepalive as packets show it, whatever was claimed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from watcher.judge.flows import Flow, Seen, later

ANSWER_SECONDS = 0.5
"""A packet this soon after the one before it is taken for its answer, not for somebody's own idea."""

PING_OCTETS = 64
"""Of payload, at most. In TLS a PING of HTTP/2 has 39, one of a WebSocket 24 to 50; requests and answers have more."""


@dataclass(frozen=True)
class Waking:
    """A packet that broke a silence."""

    by_client: bool
    t: float
    after_seconds: float
    probe: bool
    """A TCP keepalive probe: it repeats the sequence number before the next one."""
    ping: bool = False
    """A few octets of the client's, answered with a few: what a PING of HTTP/2 or a WebSocket is inside TLS."""


def wakings(flow: Flow, since: float, until: float) -> list[Waking]:
    """Each packet that broke a silence of the flow between the two times: who sent it, and after how long."""
    found: list[Waking] = []
    before: Seen | None = None
    known: dict[str, int] = {}
    for position, packet in enumerate(flow.packets):
        if packet.t > until:
            break
        ordinary = not packet.ends and "S" not in packet.flags
        probe = ordinary and packet.length <= 1 and known.get(packet.direction) == (packet.seq + 1) % (1 << 32)
        quiet = packet.t - before.t if before is not None else 0.0
        if ordinary and packet.sender != "path" and packet.t > since and quiet > ANSWER_SECONDS:
            ping = not probe and _is_ping(packet, flow.packets[position + 1 :])
            found.append(Waking(packet.direction == "to-server", packet.t, quiet, probe, ping))
        if not probe:
            known[packet.direction] = later(known.get(packet.direction), packet.next_seq)
        before = packet
    return found


def _is_ping(packet: Seen, following: Sequence[Seen]) -> bool:
    if packet.direction != "to-server" or not 0 < packet.length <= PING_OCTETS:
        return False
    for answer in following:
        if answer.t - packet.t > ANSWER_SECONDS:
            return False
        if answer.direction == "to-client" and answer.length:
            return answer.length <= PING_OCTETS
    return False


def pings(flows: Iterable[Flow], since: float, until: float) -> dict[str, float]:
    """The client's PINGs: how many, and the median time from one to the next; empty unless there are two on a flow."""
    count, between = 0, []
    for flow in flows:
        times = [waking.t for waking in wakings(flow, since, until) if waking.ping]
        if len(times) > 1:
            count += len(times)
            between += [later - earlier for earlier, later in pairwise(times)]
    return {"count": count, "interval_seconds": round(median(between), 3)} if between else {}


def probes(flows: Iterable[Flow], since: float, until: float) -> dict[str, dict[str, float]]:
    """TCP keepalive probes by side: how many, and the median silence before one. Sides without any are absent."""
    quiet: dict[str, list[float]] = {}
    for flow in flows:
        for waking in wakings(flow, since, until):
            if waking.probe:
                quiet.setdefault("client" if waking.by_client else "server", []).append(waking.after_seconds)
    return {side: {"count": len(times), "interval_seconds": round(median(times), 3)} for side, times in quiet.items()}


def measured(by_profile: dict[str, list[dict[str, Any]]]) -> str | None:
    """A stack's keepalive in words; None without any evidence.

    By profile, the evidence of each cell: ``keepalive_probes``, ``pings``, and ``undisturbed``, for how many seconds
    its flow was left to itself: that nothing came is worth no more than the time it was waited for.
    """
    words = []
    for profile, cells in by_profile.items():
        probed = [float(cell["keepalive_probes"]["client"]["interval_seconds"]) for cell in cells if _probed(cell)]
        pinged = [float(cell["pings"]["interval_seconds"]) for cell in cells if cell.get("pings")]
        said = [f"every {median(probed):.3g} s"] if probed else []
        said += [f"a PING every {median(pinged):.3g} s"] if pinged else []
        waited = max(cell["undisturbed"] for cell in cells)
        words.append(f"{profile}: {', '.join(said) or f'none in {waited:.3g} s'}")
    return "; ".join(words) or None


def _probed(cell: dict[str, Any]) -> bool:
    probes_seen = cell.get("keepalive_probes")
    return isinstance(probes_seen, dict) and isinstance(probes_seen.get("client"), dict)
