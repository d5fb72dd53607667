"""The matrix page of 2,000 cells: how long it takes to make, and how large it is."""

from __future__ import annotations

from time import perf_counter

from tests.page.examples import a_timeline, large_run
from watcher.report.page import page


def measured() -> tuple[float, float, float, float]:
    """Seconds to make it and to write the same results as JSON; octets of both."""
    results = large_run()
    timelines = {str(cell.evidence["folder"]): a_timeline(number) for number, cell in enumerate(results.cells)}
    began = perf_counter()
    text = page(results, "bench", timelines)
    made = perf_counter() - began
    began = perf_counter()
    plain = results.model_dump_json()
    written = perf_counter() - began
    return made, written, float(len(text.encode())), float(len(plain.encode()))
