"""Who breaks the silence of a quiet flow, and how often: keepalive as packets show it, whatever was claimed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from watcher.judge.flows import Flow, Seen, later

ANSWER_SECONDS = 0.5
"""A packet this soon after the one before it is taken for its answer, not for somebody's own idea."""


@dataclass(frozen=True)
class Waking:
    """A packet that broke a silence."""

    by_client: bool
    t: float
    after_seconds: float
    probe: bool
    """A TCP keepalive probe: it repeats the sequence number before the next one."""


def wakings(flow: Flow, since: float, until: float) -> list[Waking]:
    """Each packet that broke a silence of the flow between the two times: who sent it, and after how long."""
    found: list[Waking] = []
    before: Seen | None = None
    known: dict[str, int] = {}
    for packet in flow.packets:
        if packet.t > until:
            break
        ordinary = not packet.ends and "S" not in packet.flags
        probe = ordinary and packet.length <= 1 and known.get(packet.direction) == (packet.seq + 1) % (1 << 32)
        quiet = packet.t - before.t if before is not None else 0.0
        if ordinary and packet.sender != "path" and packet.t > since and quiet > ANSWER_SECONDS:
            found.append(Waking(packet.direction == "to-server", packet.t, quiet, probe))
        if not probe:
            known[packet.direction] = later(known.get(packet.direction), packet.next_seq)
        before = packet
    return found


def probes(flows: Iterable[Flow], since: float, until: float) -> dict[str, dict[str, float]]:
    """TCP keepalive probes by side: how many, and the median silence before one. Sides without any are absent."""
    quiet: dict[str, list[float]] = {}
    for flow in flows:
        for waking in wakings(flow, since, until):
            if waking.probe:
                quiet.setdefault("client" if waking.by_client else "server", []).append(waking.after_seconds)
    return {side: {"count": len(times), "interval_seconds": round(median(times), 3)} for side, times in quiet.items()}


def measured(by_profile: dict[str, list[tuple[object, float]]]) -> str | None:
    """A stack's keepalive in words; None without any evidence.

    By profile, each cell's ``keepalive_probes`` evidence and for how many seconds its flow was left to itself: that
    nothing came is worth no more than the time it was waited for.
    """
    words = []
    for profile, cells in by_profile.items():
        intervals = []
        for probes_seen, _ in cells:
            side = probes_seen.get("client") if isinstance(probes_seen, dict) else None
            if isinstance(side, dict):
                intervals.append(float(side["interval_seconds"]))
        waited = max(seconds for _, seconds in cells)
        words.append(
            f"{profile}: every {median(intervals):.3g} s" if intervals else f"{profile}: none in {waited:.3g} s"
        )
    return "; ".join(words) or None
