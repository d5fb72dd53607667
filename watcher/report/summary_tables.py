"""What stands in the summary's tables, line by line in each place; the formats only draw it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.report.summary import Cell, Cluster, Row, Summary
from watcher.report.summary_words import MEANINGS, SYMBOLS, Word, when_text

CLIENT = "Client"
KEEPALIVE = "Has keepalive?"
UPDATES = ("soak", "touches", "watched", "updates", "idle connection at a touch", "new connections", "ran")
MISSES = ("touched (UTC)", "client", "node", "seen", "idle connection", "new connection", "soak, reason")


def heading(summary: Summary) -> list[str]:
    least = summary.least
    told = [
        f"made {summary.made_at}; below {least.hours:g} h or {least.touches} touches of a client there is no PASS",
    ]
    if summary.prediction is not None and any(cluster.path for cluster in summary.clusters):
        paths = ", ".join(f"{cluster.name} as {cluster.path}" for cluster in summary.clusters if cluster.path)
        told.append(f"lab: run {summary.prediction}, {paths}")
        if summary.older_predictions:
            told.append("lab, where that run decides nothing: the newest older one that does, by its name")
    return told


def client(row: Row) -> list[str]:
    return [row.client, *([", ".join(row.versions)] if row.versions else [])]


def cell(found: Cell, row: Row) -> list[str]:
    """The first line is the word; what stands behind it follows."""
    told = [found.behind, found.schedule]
    if found.versions and found.versions != row.versions:
        told.append(", ".join(found.versions))
    for each in found.predicted:
        shown = f"{each.reading} ({each.text})" if each.text and each.verdict is not None else each.reading
        run = f"run {each.run}" if each.run else ""
        told.append(", ".join(filter(None, [f"lab, {each.scenario}: {shown}", each.note, run])))
    return [f"{SYMBOLS[found.word]} {found.text}", *filter(None, told)]


def legend(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Symbol, word, meaning of those that occur."""
    present = {found.word for row in summary.rows for found in row.cells}
    yield from ((SYMBOLS[word], word.value, MEANINGS[word]) for word in Word if word in present)


def updates(cluster: Cluster) -> Iterator[list[str]]:
    """One soak a line: the API server's own trouble, which is charged to no client."""
    for each in cluster.instances:
        yield [
            each.instance,
            each.schedule,
            f"{each.watched}, {when_text(each.since)} to {when_text(each.until)}, {_supervisors(each.supervisors)}",
            _counts(each.updates),
            _counts(each.idle_connection),
            "all ok" if not each.new_connections_failed else f"{each.new_connections_failed} failed",
            "; ".join(f"{name} {', '.join(values)}" for name, values in each.versions.items()),
        ]


def misses(cluster: Cluster) -> Iterator[list[str]]:
    for each in cluster.misses:
        why = ", ".join(filter(None, [each.instance, each.reason]))
        yield [
            when_text(each.touched_at),
            each.client,
            each.node,
            each.seen,
            each.idle_connection,
            each.new_connection,
            why,
        ]


def misses_title(cluster: Cluster) -> str:
    return f"{cluster.misses_read} misses recorded" + (
        f", the newest {len(cluster.misses)}" if cluster.misses_read > len(cluster.misses) else ""
    )


def described(cluster: Cluster) -> str:
    return "; ".join([*cluster.described, *([f"path: {cluster.path}"] if cluster.path else [])])


def _supervisors(number: int) -> str:
    return "1 supervisor" if number == 1 else f"{number} supervisors"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
