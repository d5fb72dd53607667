"""What the pages are filled with; how they look and act is tested in ``tests/page``."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report.examples import a_cell, a_full_run, a_run
from watcher import protocols
from watcher.catalog import Catalog
from watcher.model import CellResult, Profile, Results, ScenarioResult, Settings, SettingsResult, Verdict
from watcher.publish.page import render
from watcher.report.clients import render as clients_table
from watcher.report.diff import compare
from watcher.report.index import Published
from watcher.report.page import Surroundings, diff_page, index_page, page, plain
from watcher.report.page.cells import command, hint
from watcher.report.page.cures import WORST_FIRST, Elsewhere
from watcher.report.page.findings import findings
from watcher.report.page.ladder import rows
from watcher.report.page.settings import phrase
from watcher.report.page.story import story
from watcher.report.words import DECIDED
from watcher.timeline import Step, Timeline, What


def in_scenario(results: Results, **faults: str) -> Results:
    scenarios = {
        name: ScenarioResult(description=f"what {name} does", path=name, fault=fault, source="https://example.org/")
        for name, fault in faults.items()
    }
    return results.model_copy(update={"scenarios": scenarios})


def details(text: str) -> list[dict[str, Any]]:
    chunks = re.findall(r'<script type="text/plain" id="chunk-\d+">([^<]*)</script>', text)
    return [json.loads(gzip.decompress(base64.b64decode(chunk))) for chunk in chunks]


def test_equal_results_make_equal_pages() -> None:
    """Each `watcher publish` changes pages in which nothing has changed."""
    assert page(a_full_run(), "one") == page(a_full_run(), "one")


def test_every_cell_has_its_details() -> None:
    """A cell opens to nothing."""
    results = a_full_run()
    found = details(page(results, "one"))
    assert sum(map(len, found)) == len(results.cells) + len(results.controls)
    assert all(each["story"].endswith((".", "!", "?")) for chunk in found for each in chunk.values())


def test_nothing_is_fetched() -> None:
    """The page is broken offline, or tells a third party who reads it."""
    for text in (page(a_full_run(), "one"), index_page([], []), diff_page(compare(a_full_run(), a_full_run()))):
        assert not re.findall(r"<link|\ssrc=|@import|url\(|fetch\(", text)
        assert "default-src 'none'" in unescape(text)


def test_findings_say_who_is_deaf_and_what_cures() -> None:
    """The first screen names the wrong cure."""
    cells = [
        *(a_cell(Verdict.STUCK, stack=stack, scenario="gcp-vpc") for stack in ("a", "b")),
        *(a_cell(Verdict.OK, 0.1, stack=stack, scenario="gcp-vpc", profile="tcp-keepalive") for stack in ("a", "b")),
        a_cell(Verdict.OK, 0.1, stack="a", scenario="gcp-vpc", profile="bookmarks"),
        a_cell(Verdict.STUCK, stack="b", scenario="gcp-vpc", profile="bookmarks"),
        *(a_cell(Verdict.STUCK, stack=stack, scenario="gcp-vpc", profile="retry") for stack in ("a", "b")),
        *(a_cell(Verdict.UNSUPPORTED, stack=stack, scenario="gcp-vpc", profile="http2-ping") for stack in ("a", "b")),
    ]
    (found,) = findings(in_scenario(a_run(*cells), **{"gcp-vpc": "idle-expiry"}))
    assert found.having(Verdict.STUCK) == ("a", "b")
    assert [cure.profile for cure in found.cures_of_all] == ["tcp-keepalive"]
    (some,) = found.cures_of_some
    assert (some.profile, some.outcomes) == ("bookmarks", ((Verdict.OK, ("a",)), (Verdict.STUCK, ("b",))))
    assert [(verdict, [cure.profile for cure in cures]) for verdict, cures in found.no_cures] == [
        (Verdict.STUCK, ["retry"])
    ]


def test_a_cure_must_cure_who_is_ill() -> None:
    """A setting looks good because of a stack that needed none."""
    cells = [
        a_cell(Verdict.OK, 0.1, stack="well", scenario="gcp-vpc"),
        a_cell(Verdict.STUCK, stack="ill", scenario="gcp-vpc"),
        a_cell(Verdict.OK, 0.1, stack="well", scenario="gcp-vpc", profile="retry"),
        a_cell(Verdict.STUCK, stack="ill", scenario="gcp-vpc", profile="retry"),
    ]
    (found,) = findings(in_scenario(a_run(*cells), **{"gcp-vpc": "idle-expiry"}))
    assert found.shipped == ((Verdict.STUCK, ("ill",)), (Verdict.OK, ("well",)))
    ((verdict, (cure,)),) = found.no_cures
    assert (verdict, cure.profile) == (Verdict.STUCK, "retry")


def test_a_cure_that_not_all_have_is_not_one_for_all() -> None:
    """The summary promises a cure to a library that has no such setting."""
    cells = [a_cell(Verdict.STUCK, stack=stack, scenario="gcp-vpc") for stack in ("a", "b")]
    cells.append(a_cell(Verdict.OK, 0.1, stack="a", scenario="gcp-vpc", profile="http2-ping"))
    cells.append(a_cell(Verdict.UNSUPPORTED, stack="b", scenario="gcp-vpc", profile="http2-ping"))
    (found,) = findings(in_scenario(a_run(*cells), **{"gcp-vpc": "idle-expiry"}))
    assert found.cures_of_all == ()
    assert [(cure.profile, cure.tried, cure.failing) for cure in found.cures_where_there] == [("http2-ping", 1, 2)]


def test_late_is_told_from_never() -> None:
    """Whoever can live with half a minute is told that no setting helps, or is not told how long it takes."""
    cells = [
        *(a_cell(Verdict.STUCK, scenario=scenario) for scenario in ("one", "two")),
        *(a_cell(Verdict.STUCK, scenario=scenario, profile="retry") for scenario in ("one", "two")),
        a_cell(Verdict.LATE, 31.4, scenario="one", profile="tcp-keepalive"),
        a_cell(Verdict.LATE, 30.2, scenario="two", profile="tcp-keepalive"),
    ]
    (found,) = findings(in_scenario(a_run(*cells), one="blackhole", two="blackhole"))
    assert found.scenarios == ("one", "two"), "seconds are no difference"
    (late, (keepalive,)), (never, (retry,)) = found.no_cures
    assert (late, never) == (Verdict.LATE, Verdict.STUCK)
    assert plain.delays(keepalive) == "after 30 to 31 s"
    assert plain.delays(retry) == ""


def test_who_was_not_run_is_named() -> None:
    """A network in which one stack of two was run looks harmless to both."""
    cells = [
        a_cell(Verdict.OK, 0.1, stack="a", scenario="one"),
        *(a_cell(Verdict.STUCK, stack=stack, scenario="two") for stack in ("a", "b")),
        a_cell(Verdict.INVALID, stack="c", scenario="two"),
    ]
    silent, good = findings(in_scenario(a_run(*cells), one="idle-expiry", two="idle-expiry"))
    assert (silent.absent, silent.uncounted) == ((), ("c",))
    assert (good.absent, good.uncounted) == (("b", "c"), ())
    text = page(in_scenario(a_run(*cells), one="idle-expiry", two="idle-expiry"), "one")
    assert text.count("<td><small>not run</small></td>") == 2
    assert "“Not run”: not part of this run" in text


@pytest.mark.parametrize("verdict", Verdict)
def test_one_word_for_one_outcome(verdict: Verdict) -> None:
    """Legend and summary call the same outcome by different names, and the reader looks for the difference."""
    chip = plain.chip(verdict)
    assert chip.words == f"{verdict.value} = {plain.PLAIN[verdict]}"
    text = page(in_scenario(a_run(a_cell(verdict, scenario="one")), one="idle-expiry"), "one")
    assert f'<b aria-hidden="true">{chip.symbol}</b> {chip.words} <span class="count">1<' in text
    tag = f'<span class="tag {verdict.value}"><b aria-hidden="true">{chip.symbol}</b> {chip.words}</span>'
    assert (tag in text) == (verdict in DECIDED)


def test_all_outcomes_have_plain_words() -> None:
    """A new verdict breaks the page, or two outcomes share their words."""
    assert set(plain.PLAIN) == set(Verdict)
    assert len(set(plain.PLAIN.values())) == len(plain.PLAIN)
    assert set(plain.LEFT) == DECIDED - {Verdict.OK}
    assert set(WORST_FIRST) == DECIDED


def test_coverage_is_counted() -> None:
    """The page speaks of client libraries and does not say that they are all of one language."""
    two = (a_cell(stack="a"), a_cell(stack="b"), a_cell(stack="b", profile="retry"))
    told = plain.coverage(a_run(*two), protocols.introduction({"watch"}))
    assert told.startswith("1 client library (kubernetes) in 1 language (python), watching in 2 ways (stacks)")
    assert told.endswith("with 2 settings (profiles), in 1 network")


@pytest.mark.parametrize("profile", Catalog.load().profiles.values(), ids=lambda profile: profile.name)
def test_each_setting_has_a_phrase(profile: Profile) -> None:
    """A row is called tcp-keepalive-os, and nobody says what that does."""
    told = phrase(profile.settings)
    assert 20 < len(told) < 42, "beside its name on one line"
    others = [phrase(other.settings) for other in Catalog.load().profiles.values() if other.name != profile.name]
    assert told not in others


def test_settings_are_explained() -> None:
    """The names of settings are all that a reader has; the numbers to copy are nowhere."""
    cell = a_cell(profile="read-timeout", scenario="gcp-vpc")
    asked = Settings(retry_seconds=1, read_timeout_seconds=45)
    cell = cell.model_copy(update={"settings": SettingsResult(asked=asked, effective=asked)})
    cells = (a_cell(Verdict.STUCK, scenario="gcp-vpc"), cell)
    around = Surroundings(
        profiles={"read-timeout": "ends a <quiet> watch"},
        variables={"python-kubernetes/read-timeout/gcp-vpc": "WATCHER_READ_TIMEOUT=45"},
    )
    text = page(in_scenario(a_run(*cells), **{"gcp-vpc": "idle-expiry"}), "one", around=around)
    assert 'href="#profile=read-timeout" title="ends a &lt;quiet&gt; watch" aria-describedby="setting-1"' in text
    assert '<dd id="setting-1">ends a &lt;quiet&gt; watch</dd>' in text
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])
    assert data["settings"]["read-timeout"]["given"] == {"retry_seconds": 1.0, "read_timeout_seconds": 45.0}
    assert data["settings"]["read-timeout"]["variables"] == "WATCHER_READ_TIMEOUT=45"


def test_networks_that_say_the_same_are_said_once() -> None:
    """The summary is as long as the matrix."""
    cells = [a_cell(Verdict.STUCK, scenario=scenario) for scenario in ("a", "b")]
    cells.append(a_cell(Verdict.DIED, scenario="c"))
    found = findings(in_scenario(a_run(*cells), a="idle-expiry", b="idle-expiry", c="idle-expiry", d="none"))
    assert [each.scenarios for each in found] == [("a", "b"), ("c",)]


def idle_and_cut(*cells: CellResult) -> Results:
    return in_scenario(a_run(*cells), idle="idle-expiry", cut="blackhole", well="idle-expiry", loud="idle-expiry")


def test_what_a_reader_can_use_comes_first() -> None:
    """The one network in which everybody fails for ever hides the one that a setting cures."""
    cells = [
        *(a_cell(Verdict.STUCK, stack=stack, scenario="cut") for stack in ("a", "b")),
        a_cell(Verdict.OK, 0.1, stack="a", scenario="cut", profile="retry"),
        a_cell(Verdict.STUCK, stack="b", scenario="cut", profile="retry"),
        a_cell(Verdict.STUCK, stack="a", scenario="idle"),
        a_cell(Verdict.OK, 0.1, stack="a", scenario="well"),
        a_cell(Verdict.DIED, stack="a", scenario="loud"),
    ]
    assert [each.scenarios[0] for each in findings(idle_and_cut(*cells))] == ["cut", "idle", "loud", "well"]
    cells.append(a_cell(Verdict.OK, 0.1, stack="a", scenario="idle", profile="retry"))
    assert [each.scenarios[0] for each in findings(idle_and_cut(*cells))] == ["idle", "cut", "loud", "well"]
    cells.append(a_cell(Verdict.STUCK, stack="c", scenario="idle"))
    cells.append(a_cell(Verdict.STUCK, stack="c", scenario="idle", profile="retry"))
    assert [each.scenarios[0] for each in findings(idle_and_cut(*cells))][:2] == ["idle", "cut"], "equals: every day"


def many(networks: int, verdict: Verdict = Verdict.STUCK) -> Results:
    """Each network with a finding of its own, as another stack fails in each."""
    names = [f"network-{number}" for number in range(networks)]
    cells = [a_cell(verdict, stack=f"stack-{name}", scenario=name) for name in names]
    return in_scenario(a_run(*cells), **dict.fromkeys(names, "idle-expiry"))


def test_few_findings_stand_at_the_top_and_none_is_lost() -> None:
    """The matrix of a large run begins three screens below its legend, or its fourth network is nowhere."""
    for networks, folded in ((3, ""), (4, "1 more network;"), (9, "6 more networks;")):
        text = page(many(networks), "one")
        assert text.count('<span class="network">') == networks
        head, _, rest = text.partition('<details class="folded">')
        assert head.count('<span class="network">') == 3
        assert folded in rest[:40]
    assert plain.more(findings(many(2))) == "2 more networks; in 2 of them a client fails silently"
    assert plain.more(findings(many(2, Verdict.DIED))) == "2 more networks; nobody fails silently there"


def test_who_fails_silently_is_named_whoever_else_is_folded() -> None:
    """The summary says "7 stacks" of the very thing that it is there to tell."""
    cells = [a_cell(Verdict.STUCK, stack=f"silent-{number}", scenario="idle") for number in range(8)]
    cells += [a_cell(Verdict.DIED, stack=f"loud-{number}", scenario="idle") for number in range(4)]
    text = page(idle_and_cut(*cells), "one")
    assert all(f'<span class="whole">silent-{number}</span>' in text for number in range(8))
    assert "<summary>4 stacks</summary>loud-0, loud-1, loud-2, loud-3</details>" in text
    cells.append(a_cell(Verdict.STUCK, stack="silent-8", scenario="idle"))
    assert "<summary>3 more</summary>silent-6, silent-7, silent-8</details>" in page(idle_and_cut(*cells), "one")


def test_that_nothing_cures_is_said() -> None:
    """A row without a cure looks as if nobody had tried."""
    cells = [a_cell(Verdict.STUCK, scenario="idle"), a_cell(Verdict.STUCK, scenario="idle", profile="retry")]
    assert "no setting of this run cures it" in page(idle_and_cut(*cells), "one")
    cells[1] = a_cell(Verdict.OK, 0.1, scenario="idle", profile="retry")
    assert "no setting of this run cures" not in page(idle_and_cut(*cells), "one")
    assert "no other setting was run here</div>" in page(idle_and_cut(cells[0]), "one")


def other_run(*cells: CellResult, name: str = "2026-11-20-0123abcd") -> Published:
    return Published(name, idle_and_cut(*cells), {})


def test_another_run_that_knows_the_cure_is_named() -> None:
    """The run with all the libraries has only their defaults: its page leaves the reader with the diagnosis."""
    here = idle_and_cut(*(a_cell(Verdict.STUCK, stack=stack, scenario="idle") for stack in ("a", "b")))
    there = other_run(
        a_cell(Verdict.STUCK, stack="a", scenario="idle"),
        a_cell(Verdict.OK, 0.1, stack="a", scenario="idle", profile="bookmarks"),
        a_cell(Verdict.STUCK, stack="a", scenario="idle", profile="retry"),
    )
    (found,) = findings(here, [there])
    assert found.elsewhere == Elsewhere(there.name, ("a",), ("bookmarks",))
    text = page(here, "one", around=Surroundings(profiles={"bookmarks": "a <sign> of life"}), others=[there])
    assert "each one alone cures 1 of these 2</span>" in text
    assert f'href="{there.name}.html#setting=bookmarks" title="a &lt;sign&gt; of life"' in text
    assert f'href="{there.name}.html#path=idle">{there.name}</a>' in text


def test_another_run_is_asked_only_about_the_same() -> None:
    """A reader is promised what cured another version of the library, another failure, or nothing at all."""
    ill = a_cell(Verdict.STUCK, scenario="idle")
    cure = a_cell(Verdict.OK, 0.1, scenario="idle", profile="bookmarks")
    here, there = idle_and_cut(ill), other_run(ill, cure)
    assert findings(here, [there])[0].elsewhere is not None

    def changed(**changes: object) -> Published:
        return replace(there, results=there.results.model_copy(update=changes))

    stacks = {name: stack.model_copy(update={"version": "36.0.0"}) for name, stack in there.results.stacks.items()}
    elsewhere_path = {
        name: known.model_copy(update={"path": "other"}) for name, known in there.results.scenarios.items()
    }
    for other in (
        changed(stacks=stacks),
        changed(scenarios=elsewhere_path),
        changed(scenarios={}),
        changed(run=there.results.run.model_copy(update={"trusted": False})),
        changed(run=there.results.run.model_copy(update={"scale": 1})),
        other_run(a_cell(Verdict.DIED, scenario="idle"), cure),
        other_run(ill),
    ):
        assert findings(here, [other])[0].elsewhere is None
    useless = other_run(ill, a_cell(Verdict.STUCK, scenario="idle", profile="retry"))
    assert "with 1 of these 1, and none cures them all" in page(here, "one", others=[useless])
    tried_here = idle_and_cut(ill, a_cell(Verdict.STUCK, scenario="idle", profile="retry"))
    assert findings(tried_here, [there])[0].elsewhere is None, "this run has its own answer"


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_has_a_story(verdict: Verdict) -> None:
    """A cell's first line is empty, or says what its evidence does not hold."""
    cell = a_cell(verdict, 31.0 if verdict is Verdict.LATE else None, "something happened")
    told = story(cell, a_run(cell))
    assert told[0].isupper()
    assert told.endswith(".")
    assert "None" not in told


