"""What a reader of the table must know before believing it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from watcher.model import Path
from watcher.report.summary_groups import interval_seconds
from watcher.totals import Totals

NEAR = 0.1
"""Of an idle timeout: nearer to it than this, chance decides which comes first."""
LEFT_OUT = "left out"
CHANGED = ("interval", "deadline", "scale")


def warnings(totals: Sequence[Totals], paths: Mapping[str, Path], said: str | None) -> tuple[str, ...]:
    """``said`` is the path that the user says the cluster has; without it every known timeout is compared."""
    return tuple(dict.fromkeys(warning for each in totals for warning in _warnings(each, paths, said)))


def _warnings(totals: Totals, paths: Mapping[str, Path], said: str | None) -> Iterator[str]:
    seconds = interval_seconds(totals.interval)
    if seconds is None:
        yield f"{totals.instance}: touches come by cron; compare their gaps with your path's idle timeout yourself"
    else:
        yield from _timing(totals, seconds * totals.scale, paths, said)
    for name in CHANGED:
        values = totals.versions.get(name, ())
        if len(values) > 1:
            yield (
                f"{totals.instance}: its {name} was changed while it counted ({', then '.join(values)}); for touches"
                " that can be told apart give it another WATCHER_INSTANCE"
            )
    if totals.failures_dropped:
        yield f"{totals.instance}: the records of {totals.failures_dropped} misses were not kept; they are counted"
    if gone := totals.versions.get(LEFT_OUT):
        yield f"{totals.instance}: more watchers than there is room for; left out: {', '.join(gone)}"
    if totals.scale != 1:
        yield (
            f"{totals.instance}: a soak in the lab, at scale {totals.scale:g}; hours are true ones, seconds its own."
            " No scale shortens a program's start or a library's timers: what they decide can be another in true time"
        )


def _timing(totals: Totals, true_seconds: float, paths: Mapping[str, Path], said: str | None) -> Iterator[str]:
    own = None if said is None else paths.get(said)
    chosen = list(paths.values()) if own is None else [own]
    near: dict[float, list[str]] = {}
    for path in chosen:
        timeout = path.idle_timeout_seconds
        if timeout is not None and abs(true_seconds - timeout) <= NEAR * timeout:
            near.setdefault(timeout, []).append(path.name)
    for timeout, names in near.items():
        where = "the" if own is not None else "where this is the path, the"
        yield (
            f"{totals.instance}: touches every {true_seconds:g} s: within 10 % of the idle timeout of"
            f" {', '.join(names)} ({timeout:g} s); {where} touch may come just before or just after a connection is"
            " forgotten: choose another CHANGE_INTERVAL_SECONDS"
        )
    if own is not None:
        timeout = own.idle_timeout_seconds
        if timeout is not None and true_seconds < (1 - NEAR) * timeout:
            yield (
                f"{totals.instance}: touches every {true_seconds:g} s never leave a connection idle for the"
                f" {timeout:g} s of {own.name}: a PASS here says nothing of that; choose a longer interval"
            )
