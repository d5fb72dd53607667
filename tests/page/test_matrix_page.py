"""The matrix page in a real browser: what a maintainer who was sent a link sees, and what becomes of their clicks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page import browser
from tests.page.browser import Tab

CELL = "python-kubernetes@37.0.2/default/gcp-vpc"
Keep = Callable[[Tab, str], Path]


def place(page: Page, stack: str, profile: str, scenario: str) -> str:
    """A selector of the cell, found by its heads and not by the page's own code."""
    number = page.evaluate(
        "name => [...document.querySelectorAll('th[data-scenario]')].findIndex(head => head.dataset.scenario === name)",
        scenario,
    )
    return f"tbody[data-stack='{stack}'] tr[data-profile='{profile}'] > td:nth-child({number + 2})"


def shown(page: Page) -> int:
    return int(
        page.evaluate(
            "() => [...document.querySelectorAll('tbody:not([data-stack=controls]) td[class]')]"
            ".filter(cell => cell.checkVisibility({visibilityProperty: true})).length"
        )
    )


def test_first_screen_answers(tab: Tab, published: Path, keep: Keep) -> None:
    """The first screen does not say what is tested, what amber means, who goes deaf, or what cures it."""
    page = tab.open(published)
    keep(tab, "first-screen")
    below = browser.DESKTOP["height"]
    for text in ("What is tested", "PASS with restarts", "fail silently", "gcp-vpc", "cured by any one"):
        box = page.get_by_text(text).first.bounding_box()
        assert box is not None, text
        assert box["y"] + box["height"] < below, text
    amber, legend = (
        page.locator(selector).first.evaluate("each => getComputedStyle(each).backgroundColor")
        for selector in ("td.died", ".reading.pass-with-restarts button")
    )
    assert amber == legend
    row = page.locator(".short tbody tr", has_text="gcp-vpc")
    expect(row).to_contain_text("fail silently")
    expect(row).to_contain_text("python-kubernetes")
    expect(row).to_contain_text("tcp-keepalive")


def test_each_cell_has_symbol_and_words(tab: Tab, published: Path) -> None:
    """Who cannot tell the colours apart cannot read the matrix."""
    page = tab.open(published)
    texts = page.locator("#matrix td[class]").all_inner_texts()
    assert len(texts) == 270 + 18
    assert {text[0] for text in texts} <= set("✓!~✗±†?·-_")
    assert all(text.strip() == "·" or len(text) > 3 for text in texts)
    late = page.locator(place(page, "python-kubernetes", "tcp-keepalive", "blackhole"))
    expect(late).to_have_text("~ 31 s")
    expect(late).to_have_attribute("aria-label", "late, 31 s")


def test_filters_and_live_counts(tab: Tab, published: Path) -> None:
    """A reader who has one library and one cloud has to search among hundreds of cells."""
    page = tab.open(published)
    assert shown(page) == 270
    page.locator("#filters details", has_text="stack").locator("summary").click()
    page.get_by_label("python-urllib3").check()
    page.keyboard.press("Escape")
    page.locator("#filters details", has_text="path").locator("summary").click()
    page.get_by_label("gcp-vpc").check()
    assert shown(page) == 9
    expect(page.locator("#shown")).to_have_text("9 of 270 cells shown.")
    assert page.evaluate("location.hash") == "#stack=python-urllib3&path=gcp-vpc"
    expect(page.locator("button[data-verdict=stuck] .count")).to_have_text("3")
    page.keyboard.press("Escape")
    page.locator("button[data-verdict=stuck]").click()
    assert shown(page) == 3
    expect(page.locator("button[data-verdict=stuck]")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="show all").click()
    assert shown(page) == 270
    assert page.locator("#matrix thead th:visible").count() == 1 + 9 + 3


def test_a_filter_that_forgets_a_verdict_would_be_seen(tab: Tab, published: Path) -> None:
    """The mutant of the test above: with the cells' verdicts mixed up, what is shown is not what is counted."""
    page = tab.open(published)
    page.evaluate("document.querySelectorAll('td.stuck').forEach(cell => cell.classList.add('out'))")
    assert shown(page) == 270 - 63


@pytest.mark.parametrize(
    ("address", "cells"),
    [
        ("#stack=python-urllib3", 72 - 9),
        ("#profile=default,retry&path=gcp-vpc", 8),
        ("#verdict=flaky", 1),
        ("#verdict=stuck", 63),
        ("#verdict=nonsense", 0),
        ("#%", 270),
        ("#stack=%E0%A4%A", 270),
    ],
)
def test_a_link_shows_the_same_view(tab: Tab, published: Path, address: str, cells: int) -> None:
    """A link in an issue opens on something else, or a broken one on nothing."""
    page = tab.open(published, address)
    if "urllib3" in address:
        cells = page.locator("tbody[data-stack=python-urllib3] td[class]").count()
    assert shown(page) == cells


