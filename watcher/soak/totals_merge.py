"""Adds a portion of counts to a cluster's totals. Pure.

Counts add up in any order. Each portion counts once: a session numbers its portions, and the totals remember the last
number of each of the newest sessions. What is not a count (versions, words of the user) is the newest known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from watcher.report.words import printable
from watcher.totals import MOST_SESSIONS, MOST_VERSIONS, MOST_WATCHERS, Keepalive, Totals, WatcherTotals

K = TypeVar("K")

MOST_OCTETS = 900 * 1024
"""Of the totals as JSON, whatever programs say of themselves. A ConfigMap holds 1 MiB."""
MOST_NAMES = 64
"""Of versions."""
_MOST_CHARACTERS = 80
"""Of one text: 200 watchers' would not fit otherwise."""
_MOST_COUNT = 10**15
_MOST_SECONDS = 1e10
_COUNTS = ("observed", "missed", "late", "after_restart", "restarts", "reconnects")
NO_ROOM = "left out"
"""Among versions: watchers that there was no room for."""


def merge(totals: Totals | None, session: str, number: int, delta: Totals) -> Totals:
    """``totals`` with the portion in it; unchanged where it is in there already. None: there are no totals yet.

    Only the newest ``MOST_SESSIONS`` sessions are remembered: a portion of one that was forgotten would count again.
    """
    if totals is None:
        totals = delta.model_copy(
            update={
                "running_seconds": 0.0,
                "updates": {},
                "reused": {},
                "new_failed": 0,
                "failures_dropped": 0,
                "versions": {},
                "watchers": (),
                "sessions": {},
                "sessions_ever": 0,
            }
        )
    elif totals.sessions.get(session, 0) >= number:
        return totals
    watchers, left_out = _watchers(totals.watchers, delta.watchers)
    sessions = {name: last for name, last in totals.sessions.items() if name != session} | {session: number}
    return Totals(
        instance=delta.instance,
        cluster=_text(delta.cluster) or totals.cluster,
        interval=_text(delta.interval),
        deadline_seconds=delta.deadline_seconds,
        scale=delta.scale,
        began_at=min(filter(None, (totals.began_at, delta.began_at)), default=""),
        last_at=max(totals.last_at, delta.last_at),
        running_seconds=_seconds(totals.running_seconds + delta.running_seconds),
        updates=_sum(totals.updates, delta.updates),
        reused=_sum(totals.reused, delta.reused),
        new_failed=_count(totals.new_failed + delta.new_failed),
        failures_dropped=_count(totals.failures_dropped + delta.failures_dropped),
        versions=_versions(totals.versions, _changed(totals, delta) | delta.versions | left_out),
        watchers=watchers,
        sessions=dict(list(sessions.items())[-MOST_SESSIONS:]),
        sessions_ever=_count(totals.sessions_ever + (session not in totals.sessions)),
    )


def _changed(totals: Totals, delta: Totals) -> dict[str, tuple[str, ...]]:
    """What must not change under one set of counts without being said: old value, new value."""
    pairs = {
        "interval": (totals.interval, delta.interval),
        "deadline": (f"{totals.deadline_seconds:g} s", f"{delta.deadline_seconds:g} s"),
        "scale": (f"{totals.scale:g}", f"{delta.scale:g}"),
        "cluster": (totals.cluster, delta.cluster or totals.cluster),
    }
    versions = {(watcher.stack, watcher.profile): watcher.version for watcher in totals.watchers}
    for watcher in delta.watchers:
        before = versions.get((watcher.stack, watcher.profile)) or watcher.version
        pairs[f"library of {watcher.stack}"] = (before, watcher.version or before)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _watchers(
    old: Iterable[WatcherTotals], new: Iterable[WatcherTotals]
) -> tuple[tuple[WatcherTotals, ...], dict[str, tuple[str, ...]]]:
    """Those of the portion are kept, and of the others those with most touches."""
    by_name = {(each.stack, each.profile): each for each in old}
    current = set()
    for each in new:
        name = (each.stack, each.profile)
        by_name[name] = _watcher(by_name.get(name), each)
        current.add(name)
    if len(by_name) <= MOST_WATCHERS:
        return tuple(by_name.values()), {}
    ranked = sorted(by_name, key=lambda name: (name in current, by_name[name].touches), reverse=True)
    kept = set(ranked[:MOST_WATCHERS])
    gone = tuple("/".join(name) for name in ranked[MOST_WATCHERS:])
    return tuple(each for name, each in by_name.items() if name in kept), {NO_ROOM: gone}


def _watcher(old: WatcherTotals | None, new: WatcherTotals) -> WatcherTotals:
    if old is None:
        old = WatcherTotals(stack=new.stack, profile=new.profile)
    return WatcherTotals(
        stack=new.stack,
        profile=new.profile,
        library=_text(new.library) or old.library,
        version=_text(new.version) or old.version,
        runtime=_text(new.runtime) or old.runtime,
        language=_text(new.language) or old.language,
        settings=new.settings,
        **{name: _count(getattr(old, name) + getattr(new, name)) for name in _COUNTS},
        delay_sum_seconds=_seconds(old.delay_sum_seconds + new.delay_sum_seconds),
        worst_delay_seconds=max(old.worst_delay_seconds, new.worst_delay_seconds),
        keepalive=_keepalive(old.keepalive, new.keepalive),
    )


def _keepalive(old: Keepalive | None, new: Keepalive | None) -> Keepalive | None:
    """The newest that says something: not knowing it for a while does not undo a measurement."""
    if new is None or (new.by == "unknown" and old is not None and old.by != "unknown"):
        return old
    return new.model_copy(update={"option": _text(new.option)})


def _versions(old: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    merged = dict(old)
    for name, values in new.items():
        seen = list(merged.get(_text(name), ()))
        for value in filter(None, map(_text, values)):
            if value in seen:
                seen.remove(value)
            seen.append(value)
        merged[_text(name)] = tuple(seen[-MOST_VERSIONS:])
    return dict(list(merged.items())[:MOST_NAMES])


def _sum(old: Mapping[K, int], new: Mapping[K, int]) -> dict[K, int]:
    return {name: _count(old.get(name, 0) + new.get(name, 0)) for name in (*old, *(n for n in new if n not in old))}


def _text(text: str) -> str:
    return printable(text)[:_MOST_CHARACTERS]


def _count(number: int) -> int:
    return min(number, _MOST_COUNT)


def _seconds(number: float) -> float:
    return round(min(number, _MOST_SECONDS), 3)
