"""An accessibility checker finds nothing serious, in either colour scheme, with and without an open cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page import browser
from tests.page.browser import Tab
from tests.page.examples import large_run
from watcher.report.diff import compare
from watcher.report.index import Published
from watcher.report.page import diff_page, index_page


def serious(page: Page, context: dict[str, object] | None = None) -> list[str]:
    found = Axe().run(page, context=context).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "address", ["", "#cell=python-kubernetes@37.0.2/default/gcp-vpc", "#verdict=stuck", "#setting=tcp-keepalive"]
)
def test_nothing_serious(tabs: Callable[..., Tab], published: Path, scheme: str, address: str) -> None:
    """Somebody with a screen reader, or with low vision, cannot use the page."""
    tab = tabs(color_scheme=scheme, viewport=browser.DESKTOP)
    page = tab.open(published, address)
    if "cell" in address:
        expect(page.locator(".ladder")).to_be_visible()
    assert serious(page) == []


def test_on_a_phone(tabs: Callable[..., Tab], published: Path) -> None:
    """The same on a small screen."""
    assert serious(tabs(viewport=browser.PHONE).open(published)) == []


def test_the_checker_would_see(tab: Tab, published: Path) -> None:
    """The mutant: grey on grey and a button without a name are found."""
    page = tab.open(published)
    page.evaluate(
        "() => { document.querySelector('.lead').style.color = '#eee';"
        " document.getElementById('clear').textContent = ''; }"
    )
    found = "\n".join(serious(page))
    assert "color-contrast" in found
    assert "button-name" in found


def test_a_screen_reader_hears_heads_and_verdicts(tab: Tab, published: Path) -> None:
    """A cell is announced as a check mark and a number, of nothing."""
    page = tab.open(published, "#profile=default&stack=python-kubernetes")
    grid = page.get_by_role("grid", name="The matrix")
    expect(grid.get_by_role("columnheader", name="gcp-vpc").first).to_be_visible()
    expect(grid.get_by_role("rowheader", name="default").first).to_be_visible()
    assert grid.get_by_role("gridcell", name="stuck").count() == 5


def test_the_other_pages(tab: Tab, tmp_path: Path) -> None:
    """The index of runs, and what two runs differ in: without script, and no less for everybody."""
    run = Published("2026-11-21-00000000", large_run(2, 2, 4), {"kernel": "6.1"})
    other = run.results.model_copy(update={"cells": tuple(reversed(run.results.cells))[1:]})
    texts = {"index": index_page([run], []), "difference": diff_page(compare(run.results, other, ("one", "other")))}
    for name, text in texts.items():
        file = tmp_path / f"{name}.html"
        file.write_text(text, encoding="utf-8")
        tab.page.goto(file.as_uri())
        assert serious(tab.page) == [], name
