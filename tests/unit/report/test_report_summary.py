"""The table of clients and clusters: each word, what stands behind it, and what hostile clusters cannot do to it."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from tests.unit.report.examples import a_cell, a_run
from tests.unit.summary.soaks import DAY, counted, export, totals
from watcher.catalog import Catalog
from watcher.model import Verdict
from watcher.report import summary_html, summary_markdown, summary_terminal
from watcher.report.summary import Cell, Summary, build
from watcher.report.summary_prediction import LabRun
from watcher.report.summary_words import Counts, Least, Word, keepalive_text, text_of, time_text, word_of
from watcher.totals import Export, Failure, Keepalive, Totals, Tried, Update, WatcherTotals

CATALOG = Catalog.load()
ALL = "48 h, 190 touches"
NONE = Keepalive(by="none", quiet_seconds=9000)
CLIENT = Keepalive(by="client", interval_seconds=30.04, quiet_seconds=9000)


def made(*exports: Export, **options: Any) -> Summary:
    return build(exports, made_at="2026-11-21T12:00:00+00:00", paths=CATALOG.paths, **options)


def only(*watchers: WatcherTotals, **changed: Any) -> Cell:
    (row,) = made(export(totals(*watchers, **changed))).rows
    return row.cells[0]


def all_warnings(summary: Summary) -> str:
    return "\n".join(warning for cluster in summary.clusters for warning in cluster.warnings)


@pytest.mark.parametrize(
    ("counts", "text", "behind"),
    [
        ({"observed": 190}, "PASS", "48 h, 190 touches"),
        ({"observed": 190, "restarts": 2}, "PASS", "48 h, 190 touches, 2 restarts"),
        ({"observed": 190, "after_restart": 3, "restarts": 5}, "PASS with restarts (3)", f"{ALL}, 5 restarts"),
        ({"observed": 188, "missed": 2}, "FAIL (2 of 190, never)", "48 h, 190 touches"),
        ({"observed": 188, "missed": 2, "late": 2, "worst_delay_seconds": 899.8}, "FAIL (2 of 190, worst 900 s)", ALL),
        (
            {"observed": 188, "missed": 2, "late": 1, "worst_delay_seconds": 12.3, "after_restart": 4},
            "FAIL (2 of 190, worst 12 s, 1 never)",
            "48 h, 190 touches",
        ),
        ({"observed": 99}, "not enough data", "48 h, 99 touches; a PASS takes 24 h and 100"),
        ({"observed": 1}, "not enough data", "48 h, 1 touch; a PASS takes 24 h and 100"),
        ({"missed": 1}, "FAIL (1 of 1, never)", "48 h, 1 touch"),
        ({}, "no data", ""),
    ],
)  # fmt: skip
def test_each_word_with_its_figures(counts: dict[str, Any], text: str, behind: str) -> None:
    """It is all that most readers ever read."""
    cell = only(counted(**counts))
    assert (cell.text, cell.behind) == (text, behind)


def test_too_little_is_never_a_pass() -> None:
    """Each limit alone is enough, and each can be set."""
    enough = Counts(observed=100, watched_seconds=DAY)
    assert word_of(enough, Least()) is Word.PASS
    assert word_of(enough.model_copy(update={"observed": 99}), Least()) is Word.NOT_ENOUGH
    assert word_of(enough.model_copy(update={"watched_seconds": DAY - 1}), Least()) is Word.NOT_ENOUGH
    assert word_of(Counts(observed=1), Least(hours=0, touches=1)) is Word.PASS
    assert word_of(Counts(), Least(hours=0, touches=0)) is Word.NO_DATA
    restarted = Counts(observed=99, watched_seconds=DAY, after_restart=1)
    assert word_of(restarted, Least()) is Word.NOT_ENOUGH


def test_a_client_that_came_later_has_only_its_share_of_the_time() -> None:
    """Otherwise a stack that was added an hour ago would have passed for weeks."""
    (first, later) = made(
        export(totals(counted(observed=2000), counted("client-go", observed=100), updates={Update.OK: 2000}))
    ).rows
    assert first.cells[0].counts.watched_seconds == 2 * DAY
    assert later.cells[0].counts.watched_seconds == pytest.approx(2 * DAY / 20)
    assert later.cells[0].word is Word.NOT_ENOUGH


def test_hours_are_true_hours_in_the_lab() -> None:
    """A rehearsal at scale 60 stands for sixty times its time, and says so."""
    cell = only(counted(observed=200), running_seconds=1800, scale=60, interval="15")
    assert cell.behind == "30 h, 200 touches"
    assert "at scale 60" in all_warnings(made(export(totals(counted(observed=1), scale=60, interval="15"))))


@pytest.mark.parametrize(
    ("keepalive", "text"),
    [
        (None, "unknown"),
        (Keepalive(by="unknown", quiet_seconds=5), "unknown"),
        (NONE, "NO"),
        (CLIENT, "YES (every 30 s, by client)"),
        (Keepalive(by="server", interval_seconds=180), "YES (every 180 s, by server)"),
        (Keepalive(by="both"), "YES (by client and server)"),
    ],
)
def test_keepalive_is_what_was_measured(keepalive: Keepalive | None, text: str) -> None:
    """The original's column, but from the kernel's counters."""
    assert keepalive_text(keepalive) == text


def test_a_keepalive_that_differs_between_clusters_is_said_for_each() -> None:
    """One YES for both would hide what decides the other column."""
    public = export(totals(counted(observed=1, keepalive=CLIENT)))
    same = export(totals(counted(observed=1, keepalive=CLIENT)), cluster="private")
    other = export(totals(counted(observed=1, keepalive=NONE)), cluster="private")
    assert made(public, same).rows[0].keepalive == "YES (every 30 s, by client)"
    assert made(public, other).rows[0].keepalive == "public: YES (every 30 s, by client); private: NO"


def test_columns_stand_in_the_order_given_and_a_client_may_be_missing() -> None:
    """No client may fall out of the table because one cluster does not run it."""
    summary = made(
        export(totals(counted("b", observed=200)), cluster="private"), export(totals(counted("a", observed=200)))
    )
    assert [cluster.title for cluster in summary.clusters] == ["Private cluster", "Public cluster"]
    assert [(row.stack, [cell.text for cell in row.cells]) for row in summary.rows] == [
        ("b", ["PASS", "no data"]),
        ("a", ["no data", "PASS"]),
    ]


def test_soaks_side_by_side_are_added_where_they_touch_alike() -> None:
    """Two instances of one cluster; twelve hours of each at once are no day."""
    half = {"running_seconds": DAY / 2, "began_at": "2026-11-20T00:00:00Z", "last_at": "2026-11-20T12:00:00Z"}
    one = totals(counted(observed=60, missed=1), **half)
    two = totals(counted(observed=60, keepalive=CLIENT, version="38.0.0"), instance="two", sessions={"b": 1}, **half)
    (row,) = made(export(one, two)).rows
    assert row.cells[0].counts.touches == 121
    assert row.cells[0].counts.watched_seconds == DAY / 2
    assert row.keepalive == "YES (every 30 s, by client)"
    assert row.versions == ("kubernetes 37.0.2", "kubernetes 38.0.0")


def test_soaks_that_touch_differently_have_rows_of_their_own() -> None:
    """Every 600 s asks another question than every 900 s."""
    often = totals(counted(observed=500, missed=1), interval="300", instance="often", sessions={"b": 1})
    rows = made(
        export(totals(counted(observed=200)), often), export(totals(counted(observed=300)), cluster="private")
    ).rows
    assert [[cell.text for cell in row.cells] for row in rows] == [
        ["FAIL (1 of 501, never)", "PASS"],
        ["PASS", "no data"],
    ]
    assert [row.cells[0].schedule for row in rows] == ["every 300 s, deadline 10 s", "every 900 s, deadline 10 s"]


def test_a_soak_that_was_read_twice_counts_once() -> None:
    """An export of Monday and one of Tuesday in one column."""
    monday = totals(counted(observed=100), last_at="2026-11-20T00:00:00Z")
    tuesday = totals(counted(observed=190, missed=1), last_at="2026-11-21T00:00:00Z")
    for pair in ((monday, tuesday), (tuesday, monday)):
        summary = made(*(export(each) for each in pair))
        assert summary.rows[0].cells[0].text == "FAIL (1 of 191, never)"
        assert "read more than once" in summary.clusters[0].problems[0]
    another = totals(counted(observed=100), sessions={"other": 1})
    assert made(export(monday), export(another)).rows[0].cells[0].counts.touches == 200


def test_the_api_servers_own_trouble_is_shown_and_charged_to_nobody() -> None:
    """A weekend in which the API server was away is no client's failure."""
    troubled = totals(
        counted(observed=200),
        updates={Update.OK: 200, Update.AWAY: 30, Update.OVERWRITTEN: 2, Update.DENIED: 0},
        reused={Tried.ALIVE: 100, Tried.SILENT: 132},
        new_failed=30,
        failures_dropped=4,
    )
    summary = made(export(troubled))
    (instance,) = summary.clusters[0].instances
    assert instance.updates == {"ok": 200, "away": 30, "overwritten": 2}
    assert instance.idle_connection == {"alive": 100, "silent": 132}
    assert summary.rows[0].cells[0].word is Word.PASS
    assert "records of 4 misses were not kept" in all_warnings(summary)
    for text in (summary_markdown.render(summary), summary_html.render(summary), terminal(summary)):
        assert "200 ok, 30 away, 2 overwritten" in text
        assert "100 alive, 132 silent" in text
        assert "30 failed" in text


