"""The settings of a run in plain words, and what to copy to have them."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.model import Results, Settings
from watcher.report.page.cells import hint, key
from watcher.report.page.surroundings import Surroundings


@dataclass(frozen=True)
class Setting:
    name: str
    place: str
    """Identifier, in the page, of the element that explains it."""
    description: str
    """Empty where nobody has described it: a person's own profile."""
    hint: str
    phrase: str
    """What it does, in the few words that stand beside its name; with the numbers of this run."""
    given: dict[str, object]
    variables: str
    """Environment of a program that has it, one assignment a line; empty where none ran."""


def settings(results: Results, around: Surroundings) -> list[Setting]:
    """In the order of the rows."""
    found: dict[str, Setting] = {}
    for cell in results.cells:
        known = found.get(cell.profile)
        variables = around.variables.get(key(cell), "")
        if known is not None and (known.variables or not variables):
            continue
        found[cell.profile] = Setting(
            name=cell.profile,
            place=known.place if known is not None else f"setting-{len(found)}",
            description=around.profiles.get(cell.profile, ""),
            hint=hint(cell.settings.asked),
            phrase=phrase(cell.settings.asked),
            given=cell.settings.asked.model_dump(exclude_defaults=True),
            variables=variables,
        )
    return list(found.values())


def phrase(settings: Settings) -> str:
    """The one thing that a setting is about: what it has beside the retry loop."""
    if settings.ping_idle_seconds is not None:
        return f"HTTP/2 ping after {_seconds(settings.ping_idle_seconds)} of silence"
    if settings.read_timeout_seconds is not None:
        return f"client ends a watch silent for {_seconds(settings.read_timeout_seconds)}"
    if settings.watch_timeout_seconds is not None:
        return f"server ends each watch after {_seconds(settings.watch_timeout_seconds)}"
    if settings.user_timeout_seconds is not None:
        return f"keepalive; gives up {_seconds(settings.user_timeout_seconds)} unanswered"
    if settings.keepalive:
        if settings.keepalive_idle_seconds is None:
            return "kernel's keepalive: probes after 2 h"
        return f"keepalive: probes after {_seconds(settings.keepalive_idle_seconds)} of silence"
    if settings.bookmarks:
        return "server sends bookmarks between changes"
    if settings.retry_seconds is not None:
        return f"watches again {_seconds(settings.retry_seconds)} after an end"
    return "as the library's own example has it"


def _seconds(value: float) -> str:
    return f"{value:.3g} s"
