"""One browser for each module, one tab for each test; after it nothing may have been fetched or complained of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page import browser, examples
from tests.page.picture import PICTURED

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results"

expect.set_options(timeout=30_000)
"""In ms, until something that must come is given up: other tests run beside the browser."""

Opened = Callable[..., browser.Tab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drawing the published run and the large one, once for each file, takes half a minute where others compute."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))


# Not for the session: while Playwright runs, so does its loop, and asynchronous tests of other modules need their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browser.installed() is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on the PATH")
    with browser.browser() as started:
        yield started


@pytest.fixture
def tabs(chromium: Browser) -> Iterator[Opened]:
    """Opens a tab with the settings given; at the end it must have asked for files only, and complained of nothing."""
    opened: list[browser.Tab] = []

    def open_tab(**settings: object) -> browser.Tab:
        settings.setdefault("viewport", browser.DESKTOP)
        tab = browser.Tab(chromium.new_context(**settings).new_page())  # type: ignore[arg-type]  # names are Playwright's
        opened.append(tab)
        return tab

    yield open_tab
    try:
        for tab in opened:
            assert [url for url in tab.asked_for if not url.startswith("file:")] == []
            assert tab.complaints == []
    finally:
        for tab in opened:
            tab.page.context.close()


@pytest.fixture
def tab(tabs: Opened) -> browser.Tab:
    return tabs()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the published run that stands in the picture, as this version draws it, in a checkout's layout."""
    from watcher.publish import page, pages

    runs = pages.published(PUBLISHED)
    assert runs, "nothing is published"
    run = next(each for each in runs if each.name == PICTURED)
    place = tmp_path_factory.mktemp("pages")
    file = place / f"{run.name}.html"
    file.write_text(page.render(run.results, run.name, PUBLISHED / run.name, place, ROOT), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "page.html"
    file.write_text(examples.large_page(), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("hostile") / "page.html"
    file.write_text(examples.hostile_page(), encoding="utf-8")
    return file


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[browser.Tab, str], Path]:
    """Keeps a screenshot where WATCHER_SCREENSHOTS says, else in pytest's own folder of the last runs."""
    folder = Path(os.environ.get("WATCHER_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(tab: browser.Tab, name: str) -> Path:
        file = folder / f"{name}.png"
        tab.page.screenshot(path=file)
        return file

    return take