@pytest.mark.parametrize(
    ("interval", "said", "expected"),
    [
        ("600", None, "idle timeout of gcp-vpc (600 s)"),
        ("600", "azure-slb", None),
        ("545", "gcp-vpc", "idle timeout of gcp-vpc (600 s)"),
        ("250", None, "(240 s)"),
        ("60", "azure-slb", "never leave a connection idle for the 240 s of azure-slb"),
        ("900", None, "idle timeout of ipvs (900 s)"),
        ("750", None, None),
        ("*/10 * * * *", None, "by cron"),
        ("nan", None, "by cron"),
    ],
)
def test_an_interval_that_decides_nothing_is_warned_of(interval: str, said: str | None, expected: str | None) -> None:
    """As long as the timeout: chance decides. Shorter: it never comes to it, and every client passes."""
    options: dict[str, Any] = {} if said is None else {"predicted_paths": {"public": said}}
    told = all_warnings(made(export(totals(counted(observed=200), interval=interval)), **options))
    assert (expected in told) if expected else not told


def test_what_was_changed_while_counting_is_warned_of() -> None:
    """The counts of both intervals are one number."""
    told = all_warnings(made(export(totals(counted(observed=1), versions={"interval": ("600", "900")}))))
    assert "interval was changed while it counted (600, then 900)" in told


