"""The files that are derived from a run's results, by their names in the run's folder."""

from __future__ import annotations

from watcher.model import Results
from watcher.report import cell as cell_in_words
from watcher.report import markdown

RESULTS = "results.json"
MATRIX = "matrix.md"


def derived(results: Results) -> dict[str, str]:
    """File name to content. All of it can be made again from the journal.

    Without indentation, which was half of the octets of a run of a thousand cells.
    """
    return {RESULTS: results.model_dump_json() + "\n", MATRIX: markdown.render(results)}


def beside_cells(results: Results) -> dict[str, str]:
    """The same for each cell's own folder: its verdict in words, beside the packets that prove it."""
    return {
        f"{cell.evidence['folder']}/{cell_in_words.FILE}": cell_in_words.text(cell, results.run)
        for cell in (*results.cells, *results.controls)
        if cell.evidence.get("folder")
    }