def evidence(cell: CellResult, **found: object) -> CellResult:
    return cell.model_copy(update={"evidence": {"flows": [{}], **found}, "scenario": "gcp-vpc"})


def test_stories_follow_the_evidence() -> None:
    """The sentence in plain words says that nobody was told, and the packets show two resets."""
    forgotten = {"expired": [{"at": 600.0, "silent_since": 0.0}], "touch": {"sent": 630.0}}
    resets = [{"by": "path", "to": to, "arrived": True, "at": 600.1} for to in ("client", "server")]
    late = {"by": "path", "to": "server", "arrived": True, "at": 630.1}
    for found, words in (([], "without telling anybody"), (resets, "told both sides"), (resets[1:], "told the server")):
        cell = evidence(a_cell(Verdict.STUCK, reason="its connection was still open"), resets=found, **forgotten)
        told = story(cell, in_scenario(a_run(cell), **{"gcp-vpc": "idle-expiry"}))
        assert words in told
        assert "believed to be fine" in told
    cell = evidence(a_cell(Verdict.STUCK), resets=[late], **forgotten)
    assert "without telling anybody" in story(cell, in_scenario(a_run(cell), **{"gcp-vpc": "idle-expiry"}))


def test_command_is_that_of_the_run() -> None:
    """Who runs it again runs something else, and gets another verdict."""
    cell = a_cell(scenario="gcp-vpc")
    assert command(cell, a_run(cell)) == "watcher run --cells python-kubernetes/default/gcp-vpc --scale 20"


