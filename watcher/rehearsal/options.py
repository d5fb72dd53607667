"""What the user asked of ``watcher rehearse``, in true seconds, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher import model, plan
from watcher.errors import UnknownName, UsageError
from watcher.model import Balancer, Evidence, Scenario
from watcher.rehearsal.order import PathOrder

APART = 0.1
"""Interval and idle timeout must differ by more than this share, else slack of a few seconds decides every touch."""


@dataclass(frozen=True)
class RehearsalOptions:
    """Durations are true seconds: the scale divides all of them, as it does the path's."""

    clusters: Mapping[str, str]
    """Name to path."""
    stacks: str | None = None
    profiles: str | None = None
    hours: float | None = None
    touches: int | None = None
    interval_seconds: float = 600.0
    deadline_seconds: float = plan.DEADLINE_SECONDS
    scale: float = 1.0
    control_plane: str = "auto"
    measure: bool = False
    """Measure the paths, too, as ``watcher path`` does it in a pod."""
    output: Path | None = None


def clusters_of(given: Sequence[str]) -> dict[str, str]:
    """``NAME=PATH`` each. Raises UsageError."""
    clusters: dict[str, str] = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator or not path or not _is_name(name):
            raise UsageError(
                f"--cluster {text!r} is no cluster",
                advice="NAME=PATH, for example public=azure-slb; a name has small letters, digits and dashes",
            )
        if name in clusters:
            raise UsageError(f"--cluster {name} is given twice", advice="give each cluster a name of its own")
        clusters[name] = path
    if not clusters:
        raise UsageError("no cluster", advice="--cluster public=azure-slb --cluster private=azure-private-link")
    return clusters


def path_order(name: str, path: model.Path, options: RehearsalOptions) -> PathOrder:
    """The path in this rehearsal's own seconds.

    Raises UsageError where its timeout is too near to the interval, or would become another one by rounding.
    """
    if path.balancer is not Balancer.LAB:
        raise UsageError(
            f"path {path.name}: its balancer is kube-proxy, which a rehearsal does not have",
            advice="take a path whose balancer is the lab's own: `watcher list paths`",
        )
    if path.proxy:
        raise UsageError(
            f"path {path.name} has a proxy, which a rehearsal does not have",
            advice="take a path without one: `watcher list paths`",
        )
    like = Scenario(name="rehearsal", description="", path=path.name, fault=plan.NO_FAULT, proof=Evidence())
    timing = plan.timing(like, path, options.scale, options.deadline_seconds)
    true = path.idle_timeout_seconds
    if true is not None and timing.idle_timeout_seconds is not None:
        kept = timing.idle_timeout_seconds * options.scale
        if abs(kept - true) > plan.MOST_ROUNDING * true:
            raise UsageError(
                f"path {path.name}: {true:g} s become {kept:g} s in whole seconds at scale {options.scale:g}",
                advice="take a smaller --scale",
            )
        if abs(options.interval_seconds - true) <= APART * true:
            raise UsageError(
                f"--interval {options.interval_seconds:g} is too near to the idle timeout of {path.name}, {true:g} s",
                advice=f"let them differ by more than {APART:.0%}: chance would decide every touch",
            )
    return PathOrder(
        id=name,
        timing=timing,
        ending=path.ending,
        server_keepalive=path.server_keepalive,
        balancer=path.balancer,
        invalid_packets=path.invalid_packets,
    )


def chosen_paths(clusters: Mapping[str, str], known: Mapping[str, model.Path]) -> dict[str, model.Path]:
    """Raises UnknownName."""
    for path in clusters.values():
        if path not in known:
            raise UnknownName("path", path, known)
    return {name: known[path] for name, path in clusters.items()}


def _is_name(text: str) -> bool:
    return bool(text) and text.strip("-") == text and all(c.isdigit() or "a" <= c <= "z" or c == "-" for c in text)