def test_the_labs_word_stands_beside() -> None:
    """Where lab and cluster disagree, one of them has something to tell."""
    results = a_run(
        a_cell(Verdict.STUCK, None, "saw nothing", scenario="azure-slb-silent"),
        a_cell(Verdict.OK, 0.1, scenario="control"),
    )
    stack, profile = results.cells[0].stack, results.cells[0].profile
    soak = export(totals(counted(stack, profile, observed=200, version="0.0.1"), counted("unheard-of", observed=200)))
    runs = [LabRun("newest", results)]
    summary = made(soak, predictions=runs, predicted_paths={"public": results.scenarios["azure-slb-silent"].path})
    (lab,) = [each for each in summary.rows[0].cells[0].predicted if each.scenario == "azure-slb-silent"]
    assert (lab.reading, lab.verdict) == ("FAIL", Verdict.STUCK)
    assert lab.note.startswith("with ")
    assert [each.reading for each in summary.rows[1].cells[0].predicted] == ["not in this run"]
    assert (summary.prediction, summary.older_predictions) == ("newest", ())
    for text in (summary_markdown.render(summary), summary_html.render(summary), terminal(summary)):
        assert re.search(r"lab, azure.{0,2}slb.{0,2}silent: FAIL", text)
    assert made(soak, predictions=runs).rows[0].cells[0].predicted == ()