def test_hints() -> None:
    """The rows' names say nothing to who does not know them."""
    assert hint(Settings()) == ""
    numbers = Settings(
        keepalive=True,
        keepalive_idle_seconds=30,
        keepalive_interval_seconds=10,
        keepalive_count=3,
        user_timeout_seconds=20,
    )
    assert hint(numbers) == "30/10/3 + 20 s"
    assert hint(Settings(read_timeout_seconds=45)) == "45 s"


@pytest.mark.parametrize("what", What)
def test_each_step_has_words(what: What) -> None:
    """A rung of the ladder is empty."""
    step = Step(what=what, at=1, until=2, port=4, packets=2, sender="server", direction="to-client", every_seconds=3)
    (row,) = rows(Timeline(begins=0, ends=9, touch=0.5, steps=(step,)))
    assert str(row["w"]).endswith((".", "?", ": "))


def test_index_is_newest_first_and_links_what_is_there() -> None:
    """The index leads to pages that are not there, or shows an old run as the newest."""
    old, new = (
        Published(f"2026-11-{day}-00000000", a_run(a_cell(), id="x"), {"kernel": "6.1"}) for day in ("20", "21")
    )
    text = index_page([old, new], [new.name])
    assert text.index(new.name) < text.index(old.name)
    assert f'href="pages/{new.name}.html"' in text
    assert f'href="{old.name}/matrix.md"' in text
    assert "There is none yet" in index_page([], [])


