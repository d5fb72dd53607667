"""``python -m tests.page.picture [FILE]``: the first screen of the newest published run's page, for the README."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.page import browser
from watcher.publish import page, pages

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "matrix.png"


def take(file: Path) -> None:
    run = pages.published(ROOT / "results")[0]
    with tempfile.TemporaryDirectory() as folder, browser.browser() as started:
        html = Path(folder) / f"{run.name}.html"
        html.write_text(page.render(run.results, run.name, ROOT / "results" / run.name, Path(folder)), encoding="utf-8")
        tab = browser.Tab(started.new_context(viewport=browser.DESKTOP, color_scheme="light").new_page())
        tab.open(html).screenshot(path=file)


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
