"""The first screen of every published run: what somebody sees who was sent a link, and looks before they read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.browser import Tab
from tests.page.conftest import PUBLISHED
from tests.page.test_accessible import serious
from watcher.model import Results, Verdict
from watcher.publish import page as made
from watcher.publish import pages
from watcher.report import page as drawn
from watcher.report.index import FOLDER, Published

RUNS = sorted(folder.name for folder in PUBLISHED.iterdir() if FOLDER.fullmatch(folder.name))
ASKED = "gcp-vpc"
"""The network that the question is about: a cloud's own, and its failure is silent."""


@cache
def published() -> dict[str, Published]:
    """Read when the first test runs: whoever only collects does not wait for it."""
    return {run.name: run for run in pages.published(PUBLISHED)}


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def results(run: str) -> Results:
    return published()[run].results


@pytest.fixture(scope="module")
def file(run: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as this version draws it; without what its cells open to, which takes seconds and is not looked at."""
    place = tmp_path_factory.mktemp("pages")
    results = published()[run].results
    around = made.surroundings(results, PUBLISHED / run, place)
    others = [other for other in published().values() if other.name != run]
    file = place / f"{run}.html"
    file.write_text(drawn.page(results, run, around=around, others=others), encoding="utf-8")
    return file


def silent(results: Results) -> list[str]:
    """Who fails silently there as shipped, counted without the page's own code."""
    return [
        cell.stack
        for cell in results.cells
        if (cell.scenario, cell.profile, cell.verdict) == (ASKED, "default", Verdict.STUCK)
    ]


def cures(results: Results) -> set[str]:
    """The settings with which all of them see the change."""
    ill = silent(results)
    ok = [(cell.profile, cell.stack) for cell in results.cells if cell.scenario == ASKED and cell.verdict is Verdict.OK]
    return {profile for profile, _ in ok if all((profile, stack) in ok for stack in ill)}


def not_seen(page: Page, results: Results) -> list[str]:
    """Which answers are not on the screen."""
    row = page.locator(".short tbody tr", has=page.get_by_role("link", name=ASKED, exact=True))
    missing = [name for name, place in _general(page).items() if not _on_screen(place)]
    ill, cured = silent(results), cures(results)
    if ill:
        told, cure = row.locator("td").nth(0), row.locator("td").nth(1)
        missing += [f"silent: {name}" for name in ill if not _on_screen(told.get_by_text(name, exact=True))]
        missing += [
            f"cure: {name}" for name in cured if not _on_screen(cure.get_by_role("link", name=name, exact=True))
        ]
        if not cured:
            missing += [] if _on_screen(cure.get_by_text("no other setting was run here")) else ["no cure"]
    if not _on_screen(page.locator("#matrix tbody td[class]").first):
        missing.append("matrix")
    return missing


def _general(page: Page) -> dict[str, Locator]:
    amber = page.locator(".reading.pass-with-restarts")
    return {
        "what is tested": page.locator(".lead"),
        "amber in plain words": amber.locator("p"),
        "amber as a colour": amber.locator("button.died"),
        "silent in plain words": page.locator(".reading.fail button.stuck"),
    }


def _on_screen(place: Locator) -> bool:
    """Whole, not folded away, and above the fold."""
    viewport = place.page.viewport_size
    box = place.first.bounding_box() if place.count() else None
    return bool(box and viewport and box["height"] and box["y"] + box["height"] <= viewport["height"])


def test_first_screen_answers(tab: Tab, file: Path, results: Results) -> None:
    """Who was sent the link does not see what is tested, what amber is, who goes deaf on that cloud, what cures it."""
    assert not_seen(tab.open(file), results) == []


def test_what_stands_too_low_would_be_seen(tab: Tab, file: Path, results: Results) -> None:
    """The mutant of the test above: all is there, but further down, or behind a click."""
    page = tab.open(file)
    page.evaluate("document.querySelector('.short').style.marginTop = '700px'")
    low = not_seen(page, results)
    assert "matrix" in low
    assert {f"silent: {name}" for name in silent(results)} <= set(low)
    assert any("cure" in each for each in low) or not silent(results)
    page.evaluate("document.querySelector('.legend').style.display = 'none'")
    assert "amber in plain words" in not_seen(page, results)


def test_first_screen_on_a_phone(tabs: Callable[..., Tab], file: Path) -> None:
    """On a phone the first screen is a heading and white."""
    page = tabs(viewport={"width": 390, "height": 844}).open(file)
    assert [name for name, place in _general(page).items() if not _on_screen(place)] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_all_findings_by_keyboard(tab: Tab, file: Path, results: Results) -> None:
    """What is folded to make room is out of reach without a mouse, or missing."""
    page = tab.open(file)
    failing = {
        cell.scenario
        for cell in results.cells
        if (cell.profile, cell.verdict) == ("default", Verdict.STUCK)
        and results.scenarios[cell.scenario].fault != "none"
    }
    networks = page.locator(".short .network a")
    assert failing <= set(networks.all_text_contents())
    folds = page.locator(".folded > summary, .folded th summary, .short > table th summary")
    for fold in folds.all():
        fold.focus()
        page.keyboard.press("Enter")
    expect(page.locator(".short .network a:visible")).to_have_count(networks.count())


def test_nothing_serious(tabs: Callable[..., Tab], run: str, file: Path) -> None:
    """Somebody with a screen reader, or with low vision, cannot use what is folded or what came with a larger run.

    Colour schemes take turns, and of the matrix one stack is looked at: ``test_accessible`` has both, and all.
    """
    page = tabs(color_scheme=["light", "dark"][RUNS.index(run) % 2]).open(file)
    page.evaluate("document.querySelectorAll('.short details').forEach(each => { each.open = true; })")
    assert serious(page, {"exclude": [["#matrix tbody ~ tbody"]]}) == []
