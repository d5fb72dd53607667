"""Which path of the catalog does what was found, or nearly. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from watcher.idle.verdict import Finding
from watcher.model import Balancer, Ending, Path, ServerKeepalive, Value
from watcher.totals import Tried

_ENDINGS: dict[Tried, tuple[Ending, ...]] = {
    Tried.RESET: (Ending.RESET_BOTH,),
    Tried.RESET_ON_NEXT_PACKET: (Ending.RESET_ON_NEXT_PACKET, Ending.RESET_CLIENT_ON_NEXT_PACKET),
    # From the client's side a reset that goes to the server alone is silence; so is a path that only lets in what was
    # spoken to, where it is the API server that stands behind it.
    Tried.SILENT: (Ending.SILENT, Ending.RESET_SERVER, Ending.BLOCKED_UNTIL_OUTBOUND),
}
SAME_RATIO = 1.1
"""Timeouts within this ratio of the nearest one are as near."""


class Near(Value):
    """A path of the catalog, with why it was chosen."""

    path: str
    why: str


def nearest(finding: Finding, paths: Iterable[Path]) -> tuple[Near, ...]:
    """The best first; none where nothing is known, or where no path of the catalog ends connections that way."""
    match finding.result:
        case "timeout":
            return _by_ending(finding, list(paths))
        case "none" | "kept-alive":
            kept = finding.result == "kept-alive"
            every = f"the server keeps connections alive every {finding.kept_alive_every_seconds or 0:.0f} s"
            without = [
                Near(path=path.name, why="forgets nothing either")
                for path in paths
                if path.idle_timeout_seconds is None
                and (path.balancer is Balancer.LAB or (path.server_keepalive is ServerKeepalive.THREE_MINUTES) == kept)
            ]
            return tuple(
                each.model_copy(update={"why": f"{every}; a path without a timeout looks the same"}) if kept else each
                for each in without
            )
        case _:
            return ()


def _by_ending(finding: Finding, paths: list[Path]) -> tuple[Near, ...]:
    assert finding.ending is not None
    assert finding.dead_seconds is not None
    endings = _ENDINGS.get(finding.ending, ())
    low, high = finding.alive_seconds or 0.0, finding.dead_seconds
    # Where connections end by themselves the moment is known, else the middle stands for the interval.
    measured = high if finding.exact else math.sqrt(low * high) if low else high / 2
    found = sorted(
        (_distance(path.idle_timeout_seconds + path.end_delay_seconds, low, high, measured), path.name, path)
        for path in paths
        if path.ending in endings and path.idle_timeout_seconds is not None
    )
    best = found[0][0] if found else 0.0
    return tuple(
        Near(path=path.name, why=_why(path, low, high))
        for distance, _, path in found
        if distance <= best + math.log(SAME_RATIO)
    )


def _distance(timeout: float, low: float, high: float, measured: float) -> float:
    """Nothing inside the interval, else the logarithm of the ratio: 240 is as far from 120 as from 480."""
    return 0.0 if low <= timeout <= high else abs(math.log(timeout / measured))


def _why(path: Path, low: float, high: float) -> str:
    assert path.idle_timeout_seconds is not None
    timeout = f"{path.idle_timeout_seconds:g} s"
    inside = low <= path.idle_timeout_seconds <= high
    place = f"lies in what was measured ({low:.0f} to {high:.0f} s)" if inside else f"against {low:.0f} to {high:.0f} s"
    return f"ends the same way ({path.ending.value}); its timeout of {timeout} {place}"
