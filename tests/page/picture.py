"""``python -m tests.page.picture [FILE]``: the first screen of one published run's page, for the README."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.page import browser
from watcher.publish import page, pages

ROOT = Path(__file__).parents[2]
PICTURED = "2026-11-21-45f9b205"
"""Several stacks in all their settings through the seven scenarios of the README: what a first look can take in."""
PICTURE = ROOT / "docs" / "images" / "matrix.png"


def take(file: Path) -> None:
    run = next(each for each in pages.published(ROOT / "results") if each.name == PICTURED)
    with tempfile.TemporaryDirectory() as folder, browser.browser() as started:
        html = Path(folder) / f"{run.name}.html"
        html.write_text(page.render(run.results, run.name, ROOT / "results" / run.name, Path(folder)), encoding="utf-8")
        tab = browser.Tab(started.new_context(viewport=browser.DESKTOP, color_scheme="light").new_page())
        tab.open(html).screenshot(path=file)


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