def test_difference_as_a_page() -> None:
    """The question is whether the new version fixed it, and the page does not answer."""
    before = a_run(a_cell(Verdict.STUCK), a_cell(Verdict.OK, profile="retry"), a_cell(profile="gone"), id="b<i>")
    after = a_run(a_cell(Verdict.OK), a_cell(Verdict.LATE, 12.0, profile="retry"), a_cell(profile="new"), id="after")
    text = diff_page(compare(before, after))
    worse, fixed = text.index("Worse than before (1)"), text.index("Fixed, or better than before (1)")
    assert worse < fixed < text.index("Added: only in the second run (1)") < text.index("Removed")
    assert '<td class="late">late 12 s</td>' in text
    assert "b&lt;i&gt;" in text
    assert "<i>" not in text


def test_clients_table() -> None:
    """The table that documentation embeds is not in the form that it has always had."""
    lines = clients_table(a_full_run()).splitlines()
    assert lines[0] == "# Clients"
    assert any(line.startswith("| Client | Has keepalive? | control | aws-nlb |") for line in lines)
    assert sum(line.startswith("| python-kubernetes") for line in lines) == 2


def told(*steps: Step) -> list[str]:
    return [str(row["w"]) for row in rows(Timeline(begins=0, ends=900, touch=630, steps=steps))]