def test_a_link_opens_its_cell(tab: Tab, published: Path, keep: Keep) -> None:
    """The evidence in an issue is one click further away than its link says."""
    page = tab.open(published, f"#run={published.stem}&cell={CELL}")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("heading").first).to_contain_text("python-kubernetes 37.0.2 / default / gcp-vpc")
    expect(dialog.locator(".story")).to_contain_text("silent for 600 s")
    keep(tab, "cell")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("location.hash") == ""


def test_a_link_to_another_run_says_so(tab: Tab, published: Path) -> None:
    """A link that was copied together wrongly would show another run's evidence under its name."""
    page = tab.open(published, f"#run=2020-01-01-00000000&cell={CELL}")
    expect(page.get_by_role("dialog")).to_contain_text("this page is of run")


def test_back_and_forward(tab: Tab, published: Path) -> None:
    """After opening a cell the browser's Back leaves the site."""
    page = tab.open(published, "#profile=default")
    page.locator(place(page, "python-kubernetes", "default", "azure-slb")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("loudly")
    assert page.evaluate("location.hash").endswith("cell=python-kubernetes@37.0.2/default/azure-slb")
    page.go_back()
    expect(dialog).to_be_hidden()
    assert shown(page) == 30
    page.go_forward()
    expect(dialog).to_be_visible()


def test_keyboard(tab: Tab, published: Path) -> None:
    """Who has no mouse cannot reach a cell, or has to press Tab 270 times to pass the matrix."""
    page = tab.open(published)
    assert page.locator("#matrix [tabindex='0']").count() == 1
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    focused = "[document.activeElement.parentElement.dataset.profile, document.activeElement.cellIndex]"
    assert page.evaluate(focused) == ["default", 1]
    for key, wanted in (
        ("ArrowDown", ["retry", 1]),
        ("ArrowRight", ["retry", 2]),
        ("End", ["retry", 9]),
        ("ArrowRight", ["retry", 9]),
        ("ArrowUp", ["default", 9]),
        ("ArrowUp", ["default", 9]),
        ("Home", ["default", 1]),
        ("PageDown", ["retry", 1]),
        ("Control+Home", ["default", 1]),
    ):
        page.keyboard.press(key)
        if key != "PageDown":
            assert page.evaluate(focused) == wanted, key
    assert page.locator("#matrix [tabindex='0']").count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == ["default", 2]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_focused_cell_is_not_behind_the_heads(tab: Tab, large: Path) -> None:
    """The arrow keys move a focus that cannot be seen."""
    page = tab.open(large)
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    for key in ("Control+End", "PageUp", "PageUp", "ArrowUp", "Home"):
        page.keyboard.press(key)
        hit = page.evaluate(
            "() => { const box = document.activeElement.getBoundingClientRect();"
            " return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)"
            ".closest('td') === document.activeElement; }"
        )
        assert hit, key


def test_hover_lights_row_and_column(tab: Tab, published: Path) -> None:
    """In a wide matrix the eye loses which network a cell belongs to."""
    page = tab.open(published)
    page.locator(place(page, "python-kubernetes", "retry", "gcp-vpc")).hover()
    assert page.locator("tr.lit").get_attribute("data-profile") == "retry"
    assert page.locator("th.lit").get_attribute("data-scenario") == "gcp-vpc"
    assert page.locator("td.lit").count() == 38
    page.mouse.move(5, 5)
    assert page.locator(".lit").count() == 0


def test_heads_stay_in_sight(tab: Tab, published: Path) -> None:
    """Further down, a column is only a column."""
    page = tab.open(published)
    page.locator(".scroller").hover()
    page.mouse.wheel(0, 400)
    page.locator("tr[data-profile=deaf]").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('.scroller').scrollIntoView()")
    box = page.locator("th[data-scenario=gcp-vpc]").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 400
    page.set_viewport_size(browser.PHONE)
    page.evaluate("document.querySelector('.scroller').scrollLeft = 400")
    box = page.locator("tr[data-profile=retry] th").first.bounding_box()
    assert box is not None
    assert box["x"] < 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_light_dark_and_phone(tabs: Callable[..., Tab], published: Path, keep: Keep, scheme: str, size: str) -> None:
    """At night, or on a phone, the page is glaring, unreadable, or wider than the screen."""
    viewport = browser.PHONE if size == "phone" else browser.DESKTOP
    tab = tabs(viewport=viewport, color_scheme=scheme)
    page = tab.open(published)
    keep(tab, f"{scheme}-{size}")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (light > 200) == (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(place(page, "python-kubernetes", "default", "gcp-vpc")).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator(".ladder")).to_be_visible()
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
    keep(tab, f"{scheme}-{size}-cell")


def test_reduced_motion(tabs: Callable[..., Tab], published: Path) -> None:
    """Who asked the system for less motion gets it anyway."""
    page = tabs(reduced_motion="reduce").open(published)
    assert page.evaluate("getComputedStyle(document.body).animationName") == "none"
    assert page.evaluate("document.getAnimations().length") == 0
