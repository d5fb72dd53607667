"""The table of clients and clusters as data; every format is laid out from it. Pure.

What comes from a cluster may have been written by anybody: all texts of a ``Summary`` are on one line and harmless to
a terminal; escaping for Markdown or HTML is the format's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from watcher.model import Path, Value
from watcher.report.summary_groups import Group, groups_of, newest_of_each, schedule_text
from watcher.report.summary_prediction import LabRun, Predicted, predicted, relevant
from watcher.report.summary_warnings import warnings
from watcher.report.summary_words import Counts, Least, Word, behind, keepalive_text, text_of, time_text, word_of
from watcher.report.words import printable
from watcher.totals import Export, Failure, Totals, Tried, Update

MOST_MISSES = 20
"""Shown of each cluster, the newest."""
NOT_MEASURED = "unknown"


class Cell(Value):
    """One client in one cluster."""

    word: Word
    text: str
    """The word with its figures."""
    behind: str
    """How long and how many touches."""
    schedule: str = ""
    """Interval and deadline, where a cluster has more than one."""
    keepalive: str = NOT_MEASURED
    counts: Counts = Counts()
    versions: tuple[str, ...] = ()
    predicted: tuple[Predicted, ...] = ()


class Row(Value):
    stack: str
    profile: str
    versions: tuple[str, ...]
    """Library and version that ran, newest last; more than one where clusters or weeks differ."""
    keepalive: str
    cells: tuple[Cell, ...]
    """One for each cluster."""

    @property
    def client(self) -> str:
        return f"{self.stack} ({self.profile})"


class Instance(Value):
    """One soak: what became of its updates, and of the connection that nobody used."""

    instance: str
    schedule: str
    watched: str
    since: str
    until: str
    supervisors: int
    updates: dict[str, int]
    """``ok`` and what else there was; none of the others is charged to a client."""
    idle_connection: dict[str, int]
    new_connections_failed: int
    failures_dropped: int
    versions: dict[str, tuple[str, ...]]


class Miss(Value):
    touched_at: str
    client: str
    instance: str
    node: str
    seen: str
    idle_connection: str
    new_connection: str
    reason: str


class Cluster(Value):
    name: str
    title: str
    described: tuple[str, ...]
    """The user's own words for it."""
    path: str | None
    """What the user says it is."""
    instances: tuple[Instance, ...]
    misses: tuple[Miss, ...]
    misses_read: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


class Summary(Value):
    """``watcher summarize --format json``."""

    schema_version: Literal[1] = 1
    made_at: str
    least: Least
    prediction: str | None
    """The lab's run that is shown beside."""
    older_predictions: tuple[str, ...] = ()
    """Further runs, newest first, that are asked where it decides nothing of a client."""
    clusters: tuple[Cluster, ...]
    rows: tuple[Row, ...]


def build(
    exports: Sequence[Export],
    *,
    made_at: str,
    paths: Mapping[str, Path],
    least: Least = Least(),  # noqa: B008 - frozen
    predicted_paths: Mapping[str, str] | None = None,
    predictions: Sequence[LabRun] = (),
    unreadable: Mapping[str, str] | None = None,
) -> Summary:
    """``paths`` are all that are known, ``predicted_paths`` which of them a cluster is said to be.

    ``predictions`` are the lab's runs, newest first. ``unreadable`` are clusters that could not be read, and why.
    Exports of one cluster's name are one column.
    """
    said = dict(predicted_paths or {})
    failed = dict(unreadable or {})
    names = tuple(dict.fromkeys([*(export.cluster for export in exports), *failed]))
    totals: dict[str, tuple[Totals, ...]] = {}
    doubts: dict[str, list[str]] = {}
    for name in names:
        totals[name], doubts[name] = newest_of_each([export for export in exports if export.cluster == name])
        if name in failed:
            doubts[name].append(failed[name])
    runs = relevant(predictions, said.values())
    groups = {name: groups_of(totals[name]) for name in names}
    rows = [
        _row(key, [groups[name].get(key, ()) for name in names], names, ordinal, least, said, runs)
        for key in dict.fromkeys(key for name in names for key in groups[name])
        for ordinal in range(max(len(groups[name].get(key, ())) for name in names))
    ]
    summary = Summary(
        made_at=made_at,
        least=least,
        prediction=runs[0].name if runs else None,
        older_predictions=tuple(run.name for run in runs[1:]),
        clusters=tuple(
            _cluster(
                name, [export for export in exports if export.cluster == name], totals[name], doubts[name], said, paths
            )
            for name in names
        ),
        rows=tuple(rows),
    )
    return Summary.model_validate(_harmless(summary.model_dump()))