def test_the_first_try_is_not_called_another() -> None:
    """A keepalive that was lost before makes the change's first packet look like a repeat."""
    probe = Step(what=What.LOST, at=600, until=600, packets=1, sender="client", direction="to-server", arrived=False)
    change = Step(
        what=What.LOST, at=631, until=631, packets=1, sender="server", direction="to-client", arrived=False, octets=500
    )
    words = told(probe, change, change)
    assert "are you there?" in words[0]
    assert words[1] == "The API server sends the change. The network drops it without a word."
    assert words[2].startswith("No answer came, so the API server sends the change once more.")


def test_a_reset_is_a_word() -> None:
    """The ladder says that nobody was told, and draws the reset on the next line."""
    change = Step(
        what=What.LOST, at=631, until=631, packets=1, sender="server", direction="to-client", arrived=False, octets=500
    )
    reset = Step(what=What.RESET, at=631, until=631, packets=1, sender="path", direction="to-server")
    words = told(change, reset)
    assert "without a word" not in words[0]
    assert words[1] == "The network sends a reset to the API server in the other side's name: it arrives."


def test_what_is_tested_is_said_of_what_was() -> None:
    """A page of NATS clients that speaks of ConfigMaps."""
    run, watches = a_run(a_cell()), protocols.introduction({"watch"})
    assert plain.question(watches) == "Will my Kubernetes client still see a change through this network?"
    assert "watch a ConfigMap through" in plain.tested(run, watches)
    for spoken, named in ({"watch", "nats"}, "nats, watch"), ({"nats"}, "nats"), ({"of the past"}, "of the past"):
        others = protocols.introduction(spoken)
        assert plain.question(others) == "Will my client still see a change through this network?"
        assert f"real clients hold a connection open ({named}) through" in plain.tested(run, others)
        assert "ConfigMap" not in plain.tested(run, others)


def test_a_page_introduces_its_own_run(tmp_path: Path) -> None:
    """The words are there, and no page has them: every run would be introduced as of any client."""
    run = a_run(a_cell())
    assert {stack.protocol for stack in run.stacks.values()} == {"watch"}
    assert render(run, "run", tmp_path, tmp_path).count("watch a ConfigMap through") == 1
    spoken = {name: stack.model_copy(update={"protocol": "nats"}) for name, stack in run.stacks.items()}
    other = render(run.model_copy(update={"stacks": spoken}), "run", tmp_path, tmp_path)
    assert "hold a connection open (nats) through" in other
    assert "watch a ConfigMap" not in other
