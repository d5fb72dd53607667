"""The matrix page in a real browser: what a maintainer who was sent a link sees, and what becomes of their clicks."""

from __future__ import annotations

import re
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
    answers = ("What is tested", "So far", "PASS with restarts", "= fails silently", "gcp-vpc", "each one alone cures")
    for text in answers:
        box = page.get_by_text(text).first.bounding_box()
        assert box is not None, text
        assert box["y"] + box["height"] < below, text
    amber, legend = (
        page.locator(selector).first.evaluate("each => getComputedStyle(each).backgroundColor")
        for selector in ("td.died", ".reading.pass-with-restarts button")
    )
    assert amber == legend
    row = page.locator(".short tbody tr", has_text="gcp-vpc")
    expect(row).to_contain_text("stuck = fails silently")
    expect(row).to_contain_text("python-kubernetes")
    expect(row).to_contain_text("tcp-keepalive")


def test_first_screen_is_legible_and_shows_the_matrix(tab: Tab, published: Path) -> None:
    """The picture that is shared has captions that nobody can read, or a legend and no matrix."""
    page = tab.open(published)
    small = page.evaluate(
        "() => [...document.querySelectorAll('header *, main *')].filter(each => each.checkVisibility()"
        " && [...each.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())"
        " && parseFloat(getComputedStyle(each).fontSize) < 12).map(each => each.outerHTML.slice(0, 80))"
    )
    assert small == []
    first = page.locator("tbody[data-stack=python-kubernetes] tr[data-profile]")
    bottoms = [box["y"] + box["height"] for line in first.all() if (box := line.bounding_box()) is not None]
    assert sum(bottom <= browser.DESKTOP["height"] for bottom in bottoms) >= 8


def test_legend_and_summary_use_the_same_words(tab: Tab, published: Path) -> None:
    """Red is FAIL here, stuck there and deaf elsewhere, and the reader takes them for three things."""
    page = tab.open(published)
    legend = {text.rsplit(" ", 1)[0] for text in page.locator(".verdicts button").all_inner_texts()}
    page.locator(".folded > summary").click()
    tags = set(page.locator(".short td:nth-child(2) .tag").all_inner_texts())
    assert {"✗ stuck = fails silently", "! died = fails loudly", "✓ ok = sees it"} == tags
    assert tags < legend
    assert "deaf" not in page.locator("header, .legend, .short").all_inner_texts()[-1]


def test_summary_tells_late_from_never_and_names_who_is_cured(tab: Tab, published: Path) -> None:
    """A chip says "in 1 of 4", and leaves open which one, and whether the other three ever recover."""
    page = tab.open(published)
    row = page.locator(".short tbody tr", has=page.get_by_role("link", name="blackhole", exact=True))
    lines = [line.inner_text() for line in row.locator("td").nth(1).locator("> div").all()]
    assert len(lines) == 3
    assert re.search(r"cures only some tcp-user-timeout ?: ✓ ok: python-kubernetes-informer; .*late: ", lines[0])
    assert re.search(r"late, but recovers read-timeout after 13 to 14 s, tcp-keepalive after 30 to 31 s", lines[1])
    assert "stuck: no recovery retry, bookmarks" in lines[2]
    expect(page.locator(".short tbody tr", has_text="server-180s")).to_contain_text("not run here: 3 stacks")


def test_a_setting_is_explained_and_opens(tab: Tab, published: Path) -> None:
    """Who reads "tcp-user-timeout" learns neither what it is nor what to copy, and loses the filters by asking."""
    page = tab.open(published, "#path=gcp-vpc")
    link = page.locator(".short a", has_text="tcp-user-timeout").first
    described = page.locator(f"#{link.get_attribute('aria-describedby')}")
    expect(described).to_contain_text("unanswered probes end the connection sooner")
    head = page.locator("tbody[data-stack=python-urllib3] tr[data-profile=tcp-user-timeout] th")
    expect(head).to_contain_text("gives up 20 s unanswered")
    head.locator("a").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("user_timeout_seconds = 20")
    expect(page.get_by_label("environment of the program")).to_contain_text("WATCHER_USER_TIMEOUT=20")
    assert page.evaluate("location.hash") == "#path=gcp-vpc&setting=tcp-user-timeout"
    dialog.get_by_role("link", name="python-urllib3").click()
    expect(page.get_by_label("clients/python-urllib3/watch.py", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("location.hash") == "#path=gcp-vpc"
    page.goto(f"{published.absolute().as_uri()}#setting=retry")
    have = ["python-kubernetes", "python-kubernetes-asyncio", "python-urllib3"]
    expect(dialog.get_by_role("link")).to_have_text(have)
    page.goto(f"{published.absolute().as_uri()}#setting=constructor")
    expect(dialog).to_be_hidden()


def test_filters_have_both_words(tab: Tab, published: Path) -> None:
    """The text says library, setting and network, the filters stack, profile and path."""
    page = tab.open(published)
    texts = page.locator("#filters summary").all_inner_texts()
    assert texts == ["library (stack): all", "setting (profile): all", "network (path): all"]


def test_a_cell_looks_as_if_it_opens(tab: Tab, published: Path) -> None:
    """The packets behind a cell are found by nobody."""
    page = tab.open(published)
    cell = page.locator(place(page, "python-kubernetes", "default", "gcp-vpc"))
    look = "each => [getComputedStyle(each).cursor, getComputedStyle(each).textDecorationLine]"
    assert cell.evaluate(look) == ["pointer", "underline"]
    cell.hover()
    expect(cell).to_have_attribute("title", "stuck = fails silently. Click to see what happened.")
    gap = page.locator(place(page, "python-urllib3", "default", "azure-slb-server-180s"))
    expect(gap).to_have_text("not run")
    assert gap.evaluate(look) == ["auto", "none"]


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
    expect(page.get_by_role("dialog")).to_be_hidden()
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
    # A browser may tell the page of its pointer a frame later.
    expect(page.locator("tr.lit")).to_have_attribute("data-profile", "retry")
    expect(page.locator("th.lit")).to_have_attribute("data-scenario", "gcp-vpc")
    expect(page.locator("td.lit")).to_have_count(38)
    page.mouse.move(5, 5)
    expect(page.locator(".lit")).to_have_count(0)


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