def test_the_newest_run_that_decides_has_the_labs_word() -> None:
    """Most runs are of some clients, or of some paths: with the newest alone, most cells had no prediction."""
    path = "azure-slb"
    newest = a_run(
        a_cell(Verdict.INVALID, None, "unproven", scenario=path),
        a_cell(Verdict.OK, 0.1, scenario=path, profile="retry"),
        a_cell(Verdict.INVALID, None, "unproven", scenario=path, profile="read-timeout"),
    )
    older = a_run(
        a_cell(Verdict.DIED, None, "ended", scenario=path),
        a_cell(Verdict.STUCK, None, "saw nothing", scenario=path, profile="retry"),
    )
    oldest = a_run(
        a_cell(Verdict.STUCK, None, "saw nothing", scenario=path),
        a_cell(Verdict.OK, 0.1, scenario=path, profile="tcp-keepalive"),
    )
    elsewhere = a_run(a_cell(Verdict.STUCK, None, "saw nothing", scenario="gcp-vpc"))
    strange = elsewhere.scenarios["gcp-vpc"].model_copy(update={"path": "gcp-vpc"})
    elsewhere = elsewhere.model_copy(update={"scenarios": {"gcp-vpc": strange}})
    profiles = ("default", "retry", "tcp-keepalive", "read-timeout", "bookmarks")
    soak = export(totals(*(counted("python-kubernetes", profile, observed=200) for profile in profiles)))
    runs = [LabRun("d", newest), LabRun("c", elsewhere), LabRun("b", older), LabRun("a", oldest)]
    summary = made(soak, predictions=runs, predicted_paths={"public": newest.scenarios[path].path})
    told = {row.profile: [(each.reading, each.run) for each in row.cells[0].predicted] for row in summary.rows}
    assert told == {
        "default": [("PASS with restarts", "b")],
        "retry": [("PASS", "")],
        "tcp-keepalive": [("PASS", "a")],
        "read-timeout": [("invalid", "")],
        "bookmarks": [("in no run", "")],
    }
    assert (summary.prediction, summary.older_predictions) == ("d", ("b", "a"))
    for text in (summary_markdown.render(summary), summary_html.render(summary), terminal(summary)):
        assert re.search(r"died\\?\), run b", text)
        assert "the newest older one that does" in text


def test_a_cluster_that_could_not_be_read_has_its_column_and_says_so() -> None:
    """A missing column would look like a cluster nobody asked for."""
    summary = made(export(totals(counted(observed=200))), unreadable={"private": "401 Unauthorized"})
    assert [cell.text for cell in summary.rows[0].cells] == ["PASS", "no data"]
    assert summary.clusters[1].problems == ("401 Unauthorized",)


def test_counts_that_contradict_each_other_are_said() -> None:
    """Somebody has edited them."""
    summary = made(export(totals(counted(observed=200, late=5))))
    assert "contradict" in summary.clusters[0].problems[0]


def test_durations_are_rounded_down() -> None:
    """23.9 hours must not read as the 24 that are asked for."""
    assert time_text(86_399) == "23 h"
    assert time_text(60) == "1 min"
    assert time_text(14.9 * DAY) == "14 days"
    assert text_of(Word.FAIL, Counts(observed=10**15, missed=10**15)) == f"FAIL ({10**15} of {2 * 10**15}, never)"


def terminal(summary: Summary, width: int = 250) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, markup=False, emoji=False, color_system=None)
    for part in summary_terminal.report(summary):
        console.print(part)
    return file.getvalue()


