"""The pages beside the matrix: the index of published runs, and the difference of two runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from watcher.model import Verdict
from watcher.report.diff import Change, Difference, Turn
from watcher.report.index import Published, newest_first, time_of
from watcher.report.page.render import filled
from watcher.report.soaks import FOLDER, Soak
from watcher.report.soaks import newest_first as newest_soaks_first
from watcher.report.summary_words import SYMBOLS, Word
from watcher.report.words import MARKS

INDEX = "index.html"
PAGES = "pages"
"""The folder of the runs' pages, beside the runs."""

_TITLES = (
    (Change.CHANGED, Turn.WORSE, "Worse than before"),
    (Change.CHANGED, Turn.BETTER, "Fixed, or better than before"),
    (Change.CHANGED, Turn.OTHER, "Changed: another way to fail"),
    (Change.ADDED, None, "Added: only in the second run"),
    (Change.REMOVED, None, "Removed: only in the first run"),
    (Change.NOT_COMPARABLE, None, "Not comparable: one of the runs does not decide it"),
    (Change.SAME, None, "Same"),
)


_TAGS = {
    Word.PASS: Verdict.OK,
    Word.PASS_WITH_RESTARTS: Verdict.DIED,
    Word.FAIL: Verdict.STUCK,
    Word.NOT_ENOUGH: Verdict.INVALID,
    Word.NO_DATA: Verdict.NOT_BUILT,
}
"""A soak's words have the colours of the verdicts that read alike."""


def index_page(runs: Iterable[Published], pages: Iterable[str], soaks: Iterable[Soak] = ()) -> str:
    """``results/index.html``, newest first. ``pages`` are the names of the runs that have a page."""
    shown = []
    have = set(pages)
    for run in newest_first(runs):
        results = run.results
        counts = Counter(cell.verdict for cell in results.cells)
        shown.append(
            {
                "name": run.name,
                "began": f"{run.began:%Y-%m-%d %H:%M}",
                "link": f"{PAGES}/{run.name}.html" if run.name in have else f"{run.name}/matrix.md",
                "time": time_of(results),
                "control_plane": results.run.control_plane,
                "kernel": run.kernel,
                "cells": len(results.cells),
                "stacks": [f"{name}: {known.library} {known.version or ''}" for name, known in results.stacks.items()],
                "verdicts": [
                    {"name": verdict.value, "symbol": MARKS[verdict].symbol, "count": counts[verdict]}
                    for verdict in MARKS
                    if counts[verdict]
                ],
            }
        )
    return filled("index.html.j2", (), {"runs": shown, "soaks": list(map(_soak, newest_soaks_first(soaks)))})


def _soak(soak: Soak) -> dict[str, object]:
    return {
        "name": soak.name,
        "place": f"{FOLDER}/{soak.name}",
        "told": f"Began {soak.began_text} UTC; {soak.time}; {soak.control_plane} control plane; {soak.kernel}.",
        "clusters": soak.clusters,
        "words": [
            {"name": _TAGS[word].value, "text": f"{SYMBOLS[word]} {count} {word}"} for word, count in soak.words.items()
        ],
    }


def diff_page(difference: Difference) -> str:
    """What changed for the worse first; what is the same last, and only counted."""
    parts = []
    for change, turn, title in _TITLES:
        cells = [cell for cell in difference.of(change) if cell.turn == turn]
        if cells:
            parts.append({"title": title, "cells": cells, "folded": change is Change.SAME})
    counts = ", ".join(f"{len(difference.of(change))} {change}" for change in Change)
    return filled("diff.html.j2", (), {"difference": difference, "parts": parts, "counts": counts})
