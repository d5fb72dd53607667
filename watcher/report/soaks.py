"""Published soaks: their part of the index, and the newest one's table in the README. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from watcher.model import Value
from watcher.report import summary_tables as tables
from watcher.report.markdown import escape, header, line
from watcher.report.summary import Summary
from watcher.report.summary_words import SYMBOLS, Least, Word

FOLDER = "soaks"
"""In the folder of all results."""
SUMMARY = "summary"
NOTE = "published.json"

MARKERS = ("<!-- soak -->", "<!-- /soak -->")
"""In the README."""

INTRODUCTION = """\
## Soaks

`watcher soak` before a real control plane, in the lab: no cloud took part. In each folder `summary.md` (also as HTML
and JSON) is the table that `watcher summarize --from SOAK/exports/NAME.json --least-hours … --least-touches …` makes of
`exports/`; `rehearsal.json` says how it went, and each cluster's folder has the soak's log, what the API server's audit
log knows of its touches (`touches.json`), what the path did of its own accord and both links' packets, cut behind their
TCP headers. `published.json` names what was left out, and every doubt there is.
"""


class Note(Value):
    """``published.json``."""

    schema_version: Literal[1] = 1
    doubts: tuple[str, ...] = ()
    """Why the soak cannot be trusted."""
    left_out_octets: dict[str, int] = Field(default_factory=dict)
    """Captures that were too large, and what each would have taken."""


@dataclass(frozen=True)
class Soak:
    """A published soak, as its folder holds it. Durations are true seconds."""

    name: str
    began: datetime
    control_plane: str
    kernel: str
    scale: float
    interval_seconds: float
    deadline_seconds: float
    note: Note
    summary: Summary

    @property
    def time(self) -> str:
        time = "true time" if self.scale == 1 else f"scale {self.scale:g}, not in true time"
        return f"{time}, cannot be trusted" if self.note.doubts else time

    @property
    def began_text(self) -> str:
        return f"{self.began.astimezone(UTC):%Y-%m-%d %H:%M}"

    @property
    def clusters(self) -> list[str]:
        """Of each its path, how long it was watched, and how often each client was touched."""
        return [
            f"{cluster.name}: {cluster.path or 'a path of its own'},"
            f" {', '.join(each.watched for each in cluster.instances) or 'nothing watched'}, {self._touches(number)}"
            for number, cluster in enumerate(self.summary.clusters)
        ]

    @property
    def words(self) -> dict[Word, int]:
        """How often each stands in the table."""
        counts = Counter(cell.word for row in self.summary.rows for cell in row.cells)
        return {word: counts[word] for word in Word if counts[word]}

    def _touches(self, column: int) -> str:
        counts = [row.cells[column].counts.touches for row in self.summary.rows]
        least, most = min(counts, default=0), max(counts, default=0)
        number = f"{most}" if least == most else f"{least} to {most}"
        return f"{number} {'touch' if number == '1' else 'touches'} of each client"


def newest_first(soaks: Iterable[Soak]) -> list[Soak]:
    return sorted(soaks, key=lambda soak: (soak.began, soak.name), reverse=True)


def index(soaks: Iterable[Soak]) -> str:
    """The section of ``results/README.md``, to follow the runs'; nothing where there is no soak."""
    found = newest_first(soaks)
    return "\n".join(["", *_index(found), ""]) if found else ""


def _index(found: list[Soak]) -> Iterator[str]:
    yield INTRODUCTION
    yield from header(["soak", "began (UTC)", "time", "control plane", "kernel", "clusters", "table"])
    for soak in found:
        words = ", ".join(f"{count} {word}" for word, count in soak.words.items())
        told = (soak.time, soak.control_plane, soak.kernel, "; ".join(soak.clusters), words)
        yield line([f"[{soak.name}]({FOLDER}/{soak.name}/{SUMMARY}.md)", soak.began_text, *map(escape, told)])


def block(soak: Soak, link: str) -> str:
    """What stands between the README's markers; ``link`` leads to the soak's table. Ends with a newline."""
    return "\n".join(_block(soak, link)) + "\n"


def _block(soak: Soak, link: str) -> Iterator[str]:
    summary = soak.summary
    yield (
        f"Soak [{soak.name}]({link}) of {soak.began.day} {soak.began:%B %Y}, in the lab, no cloud:"
        f" {escape(soak.time)}, {escape(soak.control_plane)} control plane, {escape(soak.kernel)},"
        f" a touch every {soak.interval_seconds:g} s, deadline {soak.deadline_seconds:g} s."
        f" {escape('; '.join(soak.clusters))}."
    )
    yield ""
    yield _limits(summary.least)
    yield ""
    yield from header([tables.CLIENT, tables.KEEPALIVE, *(cluster.title for cluster in summary.clusters)])
    for row in summary.rows:
        words = (f"{SYMBOLS[cell.word]} {cell.text}" for cell in row.cells)
        yield line(map(escape, [row.client, row.keepalive, *words]))
    yield ""
    yield from (f"- {escape(symbol)} {word}: {escape(meaning)}" for symbol, word, meaning in tables.legend(summary))


def _limits(least: Least) -> str:
    rule = Least()
    if least.hours >= rule.hours and least.touches >= rule.touches:
        return f"Below {least.hours:g} h or {least.touches} touches of a client there is no PASS."
    return (
        f"`watcher summarize` says PASS from {rule.hours:g} h and {rule.touches} touches of a client on. This table was"
        f" made with `--least-hours {least.hours:g} --least-touches {least.touches}`; without them it would say"
        f" *{Word.NOT_ENOUGH}* wherever nothing was missed. A PASS in it means that these few touches were seen, no"
        " more."
    )