def test_the_markdown_table() -> None:
    """What the original's README shows, with what stands behind each word."""
    summary = made(
        export(totals(counted(observed=188, missed=2, keepalive=NONE))),
        export(totals(counted(observed=190, keepalive=NONE)), cluster="private"),
    )
    assert summary_markdown.render(summary).splitlines()[4:7] == [
        "| Client | Has keepalive? | Public cluster | Private cluster |",
        "| --- | --- | --- | --- |",
        r"| python-kubernetes \(default\)<br>kubernetes 37.0.2 | NO"
        r" | **✗ FAIL \(2 of 190, never\)**<br>48 h, 190 touches | **✓ PASS**<br>48 h, 190 touches |",
    ]


EVIL = "<script>alert(1)</script>|[x](javascript:1)\x1b[31m\r\n\x00\u202e\x9b2J{{7*7}}`**"


class Tags(HTMLParser):
    """What a browser would make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}


def evil() -> Summary:
    watcher = counted(
        observed=5, missed=1, library=EVIL, version=EVIL, runtime=EVIL, keepalive=Keepalive(by="client", option=EVIL)
    )
    failure = Failure.model_validate(
        {name: EVIL for name in Failure.model_fields if name not in ("deadline_seconds", "delay_seconds")}
        | {name: EVIL[:40] for name in Failure.model_fields if name.endswith("_at")}
        | {"deadline_seconds": 10}
    )
    soak: Totals = totals(
        watcher, cluster=EVIL, interval=EVIL, began_at=EVIL[:40], last_at=EVIL[:40], versions={EVIL: (EVIL, EVIL)}
    )
    return made(
        export(soak, cluster=EVIL, failures=(failure,), failures_read=1, problems=(EVIL,)),
        unreadable={f"{EVIL}2": EVIL},
    )


def test_html_of_a_hostile_cluster_is_text() -> None:
    """Whoever may write a ConfigMap must not run a script on the reader's page."""
    harmless, hostile = Tags(), Tags()
    harmless.feed(summary_html.render(made(export(totals(counted(missed=1)), failures=(), problems=("x",)))))
    page = summary_html.render(evil())
    hostile.feed(page)
    assert "script" not in hostile.tags
    assert hostile.tags <= harmless.tags | {"h3", "ul", "li"}
    assert hostile.names <= harmless.names
    assert "{{7*7}}" in page
    assert "http" not in page.replace("http-equiv", "")


def test_markdown_of_a_hostile_cluster_is_text() -> None:
    """The same on GitHub: no HTML, no link, no further column."""
    text = summary_markdown.render(evil())
    assert not re.search(r"<(?!br>)", text)
    assert not re.search(r"(?<!\\)\]\(", text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table[:3]} == {5}


def test_no_format_obeys_control_characters() -> None:
    """A terminal would run them: colours at best, the reader's clipboard at worst."""
    summary = evil()
    for text in (
        summary_html.render(summary),
        summary_markdown.render(summary),
        terminal(summary),
        summary.model_dump_json(indent=2),
    ):
        assert not [char for char in text if char not in "\n" and not char.isprintable()]


def test_a_huge_cluster_makes_a_page_that_can_be_opened() -> None:
    """Two hundred watchers, five hundred misses with long texts."""
    failures = tuple(
        Failure(
            stack="s" * 200,
            profile="p",
            nonce=str(number),
            touched_at=f"{number:040d}",
            missed_at="",
            deadline_seconds=10,
            sockets="x" * 4000,
            reason="r" * 200,
        )
        for number in range(500)
    )
    soak = totals(*(counted(f"stack-{number}", observed=10**15) for number in range(200)), updates={Update.OK: 10**15})
    summary = made(export(soak, failures=failures, failures_read=10**15))
    assert summary.clusters[0].misses[0].touched_at == f"{499:040d}"
    assert len(summary_html.render(summary)) < 1_000_000
    assert f"{10**15} misses recorded, the newest 20" in summary_markdown.render(summary)
    assert terminal(summary, width=60)
