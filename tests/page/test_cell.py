"""What a cell opens to: the timeline, the ladder, the program, and the way to see it for oneself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from tests.page.browser import Tab
from watcher import cli


def opened(tab: Tab, published: Path, cell: str) -> Page:
    page = tab.open(published, f"#cell={cell}")
    expect(page.locator("dialog .inside")).to_be_visible()
    # It is drawn when its size is known, which is a frame later.
    page.wait_for_selector(".timeline[data-to]", state="attached")
    return page


def span(page: Page) -> tuple[float, float]:
    begin, end = (page.locator(".timeline").get_attribute(name) for name in ("data-from", "data-to"))
    return float(begin or 0), float(end or 0)


def test_the_ladder_tells_of_the_forgotten_connection(tab: Tab, published: Path) -> None:
    """Who has never heard of conntrack does not see why nothing arrives."""
    page = opened(tab, published, "python-kubernetes@37.0.2/default/gcp-vpc")
    words = page.locator(".ladder .words").all_inner_texts()
    story = "\n".join(words)
    order = [
        "The client connects",
        "changed a first time",
        "it arrives: the watch works",
        "600 s of silence",
        "The network forgets the connection",
        "Will the client see it?",
        "drops it without a word",
        "A fresh connection through the same network works",
        "sends the change 6 times more",
        "the client has not seen the change",
        "The lab stops waiting",
    ]
    positions = [story.find(each) for each in order]
    assert -1 not in positions, order[positions.index(-1)]
    assert positions == sorted(positions)
    lost = page.locator(".ladder li", has_text="drops it without a word")
    expect(lost.locator("path")).to_have_count(1)
    assert page.locator(".ladder li.good").count() == 0


def test_the_ladder_of_a_cured_cell(tab: Tab, published: Path) -> None:
    """The mutant of the test above: where keepalive cures, nothing is forgotten, and the change arrives."""
    page = opened(tab, published, "python-kubernetes@37.0.2/tcp-keepalive/gcp-vpc")
    story = "\n".join(page.locator(".ladder .words").all_inner_texts())
    assert "forgets" not in story
    assert "are you there?" in story
    assert re.search(r"the 2 steps above \d+ times more, every 3\d s", story)
    assert "The API server sends the change, and it arrives." in story
    expect(page.locator(".story")).to_contain_text("kept the connection alive")


def test_timeline(tab: Tab, published: Path, keep: Callable[[Tab, str], Path]) -> None:
    """The moment that decides is one of 750 seconds: without zoom nobody sees it."""
    page = opened(tab, published, "python-kubernetes@37.0.2/tcp-keepalive/blackhole")
    lanes = page.locator(".timeline text.soft").all_text_contents()
    assert [lane for lane in lanes if not lane.endswith(" s")] == [
        "touches", "client says", "its sockets", "fault and proof", "packets",
    ]  # fmt: skip
    whole = span(page)
    assert whole[0] < 0 < 63 < whole[1]
    stopped = page.locator(".timeline .packet.stopped").count()
    assert stopped > 5
    page.get_by_role("button", name="zoom in").click()
    half = span(page)
    assert half[1] - half[0] == pytest.approx((whole[1] - whole[0]) / 2)
    page.get_by_role("button", name="the fault").click()
    begin, end = span(page)
    assert begin < 2.03 < end
    assert end - begin == pytest.approx(14)
    assert page.locator(".timeline .packet.stopped").count() == 0
    keep(tab, "timeline-fault")
    page.locator(".timeline").focus()
    page.keyboard.press("ArrowRight")
    assert span(page)[0] > begin
    page.keyboard.press("0")
    assert span(page) == pytest.approx(whole)
    page.locator(".timeline rect.bad").hover(force=True)
    expect(page.locator(".caption")).to_contain_text("blackhole")
    page.get_by_text("The timeline in words").click()
    expect(page.locator("dialog details ol li", has_text="observed").first).to_be_visible()


def test_wheel_zooms_around_the_pointer(tab: Tab, published: Path) -> None:
    """Only with Ctrl: without it the page scrolls, as pages do."""
    page = opened(tab, published, "python-kubernetes@37.0.2/default/gcp-vpc")
    whole = span(page)
    page.locator(".timeline").hover()
    page.mouse.wheel(0, -100)
    assert span(page) == whole
    page.keyboard.down("Control")
    page.locator(".timeline").hover()
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"document.querySelector('.timeline').dataset.to < {whole[1]}")


def test_program_settings_and_command(tab: Tab, published: Path) -> None:
    """Who doubts a verdict cannot see what ran, or cannot run it."""
    page = opened(tab, published, "python-kubernetes@37.0.2/tcp-keepalive/gcp-vpc")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("environment of the program")).to_contain_text("WATCHER_KEEPALIVE_IDLE=30")
    program = (Path(__file__).parents[2] / "clients/python-kubernetes/watch.py").read_text()
    assert dialog.get_by_label("clients/python-kubernetes/watch.py", exact=True).text_content() == program
    command = shlex.split(dialog.get_by_label("command", exact=True).inner_text())
    assert command[:2] == ["watcher", "run"]
    assert "python-kubernetes/tcp-keepalive/gcp-vpc" in command
    options = CliRunner().invoke(cli.app, ["run", "--help"], env={"COLUMNS": "200"}).output
    assert all(word in options for word in command if word.startswith("--"))
    expect(dialog.get_by_role("link", name="clients/python-kubernetes/watch.py")).to_have_attribute(
        "href", re.compile(r"clients/python-kubernetes/watch\.py$")
    )
    expect(dialog.get_by_role("link", name="https://github.com/kubernetes-client/python/blob")).to_be_visible()
    expect(dialog).to_contain_text("Contest a result")


def test_threads_and_evidence(tab: Tab, published: Path) -> None:
    """The reports that a cell reproduces are not linked, or its packets cannot be had."""
    page = opened(tab, published, "python-kubernetes@37.0.2/default/gcp-vpc")
    threads = page.get_by_role("dialog").locator("a[href*='issues/596']")
    expect(threads).to_have_attribute("rel", "noopener noreferrer")
    files = page.get_by_role("dialog").locator("a[href*='evidence']")
    assert files.count() == 5
    for number in range(5):
        link = files.nth(number).get_attribute("href") or ""
        assert (published.parent / unquote(link)).resolve().is_file(), link


def test_a_cell_without_evidence_has_no_dead_links(tab: Tab, published: Path) -> None:
    """Packets are published of cells that are not ok; of the others a link would lead nowhere."""
    page = opened(tab, published, "python-kubernetes@37.0.2/tcp-keepalive/gcp-vpc")
    assert page.get_by_role("dialog").locator("a[href*='evidence']").count() == 0


def test_copy(tabs: Callable[..., Tab], published: Path) -> None:
    """The button says copied, and nothing is."""
    tab = tabs(permissions=["clipboard-read", "clipboard-write"])
    page = opened(tab, published, "python-kubernetes@37.0.2/default/gcp-vpc")
    command = page.get_by_label("command", exact=True)
    page.evaluate("() => { window.setTimeout = () => 0; }")  # it says so for 1.5 s, here for as long as is looked at
    command.locator("xpath=..").get_by_role("button", name="copy").click()
    expect(page.get_by_role("button", name="copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == command.inner_text()


def test_program_of_a_row(tab: Tab, published: Path) -> None:
    """A library's maintainers do not find what runs under its name."""
    page = tab.open(published)
    links = page.locator("tbody[data-stack=python-urllib3] .stack a")
    expect(links.nth(1)).to_have_attribute("href", re.compile("^https://"))
    links.first.click()
    expect(page.get_by_role("dialog")).to_contain_text("urllib3 2.8.0")
    expect(page.get_by_label("clients/python-urllib3/watch.py", exact=True)).to_be_visible()


def test_every_cell_opens(tab: Tab, published: Path) -> None:
    """One cell's odd evidence leaves its reader with an empty window."""
    page = tab.open(published)
    empty = page.evaluate(
        """async () => {
          const found = [];
          for (const cell of document.querySelectorAll("#matrix td[class]")) {
            cell.click();
            await new Promise((done) => setTimeout(done, 0));
            const until = performance.now() + 20_000;
            while (performance.now() < until && !document.querySelector("dialog .story"))
              await new Promise((done) => setTimeout(done, 5));
            const story = document.querySelector("dialog .story");
            const text = story ? story.textContent : "";
            if (!/^[A-Z].*\\.$/.test(text) || text.includes("undefined")) found.push(location.hash);
            document.getElementById("close").click();
            document.getElementById("details").replaceChildren();
          }
          return found;
        }"""
    )
    assert empty == []
