"""Text of programs, libraries and other people's files, which may be anything, is shown as text."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.page.browser import Tab
from tests.page.examples import MARKUP
from watcher.report.page.render import island, safe_link


def test_markup_is_text(tab: Tab, hostile: Path) -> None:
    """A library's name takes over the page of whoever looks at its results."""
    page = tab.open(hostile)
    expect(page.locator(".stack th").first).to_contain_text(MARKUP)
    page.locator("tr[data-profile=default] td").nth(1).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".story")).to_be_visible()
    page.locator("dialog details summary", has_text="in words").click()
    expect(dialog).to_contain_text(f"observed: {MARKUP}")
    for label in ("environment of the program", MARKUP):
        assert page.get_by_label(label, exact=True).text_content() == MARKUP
    assert page.locator("img").count() == 0
    assert page.locator("[onerror]").count() == 0
    assert "taken" not in page.title().replace(MARKUP, "")
    links = page.evaluate("[...document.querySelectorAll('a')].map(link => link.href)")
    assert all(re.match(r"(https|file):", link) for link in links), links
    assert "https://example.org/1" in links


def test_a_page_that_did_not_escape_would_be_caught(tabs: object, tmp_path: Path, hostile: Path) -> None:
    """The mutant of the test above: with escaping undone, the same look finds the image."""
    from html import unescape

    assert callable(tabs)
    tab = tabs()
    broken = tmp_path / "broken.html"
    text = hostile.read_text(encoding="utf-8")
    head, body = text.split("<body>", 1)
    broken.write_text(f"{head}<body>{unescape(body.split('<script', 1)[0])}", encoding="utf-8")
    tab.page.goto(broken.as_uri())
    assert tab.page.locator("img").count() > 0
    assert tab.page.title() != "taken", "and even then the page's policy lets no foreign script run"
    tab.page.goto("about:blank")  # after it no more complaints can come
    tab.complaints.clear()  # the policy's own
    tab.asked_for.clear()


def test_island_cannot_be_left() -> None:
    """A script element ends at the first ``</script``, wherever it stands."""
    text = island({"a": f"{MARKUP}\u2028<!--"})
    assert not set(text) & set("<>&\u2028\u2029")


def test_links_are_https() -> None:
    """A catalog's ``javascript:`` runs when a reader clicks on a source."""
    assert safe_link("https://example.org/a (see there)") == "https://example.org/a"
    for text in ("javascript:alert(1)", "http://example.org", "//example.org", "https://[", "data:text/html,x", ""):
        assert safe_link(text) == ""


def test_a_request_and_a_complaint_are_noticed(tab: Tab, tmp_path: Path) -> None:
    """The mutant of what every test here ends with: a page that fetches, and one that complains, do not pass."""
    page = tmp_path / "fetching.html"
    page.write_text('<html data-ready><img src="https://example.org/x.png"><script>console.error("no")</script>')
    tab.open(page)
    tab.page.wait_for_load_state("networkidle")
    assert "https://example.org/x.png" in tab.asked_for
    assert "error: no" in tab.complaints
    tab.page.goto("about:blank")  # after it no more of either can come
    tab.asked_for.clear()
    tab.complaints.clear()
