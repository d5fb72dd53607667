"""Several soaks in one cluster: which of their counts may be added. Pure.

Touches with one interval and one deadline are one series; with others they ask another question of the same client,
and are shown in a row of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from watcher.report.summary_words import Counts
from watcher.totals import Export, Keepalive, Totals, Update, WatcherTotals


@dataclass(frozen=True)
class Group:
    """One client's counts of all soaks of a cluster that touch alike."""

    schedule: str
    counts: Counts
    keepalive: Keepalive | None
    versions: tuple[str, ...]
    """``kubernetes 37.0.2``."""
    plain_versions: tuple[str, ...]
    """``37.0.2``."""


def schedule_text(totals: Totals) -> str:
    """How a soak touches, in its own seconds."""
    seconds = interval_seconds(totals.interval)
    every = f"every {seconds:g} s" if seconds is not None else f"by cron {totals.interval!r}"
    scale = "" if totals.scale == 1 else f", scale {totals.scale:g}"
    return f"{every}, deadline {totals.deadline_seconds:g} s{scale}"


def newest_of_each(exports: Sequence[Export]) -> tuple[tuple[Totals, ...], list[str]]:
    """The totals of one cluster, each soak's once, and what is doubtful in them.

    Counts only grow, so that of one soak read twice the later reading has all. Soaks of one name that have no
    supervisor in common are two, as where two clusters are shown in one column.
    """
    kept: list[Totals] = []
    doubts = []
    for export in exports:
        for totals in export.totals:
            same = next((each for each in kept if _same(each, totals)), None)
            if same is not None:
                kept[kept.index(same)] = max(same, totals, key=lambda each: (each.last_at, _touches(each)))
                doubts.append(f"{totals.instance} was read more than once; the newest reading counts")
            else:
                kept.append(totals)
    for totals in kept:
        doubts += [
            f"{totals.instance}: the counts of {each.stack} ({each.profile}) contradict each other"
            for each in totals.watchers
            if each.late > each.missed or each.after_restart > each.observed
        ]
    return tuple(kept), doubts


def groups_of(totals: Sequence[Totals]) -> dict[tuple[str, str], tuple[Group, ...]]:
    """By stack and profile; of each the group with most touches first."""
    found: dict[tuple[str, str], dict[tuple[str, float, float], list[tuple[Totals, WatcherTotals]]]] = {}
    for each in totals:
        alike = (each.interval, each.deadline_seconds, each.scale)
        for watcher in each.watchers:
            found.setdefault((watcher.stack, watcher.profile), {}).setdefault(alike, []).append((each, watcher))
    return {
        key: tuple(sorted(map(_group, alike.values()), key=lambda group: group.counts.touches, reverse=True))
        for key, alike in found.items()
    }


def _group(parts: Sequence[tuple[Totals, WatcherTotals]]) -> Group:
    watchers = [watcher for _, watcher in parts]
    known = [each.keepalive for each in watchers if each.keepalive is not None and each.keepalive.by != "unknown"]
    names = dict.fromkeys(f"{each.library} {each.version}".strip() for each in watchers if each.version)
    versions = dict.fromkeys(each.version for each in watchers if each.version)
    for totals, watcher in parts:
        for version in totals.versions.get(f"library of {watcher.stack}", ()):
            versions.setdefault(version)
            names.setdefault(f"{watcher.library} {version}".strip())
    return Group(
        schedule=schedule_text(parts[0][0]),
        counts=Counts(
            observed=sum(each.observed for each in watchers),
            missed=sum(each.missed for each in watchers),
            late=sum(each.late for each in watchers),
            after_restart=sum(each.after_restart for each in watchers),
            restarts=sum(each.restarts for each in watchers),
            reconnects=sum(each.reconnects for each in watchers),
            worst_delay_seconds=max(each.worst_delay_seconds for each in watchers),
            watched_seconds=_watched_seconds(parts),
        ),
        # Where two disagree, the one that was looked at for longest.
        keepalive=max(known, key=lambda each: each.quiet_seconds, default=None),
        versions=tuple(names),
        plain_versions=tuple(versions),
    )


def _watched_seconds(parts: Sequence[tuple[Totals, WatcherTotals]]) -> float:
    """In true seconds. A watcher that came later has a smaller share of its soak's time, as it has of the touches.

    Two soaks side by side do not make a day of twelve hours: it is never more than lies between first and last.
    """
    total = 0.0
    for totals, watcher in parts:
        judged = max(totals.updates.get(Update.OK, 0), watcher.touches)
        total += totals.running_seconds * totals.scale * (watcher.touches / judged if judged else 0.0)
    span = _span_seconds([totals for totals, _ in parts])
    return total if span is None else min(total, span)


def _span_seconds(totals: Sequence[Totals]) -> float | None:
    """Between the first beginning and the last end, in true seconds. Of one soak its own word is taken."""
    if len(totals) < 2:
        return None
    try:
        began = min(datetime.fromisoformat(each.began_at) for each in totals)
        ended = max(datetime.fromisoformat(each.last_at) for each in totals)
        return max(0.0, (ended - began).total_seconds()) * totals[0].scale
    except (ValueError, TypeError):  # no time at all, or one with a zone and one without
        return None


def _same(one: Totals, other: Totals) -> bool:
    if one.instance != other.instance:
        return False
    return one == other or bool(one.sessions.keys() & other.sessions.keys())


def _touches(totals: Totals) -> int:
    return sum(totals.updates.values())


def interval_seconds(interval: str) -> float | None:
    """None for cron."""
    try:
        seconds = float(interval)
    except ValueError:
        return None
    return seconds if 0 < seconds < 1e10 else None