def _row(
    key: tuple[str, str],
    found: Sequence[Sequence[Group]],
    names: Sequence[str],
    ordinal: int,
    least: Least,
    said: Mapping[str, str],
    runs: Sequence[LabRun],
) -> Row:
    cells = []
    for name, groups in zip(names, found, strict=True):
        group = groups[ordinal] if ordinal < len(groups) else None
        cells.append(_cell(group, least, len(groups) > 1, predicted(runs, said.get(name), key, group)))
    versions = dict.fromkeys(version for cell in cells for version in cell.versions)
    return Row(
        stack=key[0], profile=key[1], versions=tuple(versions), keepalive=_keepalive(names, cells), cells=tuple(cells)
    )


def _cell(group: Group | None, least: Least, several: bool, lab: tuple[Predicted, ...]) -> Cell:
    if group is None:
        return Cell(word=Word.NO_DATA, text=Word.NO_DATA.value, behind="", predicted=lab)
    word = word_of(group.counts, least)
    return Cell(
        word=word,
        text=text_of(word, group.counts),
        behind=behind(word, group.counts, least),
        schedule=group.schedule if several else "",
        keepalive=keepalive_text(group.keepalive),
        counts=group.counts,
        versions=group.versions,
        predicted=lab,
    )


def _keepalive(names: Sequence[str], cells: Sequence[Cell]) -> str:
    """One word where all clusters agree, else each one's."""
    told = {name: cell.keepalive for name, cell in zip(names, cells, strict=True) if cell.word is not Word.NO_DATA}
    different = dict.fromkeys(told.values())
    if len(different) <= 1:
        return next(iter(different), NOT_MEASURED)
    return "; ".join(f"{name}: {text}" for name, text in told.items())


def _cluster(
    name: str,
    exports: Sequence[Export],
    totals: Sequence[Totals],
    doubts: Iterable[str],
    said: Mapping[str, str],
    paths: Mapping[str, Path],
) -> Cluster:
    failures = [failure for export in exports for failure in export.failures]
    newest = sorted(dict.fromkeys(failures), key=lambda failure: failure.touched_at, reverse=True)[:MOST_MISSES]
    return Cluster(
        name=name,
        title=f"{name[:1].upper()}{name[1:]} cluster" if name.isalpha() and name.isascii() else name,
        described=tuple(dict.fromkeys(each.cluster for each in totals if each.cluster)),
        path=said.get(name),
        instances=tuple(map(_instance, totals)),
        misses=tuple(map(_miss, newest)),
        misses_read=sum(export.failures_read for export in exports),
        problems=(*(problem for export in exports for problem in export.problems), *doubts),
        warnings=warnings(totals, paths, said.get(name)),
    )


def _instance(totals: Totals) -> Instance:
    return Instance(
        instance=totals.instance,
        schedule=schedule_text(totals),
        watched=time_text(totals.running_seconds * totals.scale),
        since=totals.began_at,
        until=totals.last_at,
        supervisors=totals.sessions_ever,
        updates={outcome.value: totals.updates[outcome] for outcome in Update if totals.updates.get(outcome)},
        idle_connection={outcome.value: totals.reused[outcome] for outcome in Tried if totals.reused.get(outcome)},
        new_connections_failed=totals.new_failed,
        failures_dropped=totals.failures_dropped,
        versions=dict(totals.versions),
    )


def _miss(failure: Failure) -> Miss:
    seen = "never, so far"
    if failure.delay_seconds is not None:
        seen = f"after {failure.delay_seconds:.1f} s"
    elif failure.observed_at:
        seen = failure.observed_at
    return Miss(
        touched_at=failure.touched_at,
        client=f"{failure.stack} ({failure.profile})",
        instance=failure.instance,
        node=failure.node,
        seen=seen,
        idle_connection=failure.reused,
        new_connection=failure.new,
        reason=failure.reason,
    )


def _harmless(value: Any) -> Any:
    """The same, with every text on one line and without anything that a terminal would obey."""
    if isinstance(value, dict):
        return {_harmless(key): _harmless(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_harmless(each) for each in value]
    # Not of an enumeration: its own words are harmless, and have to stay what they are.
    return printable(value) if type(value) is str else value
